;; ended: overflowed its stack: functions call one another without end
(core module $hostile
  (import "good" "memory" (memory 1))
  (func $deeper (param i32) (result i32) (i32.add (i32.const 1) (call $deeper (local.get 0))))
  (func (export "extract") (param i32) (result i32)
    (call $deeper (local.get 0))))
(core instance $hostile (instantiate $hostile (with "good" (instance $good))))
(alias core export $hostile "extract" (core func $extract))
