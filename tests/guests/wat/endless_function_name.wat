;; ended: in abc::abc::
;; A name of 80,000 characters in a trap.
;; repeat 20000 NAMES: 3abc
(core module $hostile
  (func $_ZNNAMESE (export "extract") (param i32) (result i32) unreachable))
(core instance $hostile (instantiate $hostile))
(alias core export $hostile "extract" (core func $extract))
