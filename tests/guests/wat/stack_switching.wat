;; refused: stack switching is disabled
;; Stacks of its own.
(core module
  (type $function (func))
  (type $stack (cont $function))
  (func (param (ref $stack)) (resume $stack (local.get 0))))
