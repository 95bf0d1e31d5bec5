;; ended: was stopped after 1 s
;; The same with copies.
(core module $hostile
  (memory 1600)
  ;; repeat 4000 COPIES: (memory.copy (i32.const 0) (i32.const 52428800) (i32.const 52428800))
  (func (export "extract") (param i32) (result i32)
    COPIES (i32.const 256)))
(core instance $hostile (instantiate $hostile))
(alias core export $hostile "extract" (core func $extract))
