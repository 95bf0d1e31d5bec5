;; ended: out of bounds
;; A length whose bytes are more than a pointer counts: 28 times 0x0924924a is 24.
(core module $hostile
  (import "good" "memory" (memory 1))
  (func (export "extract") (param i32) (result i32)
    (i32.store (i32.const 280) (i32.const 153391690))
    (i32.const 256)))
(core instance $hostile (instantiate $hostile (with "good" (instance $good))))
(alias core export $hostile "extract" (core func $extract))
