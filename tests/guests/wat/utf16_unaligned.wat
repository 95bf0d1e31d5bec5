;; refused: asked what it is, it failed: string pointer not aligned to 2
;; encoding: utf16
;; Text of two bytes a character that begins at an odd place.

