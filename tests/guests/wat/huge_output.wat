;; ended: returned more than 16.0 MiB, the limit for the output of a call
;; A text of 32 MiB.
(core module $hostile
  (import "good" "memory" (memory 1))
  (func (export "extract") (param i32) (result i32)
    (drop (memory.grow (i32.const 512)))
    (i32.store (i32.const 288) (i32.const 65536))(i32.store (i32.const 292) (i32.const 33488896))
    (i32.const 256)))
(core instance $hostile (instantiate $hostile (with "good" (instance $good))))
(alias core export $hostile "extract" (core func $extract))
