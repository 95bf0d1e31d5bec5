;; refused: put together, with each of its parts as often as it is instantiated, it has more than 32.0 MiB
;; A part twice, of a part twice, and so on: a billion of the innermost. The compiler writes them all out.
(component $part30
(component $part29
(component $part28
(component $part27
(component $part26
(component $part25
(component $part24
(component $part23
(component $part22
(component $part21
(component $part20
(component $part19
(component $part18
(component $part17
(component $part16
(component $part15
(component $part14
(component $part13
(component $part12
(component $part11
(component $part10
(component $part9
(component $part8
(component $part7
(component $part6
(component $part5
(component $part4
(component $part3
(component $part2
(component $part1
(component $part0 (core module $module) (core instance (instantiate $module)))
(instance (instantiate $part0))
(instance (instantiate $part0)))
(instance (instantiate $part1))
(instance (instantiate $part1)))
(instance (instantiate $part2))
(instance (instantiate $part2)))
(instance (instantiate $part3))
(instance (instantiate $part3)))
(instance (instantiate $part4))
(instance (instantiate $part4)))
(instance (instantiate $part5))
(instance (instantiate $part5)))
(instance (instantiate $part6))
(instance (instantiate $part6)))
(instance (instantiate $part7))
(instance (instantiate $part7)))
(instance (instantiate $part8))
(instance (instantiate $part8)))
(instance (instantiate $part9))
(instance (instantiate $part9)))
(instance (instantiate $part10))
(instance (instantiate $part10)))
(instance (instantiate $part11))
(instance (instantiate $part11)))
(instance (instantiate $part12))
(instance (instantiate $part12)))
(instance (instantiate $part13))
(instance (instantiate $part13)))
(instance (instantiate $part14))
(instance (instantiate $part14)))
(instance (instantiate $part15))
(instance (instantiate $part15)))
(instance (instantiate $part16))
(instance (instantiate $part16)))
(instance (instantiate $part17))
(instance (instantiate $part17)))
(instance (instantiate $part18))
(instance (instantiate $part18)))
(instance (instantiate $part19))
(instance (instantiate $part19)))
(instance (instantiate $part20))
(instance (instantiate $part20)))
(instance (instantiate $part21))
(instance (instantiate $part21)))
(instance (instantiate $part22))
(instance (instantiate $part22)))
(instance (instantiate $part23))
(instance (instantiate $part23)))
(instance (instantiate $part24))
(instance (instantiate $part24)))
(instance (instantiate $part25))
(instance (instantiate $part25)))
(instance (instantiate $part26))
(instance (instantiate $part26)))
(instance (instantiate $part27))
(instance (instantiate $part27)))
(instance (instantiate $part28))
(instance (instantiate $part28)))
(instance (instantiate $part29))
(instance (instantiate $part29)))
(instance (instantiate $part30))
