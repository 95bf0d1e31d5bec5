;; ended: beyond end of memory
;; Room for the document that is nowhere.
(core module $hostile
  (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const -8)))
(core instance $hostile (instantiate $hostile))
(alias core export $hostile "realloc" (core func $realloc))
