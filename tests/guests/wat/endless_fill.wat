;; ended: was stopped after 1 s
;; Without a loop or a call, where the clock is looked at: each instruction takes long.
(core module $hostile
  (memory 1600)
  ;; repeat 2000 FILLS: (memory.fill (i32.const 0) (i32.const 1) (i32.const 104857600))
  (func (export "extract") (param i32) (result i32)
    FILLS (i32.const 256)))
(core instance $hostile (instantiate $hostile))
(alias core export $hostile "extract" (core func $extract))
