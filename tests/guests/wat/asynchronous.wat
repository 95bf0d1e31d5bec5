;; refused: require the component model async feature
;; A function that need not return.
(core module $hostile (func (export "run")))
(core instance $hostile (instantiate $hostile))
(func async (canon lift (core func $hostile "run") async))
