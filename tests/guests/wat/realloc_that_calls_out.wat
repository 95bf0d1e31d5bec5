;; ended: cannot leave component instance
;; The host asks for room, and is asked something in turn.
(alias core export $good "memory" (core memory $memory))
(core func $call (canon lower (func $log "log") (memory $memory)))
(core module $hostile
  (import "host" "call" (func $call (param i32 i32 i32)))
  (func (export "realloc") (param i32 i32 i32 i32) (result i32)
    (call $call (i32.const 1) (i32.const 0) (i32.const 0)) (i32.const 1024)))
(core instance $hostile (instantiate $hostile
  (with "host" (instance (export "call" (func $call))))))
(alias core export $hostile "realloc" (core func $realloc))
