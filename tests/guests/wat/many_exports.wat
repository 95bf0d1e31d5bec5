;; kept
;; Twenty thousand exports of one function.
(core module $hostile (func (export "run")))
(core instance $hostile (instantiate $hostile))
(func $run (canon lift (core func $hostile "run")))
;; repeat 20000 EXPORTS: (export "a{n}" (func $run))
EXPORTS
