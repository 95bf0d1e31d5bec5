;; refused: or can't be told
;; Instantiates what it is handed, so that only putting it together would tell how much that is.
(component $twice
  (import "part" (component $part))
  (instance (instantiate $part))
  (instance (instantiate $part)))
(component $part)
(instance (instantiate $twice (with "part" (component $part))))
