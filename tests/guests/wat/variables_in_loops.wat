;; kept
;; Small as it is, the compiler has every variable at the head of every loop: more of both, and it works
;; for minutes.
;; repeat 400 SETS: (local.set {n} (i32.add (local.get {n}) (i32.const 1)))
;; repeat 40 LOOPS: (loop
;; repeat 40 ENDS: (br_if 0 (local.get 0)))
;; repeat 400 VARIABLES: i32 (;;)
(core module
  (func (param i32) (local VARIABLES) LOOPS SETS ENDS))
