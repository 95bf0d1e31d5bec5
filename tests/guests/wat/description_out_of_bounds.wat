;; refused: asked what it is, it failed: list pointer/length out of bounds of memory
;; Four billion tables.
(core module $hostile
  (import "good" "memory" (memory 1))
  (func (export "describe") (result i32)
    (i32.store (i32.const 152) (i32.const -1))
    (i32.const 128)))
(core instance $hostile (instantiate $hostile (with "good" (instance $good))))
(alias core export $hostile "describe" (core func $describe))
