;; ended: invalid utf-8
;; Half of a character of UTF-16, which UTF-8 can't say.
(core module $hostile
  (import "good" "memory" (memory 1))
  (func (export "extract") (param i32) (result i32)
    (i32.store (i32.const 64) (i32.const 8429805))(i32.store (i32.const 288) (i32.const 64))(i32.store (i32.const 292) (i32.const 3))
    (i32.const 256)))
(core instance $hostile (instantiate $hostile (with "good" (instance $good))))
(alias core export $hostile "extract" (core func $extract))
