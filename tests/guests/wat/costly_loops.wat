;; refused: compiling it takes about
;; Every loop looks at the clock.
;; repeat 100000 LOOPS: (loop)
(core module (func LOOPS))
