;; refused: asked what it is, it was stopped after 1 s
;; lifted with: (post-return $clean-up)
;; After it returned, as the host lets it clean up.
(core module $hostile
  (func (export "clean-up") (param i32) (loop $again (br $again))))
(core instance $hostile (instantiate $hostile))
(alias core export $hostile "clean-up" (core func $clean-up))
