;; ended: says the document is malformed: `
;; A reason of 8 MiB is quoted in part.
(core module $hostile
  (import "good" "memory" (memory 1))
  (func (export "extract") (param i32) (result i32)
    (drop (memory.grow (i32.const 128)))
    (memory.fill (i32.const 65536) (i32.const 120) (i32.const 8388608))
    (i32.store (i32.const 256) (i32.const 1))(i32.store (i32.const 260) (i32.const 0))(i32.store (i32.const 264) (i32.const 65536))(i32.store (i32.const 268) (i32.const 8388608))
    (i32.const 256)))
(core instance $hostile (instantiate $hostile (with "good" (instance $good))))
(alias core export $hostile "extract" (core func $extract))
