;; refused: custom page sizes proposal must be enabled
;; Pages that limits would be counted in wrongly.
(core module (memory 1 (pagesize 1)))
