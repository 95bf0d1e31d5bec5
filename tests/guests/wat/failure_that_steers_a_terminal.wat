;; ended: says the document is malformed: ` [31m`
(core module $hostile
  (import "good" "memory" (memory 1))
  (func (export "extract") (param i32) (result i32)
    (i64.store (i32.const 64) (i64.const 0x6d31335b1b))
    (i32.store (i32.const 256) (i32.const 1))(i32.store (i32.const 260) (i32.const 0))(i32.store (i32.const 264) (i32.const 64))(i32.store (i32.const 268) (i32.const 5))
    (i32.const 256)))
(core instance $hostile (instantiate $hostile (with "good" (instance $good))))
(alias core export $hostile "extract" (core func $extract))
