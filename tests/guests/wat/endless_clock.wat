;; ended: was stopped after 1 s
;; Asks for the time until another one comes, which never does.
(import "wasi:clocks/wall-clock@0.2.0" (instance $clock
  (type $a-datetime (record (field "seconds" u64) (field "nanoseconds" u32)))
  (export "datetime" (type $datetime (eq $a-datetime)))
  (export "now" (func (result $datetime)))))
(alias core export $good "memory" (core memory $memory))
(alias core export $good "realloc" (core func $realloc))
(core func $call (canon lower (func $clock "now") (memory $memory) (realloc $realloc)))
(core module $hostile
  (import "host" "call" (func $call (param i32)))
  (import "good" "memory" (memory 1))
  (func (export "extract") (param i32) (result i32)
    (loop $again (call $call (i32.const 1024)) (br $again)) unreachable))
(core instance $hostile (instantiate $hostile
  (with "host" (instance (export "call" (func $call))))
  (with "good" (instance $good))))
(alias core export $hostile "extract" (core func $extract))
