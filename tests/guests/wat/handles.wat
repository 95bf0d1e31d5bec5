;; ended: cannot allocate another handle: store handle limit exceeded
;; Things of its own that the host keeps a list of.
(type $thing (resource (rep i32)))
(core func $new (canon resource.new $thing))
(core module $hostile
  (import "" "new" (func $new (param i32) (result i32)))
  (func (export "extract") (param i32) (result i32)
    (loop $again (drop (call $new (i32.const 0))) (br $again)) unreachable))
(core instance $hostile (instantiate $hostile (with "" (instance (export "new" (func $new))))))
(alias core export $hostile "extract" (core func $extract))
