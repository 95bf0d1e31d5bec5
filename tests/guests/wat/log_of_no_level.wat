;; ended: discriminant
;; A level that there is not.
(alias core export $good "memory" (core memory $memory))
(alias core export $good "realloc" (core func $realloc))
(core func $call (canon lower (func $log "log") (memory $memory) (realloc $realloc)))
(core module $hostile
  (import "host" "call" (func $call (param i32 i32 i32)))
  (import "good" "memory" (memory 1))
  (func (export "extract") (param i32) (result i32)
    (call $call (i32.const 9) (i32.const 0) (i32.const 0))
    (i32.const 256)))
(core instance $hostile (instantiate $hostile
  (with "host" (instance (export "call" (func $call))))
  (with "good" (instance $good))))
(alias core export $hostile "extract" (core func $extract))
