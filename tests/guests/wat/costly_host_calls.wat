;; refused: compiling it takes about
;; Calls through a table, each with a check that the host helps with.
;; repeat 100000 CALLS: (call_indirect (type $call) (i32.const 0))
(core module (type $call (func)) (table 1 funcref) (func CALLS))
