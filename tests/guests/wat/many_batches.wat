;; ended: 500000 batches for 1 declared tables
;; Without a column in them.
(core module $hostile
  (import "good" "memory" (memory 1))
  (func (export "extract") (param i32) (result i32)
    (drop (memory.grow (i32.const 64)))
    (i32.store (i32.const 260) (i32.const 65536))(i32.store (i32.const 264) (i32.const 500000))
    (i32.const 256)))
(core instance $hostile (instantiate $hostile (with "good" (instance $good))))
(alias core export $hostile "extract" (core func $extract))
