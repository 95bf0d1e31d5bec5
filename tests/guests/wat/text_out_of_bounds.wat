;; ended: out of bounds
;; A text that goes on behind the memory.
(core module $hostile
  (import "good" "memory" (memory 1))
  (func (export "extract") (param i32) (result i32)
    (i32.store (i32.const 288) (i32.const 65535))(i32.store (i32.const 292) (i32.const 2))
    (i32.const 256)))
(core instance $hostile (instantiate $hostile (with "good" (instance $good))))
(alias core export $hostile "extract" (core func $extract))
