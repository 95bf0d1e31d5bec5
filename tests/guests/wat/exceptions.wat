;; refused: exceptions proposal not enabled
;; Throws.
(core module (tag $tag) (func (throw $tag)))
