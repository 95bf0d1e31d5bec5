;; kept
;; Room that was given already: the plugin hurts itself.
(core module $hostile
  (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
(core instance $hostile (instantiate $hostile))
(alias core export $hostile "realloc" (core func $realloc))
