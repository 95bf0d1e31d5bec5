;; refused: wide arithmetic support is not enabled
;; What the next release may have on.
(core module
  (func (param i64 i64) (result i64 i64) (i64.mul_wide_s (local.get 0) (local.get 1))))
