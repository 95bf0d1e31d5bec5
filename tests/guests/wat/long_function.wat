;; kept
;; A function of a hundred thousand instructions, without a branch.
;; repeat 25000 INSTRUCTIONS: (local.set 1 (i32.mul (i32.add (local.get 1) (local.get 2)) (i32.const {n})))
(core module
  (func (param i32) (local i32 i32) INSTRUCTIONS))
