-- chart_out: one row for each playlist, week and song that was there before and is not in the week's snapshot.
WITH
{weekly},
seen AS (
  SELECT
    chart.playlist_id, chart.week, chart.song_name, chart.artists, chart.main_artist, chart.album,
    chart.position, chart.peak_position, chart.weeks_on_chart, chart.song_id, chart.isrc, chart.url,
    weekly.complete_until,
    min(chart.week) OVER (PARTITION BY chart.playlist_id, chart.first_song_id) AS first_week,
    lead(chart.week) OVER (PARTITION BY chart.playlist_id, chart.first_song_id ORDER BY chart.week) AS next_week
  FROM {db}chart
  JOIN weekly ON weekly.document = chart.document
)
SELECT
  weekly.week,
  weekly.snapshot_date,
  weekly.playlist_id,
  snapshot.playlist_name,
  seen.song_name,
  seen.artists,
  seen.main_artist,
  seen.album,
  seen.position AS last_position,
  seen.peak_position,
  seen.weeks_on_chart,
  seen.first_week,
  seen.week AS last_week,
  seen.song_id,
  seen.isrc,
  seen.url,
  weekly.document
FROM weekly
JOIN seen ON seen.playlist_id = weekly.playlist_id AND seen.complete_until = weekly.complete_before
LEFT JOIN {db}snapshot ON snapshot.document = weekly.document
WHERE weekly.complete AND (seen.next_week IS NULL OR seen.next_week > weekly.week)
