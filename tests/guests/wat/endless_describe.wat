;; refused: asked what it is, it was stopped after 1 s
(core module $hostile
  (import "good" "memory" (memory 1))
  (func (export "describe") (result i32)
    (loop $again (br $again)) unreachable))
(core instance $hostile (instantiate $hostile (with "good" (instance $good))))
(alias core export $hostile "describe" (core func $describe))
