;; refused: compiling it takes about
;; Blocks that pass ten values on: gigabytes for three bytes each.
;; repeat 20000 BLOCKS: (block (type $ten))
(core module
  (type $ten (func (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (func (type $ten) (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5) (local.get 6) (local.get 7) (local.get 8) (local.get 9) BLOCKS))
