;; ended: was stopped after 1 s
;; Random bytes, 64 KiB at a time, into the same place.
(import "wasi:random/random@0.2.0" (instance $random
  (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
(alias core export $good "memory" (core memory $memory))
(core module $one-place
  (import "good" "memory" (memory 1))
  (func (export "realloc") (param i32 i32 i32 i32) (result i32)
    (if (i32.eq (memory.size) (i32.const 1)) (then (drop (memory.grow (i32.const 2)))))
    (i32.const 65536)))
(core instance $one-place (instantiate $one-place (with "good" (instance $good))))
(alias core export $one-place "realloc" (core func $realloc))
(core func $call (canon lower (func $random "get-random-bytes") (memory $memory) (realloc $realloc)))
(core module $hostile
  (import "host" "call" (func $call (param i64 i32)))
  (import "good" "memory" (memory 1))
  (func (export "extract") (param i32) (result i32)
    (loop $again (call $call (i64.const 65536) (i32.const 1024)) (br $again)) unreachable))
(core instance $hostile (instantiate $hostile
  (with "host" (instance (export "call" (func $call))))
  (with "good" (instance $good))))
(alias core export $hostile "extract" (core func $extract))
