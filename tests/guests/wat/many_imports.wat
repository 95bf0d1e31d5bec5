;; refused: and 19900 more
;; More to say of it than anybody reads.
;; repeat 20000 IMPORTS: (import "a{n}" (func))
IMPORTS
