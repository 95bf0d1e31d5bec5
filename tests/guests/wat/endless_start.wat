;; refused: asked what it is, it was stopped after 1 s
;; As it is instantiated, before anything is called.
(core module $hostile
  (func $start (loop $again (br $again)))
  (start $start))
(core instance (instantiate $hostile))
