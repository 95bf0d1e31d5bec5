;; refused: instance count too high at 1001
;; Small ones.
;; repeat 600 INSTANCES: (instance (instantiate $part))
(component $part
  (core module $module)
  (core instance (instantiate $module)))
(component $parts INSTANCES)
(instance (instantiate $parts))
(instance (instantiate $parts))
