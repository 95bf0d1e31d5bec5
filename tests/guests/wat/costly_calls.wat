;; refused: compiling it takes about
;; Calls with a thousand parameters and results.
;; repeat 2000 CALLS: (call $call)
;; repeat 1000 VALUES: i32 (;;)
;; repeat 1000 ARGUMENTS: (local.get {n})
(core module
  (type $many (func (param VALUES) (result VALUES)))
  (func $call (type $many) ARGUMENTS CALLS))
