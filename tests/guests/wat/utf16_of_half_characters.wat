;; refused: asked what it is, it failed: unpaired surrogate found: d800
;; encoding: utf16
(core module $hostile
  (import "good" "memory" (memory 1))
  (func (export "describe") (result i32)
    (i32.store16 (i32.const 16) (i32.const 0xd800))
    (i32.const 128)))
(core instance $hostile (instantiate $hostile (with "good" (instance $good))))
(alias core export $hostile "describe" (core func $describe))
