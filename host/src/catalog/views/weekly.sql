-- The snapshots, also those without a song; the weeks are Monday to Sunday.
documents AS (
  SELECT document, playlist_id, extracted_at, snapshot_date FROM {db}snapshot
  UNION
  SELECT document, playlist_id, extracted_at, snapshot_date FROM {db}song
),
dated AS (
  SELECT document, playlist_id, extracted_at, snapshot_date, {week} AS week
  FROM documents
),
newest_first AS (
  SELECT
    document, playlist_id, snapshot_date, week,
    row_number() OVER (PARTITION BY playlist_id, week ORDER BY extracted_at DESC, document DESC) AS newness
  FROM dated
),
-- A playlist's last snapshot of each week, and the one before it.
weekly AS (
  SELECT
    document, playlist_id, snapshot_date, week,
    lag(document) OVER (PARTITION BY playlist_id ORDER BY week) AS previous_document,
    lead(document) OVER (PARTITION BY playlist_id ORDER BY week) IS NULL AS is_latest
  FROM newest_first
  WHERE newness = 1
)
