;; kept
;; Three thousand values that are all alive at once.
;; repeat 3000 LOADS: (i32.load (i32.const {n}))
;; repeat 2999 SUMS: (i32.add)
(core module
  (memory 1)
  (func (result i32) LOADS SUMS))
