;; ended: resource table
;; Opens its output again and again, and never lets go.
(import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
(alias export $error "error" (type $an-error))
(import "wasi:io/streams@0.2.0" (instance $streams
  (export "output-stream" (type (sub resource)))))
(alias export $streams "output-stream" (type $output-stream))
(import "wasi:cli/stdout@0.2.0" (instance $stdout
  (alias outer 1 $output-stream (type $outer))
  (export "output-stream" (type $stream (eq $outer)))
  (export "get-stdout" (func (result (own $stream))))))
(alias core export $good "memory" (core memory $memory))
(alias core export $good "realloc" (core func $realloc))
(core func $call (canon lower (func $stdout "get-stdout") (memory $memory) (realloc $realloc)))
(core module $hostile
  (import "host" "call" (func $call (result i32)))
  (import "good" "memory" (memory 1))
  (func (export "extract") (param i32) (result i32)
    (loop $again (drop (call $call)) (br $again)) unreachable))
(core instance $hostile (instantiate $hostile
  (with "host" (instance (export "call" (func $call))))
  (with "good" (instance $good))))
(alias core export $hostile "extract" (core func $extract))
