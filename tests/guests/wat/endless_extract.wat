;; ended: was stopped after 1 s
(core module $hostile
  (import "good" "memory" (memory 1))
  (func (export "extract") (param i32) (result i32)
    (loop $again (br $again)) unreachable))
(core instance $hostile (instantiate $hostile (with "good" (instance $good))))
(alias core export $hostile "extract" (core func $extract))
