;; ended: not aligned
;; Room for the document that begins in the middle of a word.
(core module $hostile
  (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1025)))
(core instance $hostile (instantiate $hostile))
(alias core export $hostile "realloc" (core func $realloc))
