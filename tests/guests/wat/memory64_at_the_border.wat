;; refused: 64-bit memories require
;; Pointers of 64 bits in what it returns.
(core module $hostile
  (memory (export "memory") i64 1)
  (func (export "realloc") (param i64 i64 i64 i64) (result i64) unreachable)
  (func (export "describe") (result i64) unreachable)
  (func (export "extract") (param i64) (result i64) unreachable))
(core instance $hostile (instantiate $hostile))
(alias core export $hostile "memory" (core memory $memory))
(alias core export $hostile "realloc" (core func $realloc))
(alias core export $hostile "describe" (core func $describe))
(alias core export $hostile "extract" (core func $extract))
