;; ended: out of bounds memory access
;; Reaches beyond a memory with addresses of 64 bits, which has no guard that long behind it.
(core module $hostile
  (memory i64 1)
  (func (export "extract") (param i32) (result i32)
    (i32.load (i64.const 0x7fffffffffff0000))))
(core instance $hostile (instantiate $hostile))
(alias core export $hostile "extract" (core func $extract))
