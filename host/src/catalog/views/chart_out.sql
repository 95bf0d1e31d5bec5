-- chart_out: one row for each playlist, week and song that was in the snapshot before and is gone.
WITH
{weekly},
stays AS (
  SELECT
    document, week, song_name, artists, main_artist, album,
    position, peak_position, weeks_on_chart, song_id, isrc, url,
    min(week) OVER (PARTITION BY playlist_id, song_id) AS first_week,
    lead(document) OVER (PARTITION BY playlist_id, song_id ORDER BY week) AS next_document
  FROM {db}chart
)
SELECT
  weekly.week,
  weekly.snapshot_date,
  weekly.playlist_id,
  snapshot.playlist_name,
  stays.song_name,
  stays.artists,
  stays.main_artist,
  stays.album,
  stays.position AS last_position,
  stays.peak_position,
  stays.weeks_on_chart,
  stays.first_week,
  stays.week AS last_week,
  stays.song_id,
  stays.isrc,
  stays.url,
  weekly.document
FROM weekly
JOIN stays ON stays.document = weekly.previous_document
LEFT JOIN {db}snapshot ON snapshot.document = weekly.document
WHERE stays.next_document IS NULL OR stays.next_document <> weekly.document
