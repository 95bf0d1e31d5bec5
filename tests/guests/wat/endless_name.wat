;; refused: ...`, which the host does not offer
;; A name of 80,000 characters.
;; repeat 80000 LETTERS: b
(import "aLETTERS" (func))
