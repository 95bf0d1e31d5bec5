;; refused: put together, with each of its parts as often as it is instantiated, it has more than 32.0 MiB
;; The same, each level an alias of its surroundings.
(component $part0 (core module $module) (core instance (instantiate $module)))
(component $part1
  (alias outer 1 $part0 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(component $part2
  (alias outer 1 $part1 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(component $part3
  (alias outer 1 $part2 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(component $part4
  (alias outer 1 $part3 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(component $part5
  (alias outer 1 $part4 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(component $part6
  (alias outer 1 $part5 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(component $part7
  (alias outer 1 $part6 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(component $part8
  (alias outer 1 $part7 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(component $part9
  (alias outer 1 $part8 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(component $part10
  (alias outer 1 $part9 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(component $part11
  (alias outer 1 $part10 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(component $part12
  (alias outer 1 $part11 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(component $part13
  (alias outer 1 $part12 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(component $part14
  (alias outer 1 $part13 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(component $part15
  (alias outer 1 $part14 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(component $part16
  (alias outer 1 $part15 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(component $part17
  (alias outer 1 $part16 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(component $part18
  (alias outer 1 $part17 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(component $part19
  (alias outer 1 $part18 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(component $part20
  (alias outer 1 $part19 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(component $part21
  (alias outer 1 $part20 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(component $part22
  (alias outer 1 $part21 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(component $part23
  (alias outer 1 $part22 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(component $part24
  (alias outer 1 $part23 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(component $part25
  (alias outer 1 $part24 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(component $part26
  (alias outer 1 $part25 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(component $part27
  (alias outer 1 $part26 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(component $part28
  (alias outer 1 $part27 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(component $part29
  (alias outer 1 $part28 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(component $part30
  (alias outer 1 $part29 (component $inner))
  (instance (instantiate $inner))
  (instance (instantiate $inner)))
(instance (instantiate $part30))
