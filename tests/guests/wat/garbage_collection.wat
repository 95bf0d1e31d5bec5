;; refused: gc types are disabled
;; Objects that the host would have to collect.
(core module (type (struct (field i32))))
