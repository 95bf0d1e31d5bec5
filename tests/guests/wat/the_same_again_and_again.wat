;; ended: returned more than 16.0 MiB, the limit for the output of a call
;; Little memory is much output if it is returned often: a hundred columns, all of the same text.
(core module $hostile
  (import "good" "memory" (memory 1))
  (func (export "extract") (param i32) (result i32)
    (local i32 i32)
    (memory.fill (i32.const 4096) (i32.const 0) (i32.const 2800))
    (local.set 1 (i32.const 100))
    (loop $next
      (local.set 1 (i32.sub (local.get 1) (i32.const 1)))
      (local.set 2 (i32.add (i32.const 4096) (i32.mul (local.get 1) (i32.const 28))))
      (i32.store offset=4 (local.get 2) (i32.const 65536))
      (i32.store offset=8 (local.get 2) (i32.const 1048576))
      (br_if $next (local.get 1)))
    (drop (memory.grow (i32.const 16)))
    (i32.store (i32.const 276) (i32.const 4096))(i32.store (i32.const 280) (i32.const 100))
    (i32.const 256)))
(core instance $hostile (instantiate $hostile (with "good" (instance $good))))
(alias core export $hostile "extract" (core func $extract))
