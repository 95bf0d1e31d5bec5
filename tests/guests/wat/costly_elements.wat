;; refused: compiling it takes about
;; A function that is in a table again and again counts each time.
;; repeat 600000 ELEMENTS: 0 (;;)
(core module (func) (table 1 funcref) (elem func ELEMENTS))
