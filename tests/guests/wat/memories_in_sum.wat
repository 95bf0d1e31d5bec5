;; refused: asked what it is, it wanted 200.1 MiB of memory, and the limit is 128.0 MiB
;; Several parts, none of which asks for too much by itself.
(component $part
  (core module $module (memory 1600))
  (core instance (instantiate $module)))
(instance (instantiate $part))
(instance (instantiate $part))
(instance (instantiate $part))
