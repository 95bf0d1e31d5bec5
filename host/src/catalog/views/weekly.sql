-- The snapshots, also those without a song. A document is no snapshot if it has entries and none gave a row.
documents AS (
  SELECT document, playlist_id, extracted_at, snapshot_date FROM {db}snapshot WHERE {is_snapshot}
  UNION
  SELECT document, playlist_id, extracted_at, snapshot_date FROM {db}song
),
-- Weeks are Monday to Sunday, UTC.
dated AS (
  SELECT document, playlist_id, extracted_at, snapshot_date, {week} AS week
  FROM documents
),
-- A snapshot is complete unless it is known to be a part of the playlist.
marked AS (
  SELECT
    dated.document, dated.playlist_id, dated.extracted_at, dated.snapshot_date, dated.week,
    coalesce(snapshot.complete, true) AS complete
  FROM dated
  LEFT JOIN {db}snapshot ON snapshot.document = dated.document
),
newest_first AS (
  SELECT
    document, playlist_id, snapshot_date, week, complete,
    row_number() OVER (
      PARTITION BY playlist_id, week ORDER BY complete DESC, extracted_at DESC, document DESC
    ) AS newness
  FROM marked
),
-- The snapshot of a playlist's week: the last complete one, or the last one if none is complete.
-- An incomplete snapshot proves that the songs in it were there, and nothing about other songs. A song that
-- was last seen in week p is still there in week w if no week between them is complete: if complete_until
-- of p is complete_before of w. It is out in the first complete week without it.
weekly AS (
  SELECT
    document, playlist_id, snapshot_date, week, complete,
    sum(CASE WHEN complete THEN 1 ELSE 0 END) OVER (PARTITION BY playlist_id ORDER BY week)
      - CASE WHEN complete THEN 1 ELSE 0 END AS complete_before,
    sum(CASE WHEN complete THEN 1 ELSE 0 END) OVER (PARTITION BY playlist_id ORDER BY week) AS complete_until,
    lead(document) OVER (PARTITION BY playlist_id ORDER BY week) IS NULL AS is_latest
  FROM newest_first
  WHERE newness = 1
)
