;; refused: compiling it takes about
;; Many types of functions.
;; repeat 150000 TYPES: (type (func (param i64 i32 i64) (result i32)))
(core module TYPES)
