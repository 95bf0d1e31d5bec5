;; refused: asked what it is, it returned more than 16.0 MiB
;; Two hundred thousand tables, which are all the same one.
(core module $hostile
  (import "good" "memory" (memory 1))
  (func (export "describe") (result i32) (local i32)
    (drop (memory.grow (i32.const 128)))
    (local.set 0 (i32.const 200000))
    (loop $next
      (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
      (memory.copy (i32.add (i32.const 65536) (i32.mul (local.get 0) (i32.const 36))) (i32.const 160) (i32.const 36))
      (br_if $next (local.get 0)))
    (i32.store (i32.const 148) (i32.const 65536))(i32.store (i32.const 152) (i32.const 200000))
    (i32.const 128)))
(core instance $hostile (instantiate $hostile (with "good" (instance $good))))
(alias core export $hostile "describe" (core func $describe))
