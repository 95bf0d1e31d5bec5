;; refused: asked what it is, it failed: wasm trap: wasm `unreachable` instruction executed
;; lifted with: (post-return $clean-up)
;; What it returned before is not taken.
(core module $hostile
  (func (export "clean-up") (param i32) unreachable))
(core instance $hostile (instantiate $hostile))
(alias core export $hostile "clean-up" (core func $clean-up))
