;; refused: `x [31mred` is not in kebab case
;; Nothing of it reaches a terminal as it is.
(import "x\1b[31mred" (func))
