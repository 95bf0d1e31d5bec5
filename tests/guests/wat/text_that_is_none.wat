;; ended: invalid utf-8
;; A byte that no text has.
(core module $hostile
  (import "good" "memory" (memory 1))
  (func (export "extract") (param i32) (result i32)
    (i32.store8 (i32.const 20) (i32.const 255))
    (i32.const 256)))
(core instance $hostile (instantiate $hostile (with "good" (instance $good))))
(alias core export $hostile "extract" (core func $extract))
