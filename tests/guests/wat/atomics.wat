;; refused: threads support is not enabled
;; Waits for another thread, where no deadline would reach it.
(core module
  (memory 1)
  (func (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))))
