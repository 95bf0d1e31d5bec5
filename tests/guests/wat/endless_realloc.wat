;; ended: was stopped after 1 s
;; As the host asks for room for the document.
(core module $hostile
  (func (export "realloc") (param i32 i32 i32 i32) (result i32) (loop $again (br $again)) unreachable))
(core instance $hostile (instantiate $hostile))
(alias core export $hostile "realloc" (core func $realloc))
