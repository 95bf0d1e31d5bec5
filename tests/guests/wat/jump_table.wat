;; refused: exceeds the implementation limit
;; A jump to a million places.
;; repeat 70000 PLACES: 0 (;;)
(core module
  (func (param i32) (block (br_table PLACES (local.get 0)))))
