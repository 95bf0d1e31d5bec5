;; kept
;; Twenty thousand functions.
;; repeat 20000 FUNCTIONS: (func)
(core module FUNCTIONS)
