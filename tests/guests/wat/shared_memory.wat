;; refused: threads must be enabled for shared memories
;; Memory for several threads.
(core module (memory 1 2 shared))
