;; ended: is not a word of a to z and `_`
;; Entries passed over, of memory that is nothing.
(core module $hostile
  (import "good" "memory" (memory 1))
  (func (export "extract") (param i32) (result i32)
    (i32.store (i32.const 268) (i32.const 32768))(i32.store (i32.const 272) (i32.const 1000))
    (i32.const 256)))
(core instance $hostile (instantiate $hostile (with "good" (instance $good))))
(alias core export $hostile "extract" (core func $extract))
