-- {name}_latest: of each playlist the rows of its newest document; none if that one is empty.
WITH "_documents" AS (
  SELECT document, playlist_id, extracted_at FROM {documents}
),
"_newest_first" AS (
  SELECT
    document,
    row_number() OVER (PARTITION BY playlist_id ORDER BY extracted_at DESC, document DESC) AS "_newness"
  FROM "_documents"
)
SELECT
  {columns}
FROM {db}{table}
WHERE document IN (SELECT document FROM "_newest_first" WHERE "_newness" = 1)
