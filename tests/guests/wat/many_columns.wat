;; ended: table `t`: 100000 columns, and 1 are declared
;; Without a row in them.
(core module $hostile
  (import "good" "memory" (memory 1))
  (func (export "extract") (param i32) (result i32)
    (drop (memory.grow (i32.const 64)))
    (i32.store (i32.const 276) (i32.const 65536))(i32.store (i32.const 280) (i32.const 100000))
    (i32.const 256)))
(core instance $hostile (instantiate $hostile (with "good" (instance $good))))
(alias core export $hostile "extract" (core func $extract))
