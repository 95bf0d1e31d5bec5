;; ended: of memory, and the limit is 128.0 MiB
(core module $hostile
  (import "good" "memory" (memory 1))
  (func (export "extract") (param i32) (result i32)
    (loop $again (br_if $again (i32.ne (i32.const -1) (memory.grow (i32.const 16))))) unreachable))
(core instance $hostile (instantiate $hostile (with "good" (instance $good))))
(alias core export $hostile "extract" (core func $extract))
