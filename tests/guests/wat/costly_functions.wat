;; refused: compiling it takes about
;; Functions cost the compiler kilobytes each, and take four bytes of the file.
;; repeat 200000 FUNCTIONS: (func)
(core module FUNCTIONS)
