;; ended: of memory, and the limit is 128.0 MiB
;; Function tables count as memory while they grow, too.
(core module $hostile
  (import "good" "memory" (memory 1))
  (table 1 funcref)
  (func (export "extract") (param i32) (result i32)
    (loop $again (br_if $again (i32.ne (i32.const -1) (table.grow (ref.null func) (i32.const 100000))))) unreachable))
(core instance $hostile (instantiate $hostile (with "good" (instance $good))))
(alias core export $hostile "extract" (core func $extract))
