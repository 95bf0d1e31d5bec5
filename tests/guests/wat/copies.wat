;; refused: put together, with each of its parts as often as it is instantiated, it has more than 32.0 MiB
;; Many instances of a module with many variables: memory of the host, and no memory that a plugin is limited in.
;; repeat 100000 GLOBALS: (global i32 (i32.const 0))
;; repeat 100 INSTANCES: (core instance (instantiate $module))
(core module $module GLOBALS)
INSTANCES
