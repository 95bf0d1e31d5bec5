;; kept
;; A plugin that is refused memory and goes on without it is none that misbehaves.
(core module $hostile
  (import "good" "memory" (memory 1))
  (func (export "extract") (param i32) (result i32)
    (drop (memory.grow (i32.const 60000)))
    (i32.const 256)))
(core instance $hostile (instantiate $hostile (with "good" (instance $good))))
(alias core export $hostile "extract" (core func $extract))
