;; refused: asked what it is, it failed: unexpected discriminant: 9
(core module $hostile
  (import "good" "memory" (memory 1))
  (func (export "describe") (result i32)
    (i32.store (i32.const 176) (i32.const 9))
    (i32.const 128)))
(core instance $hostile (instantiate $hostile (with "good" (instance $good))))
(alias core export $hostile "describe" (core func $describe))
