;; ended: requested len 1073741824 exceeds limit 65536
;; A gigabyte of random bytes at once.
(import "wasi:random/random@0.2.0" (instance $random
  (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
(alias core export $good "memory" (core memory $memory))
(alias core export $good "realloc" (core func $realloc))
(core func $call (canon lower (func $random "get-random-bytes") (memory $memory) (realloc $realloc)))
(core module $hostile
  (import "host" "call" (func $call (param i64 i32)))
  (import "good" "memory" (memory 1))
  (func (export "extract") (param i32) (result i32)
    (call $call (i64.const 1073741824) (i32.const 1024))
    (i32.const 256)))
(core instance $hostile (instantiate $hostile
  (with "host" (instance (export "call" (func $call))))
  (with "good" (instance $good))))
(alias core export $hostile "extract" (core func $extract))
