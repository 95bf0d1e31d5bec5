-- {name}_latest: of each {key_names} the row that was extracted last, in whatever playlist.
WITH "_newest_first" AS (
  SELECT
    {columns},
    row_number() OVER (PARTITION BY {key} ORDER BY extracted_at DESC, document DESC) AS "_newness"
  FROM {db}{table}
)
SELECT
  {columns}
FROM "_newest_first"
WHERE "_newness" = 1
