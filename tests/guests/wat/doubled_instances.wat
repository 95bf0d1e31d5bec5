;; refused: effective type size exceeds the limit
;; A type of a billion exports.
(type $type0 (instance (export "a" (func))))
(type $type1 (instance
  (export "a" (instance (type $type0)))
  (export "b" (instance (type $type0)))))
(type $type2 (instance
  (export "a" (instance (type $type1)))
  (export "b" (instance (type $type1)))))
(type $type3 (instance
  (export "a" (instance (type $type2)))
  (export "b" (instance (type $type2)))))
(type $type4 (instance
  (export "a" (instance (type $type3)))
  (export "b" (instance (type $type3)))))
(type $type5 (instance
  (export "a" (instance (type $type4)))
  (export "b" (instance (type $type4)))))
(type $type6 (instance
  (export "a" (instance (type $type5)))
  (export "b" (instance (type $type5)))))
(type $type7 (instance
  (export "a" (instance (type $type6)))
  (export "b" (instance (type $type6)))))
(type $type8 (instance
  (export "a" (instance (type $type7)))
  (export "b" (instance (type $type7)))))
(type $type9 (instance
  (export "a" (instance (type $type8)))
  (export "b" (instance (type $type8)))))
(type $type10 (instance
  (export "a" (instance (type $type9)))
  (export "b" (instance (type $type9)))))
(type $type11 (instance
  (export "a" (instance (type $type10)))
  (export "b" (instance (type $type10)))))
(type $type12 (instance
  (export "a" (instance (type $type11)))
  (export "b" (instance (type $type11)))))
(type $type13 (instance
  (export "a" (instance (type $type12)))
  (export "b" (instance (type $type12)))))
(type $type14 (instance
  (export "a" (instance (type $type13)))
  (export "b" (instance (type $type13)))))
(type $type15 (instance
  (export "a" (instance (type $type14)))
  (export "b" (instance (type $type14)))))
(type $type16 (instance
  (export "a" (instance (type $type15)))
  (export "b" (instance (type $type15)))))
(type $type17 (instance
  (export "a" (instance (type $type16)))
  (export "b" (instance (type $type16)))))
(type $type18 (instance
  (export "a" (instance (type $type17)))
  (export "b" (instance (type $type17)))))
(type $type19 (instance
  (export "a" (instance (type $type18)))
  (export "b" (instance (type $type18)))))
(type $type20 (instance
  (export "a" (instance (type $type19)))
  (export "b" (instance (type $type19)))))
(type $type21 (instance
  (export "a" (instance (type $type20)))
  (export "b" (instance (type $type20)))))
(type $type22 (instance
  (export "a" (instance (type $type21)))
  (export "b" (instance (type $type21)))))
(type $type23 (instance
  (export "a" (instance (type $type22)))
  (export "b" (instance (type $type22)))))
(type $type24 (instance
  (export "a" (instance (type $type23)))
  (export "b" (instance (type $type23)))))
