;; kept
;; Counts its calls, and says the number in its row. For a playlist without a name, it counts and traps.
(core module $hostile
  (import "good" "memory" (memory 1))
  (global $calls (mut i32) (i32.const 48))
  (func (export "extract") (param i32) (result i32)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (i32.store8 (i32.const 20) (i32.add (i32.load8_u (i32.const 7000)) (global.get $calls)))
    (i32.store8 (i32.const 7000) (i32.const 5))
    ;; The document's second member is the name, if there is one.
    (if (i32.eqz (i32.load8_u offset=8 (local.get 0))) (then unreachable))
    (i32.const 256)))
(core instance $hostile (instantiate $hostile (with "good" (instance $good))))
(alias core export $hostile "extract" (core func $extract))
