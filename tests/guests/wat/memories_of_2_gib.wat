;; refused: it asks for 2048.0 MiB of memory at once, and the limit is 128.0 MiB
;; Several parts, each of which asks for half of all that there is.
(component $part
  (core module $module (memory 32768))
  (core instance (instantiate $module)))
(instance (instantiate $part))
(instance (instantiate $part))
(instance (instantiate $part))
(instance (instantiate $part))
(instance (instantiate $part))
(instance (instantiate $part))
(instance (instantiate $part))
(instance (instantiate $part))
