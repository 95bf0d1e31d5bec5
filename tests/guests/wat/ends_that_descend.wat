;; ended: column `id`, row 2: its text is said to go from byte 1 to byte 0 of 1
(core module $hostile
  (import "good" "memory" (memory 1))
  (func (export "extract") (param i32) (result i32)
    (i32.store (i32.const 300) (i32.const 2))
    (i32.const 256)))
(core instance $hostile (instantiate $hostile (with "good" (instance $good))))
(alias core export $hostile "extract" (core func $extract))
