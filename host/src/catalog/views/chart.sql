-- chart: one row for each playlist, week and song of its chart.
WITH
{weekly},
-- A song that is in a snapshot twice counts at its best position.
best AS (
  SELECT
    weekly.playlist_id, weekly.week, weekly.document, weekly.previous_document,
    song.song_id, min(song.position) AS position
  FROM weekly
  JOIN {db}song ON song.document = weekly.document
  GROUP BY weekly.playlist_id, weekly.week, weekly.document, weekly.previous_document, song.song_id
),
charted AS (
  SELECT
    week, document, song_id, position,
    CASE
      WHEN lag(document) OVER (PARTITION BY playlist_id, song_id ORDER BY week) = previous_document
      THEN lag(position) OVER (PARTITION BY playlist_id, song_id ORDER BY week)
    END AS previous_position,
    row_number() OVER (PARTITION BY playlist_id, song_id ORDER BY week) AS weeks_on_chart,
    min(position) OVER (PARTITION BY playlist_id, song_id ORDER BY week) AS peak_position
  FROM best
),
named AS (
  SELECT
    song_artist.document, song_artist.song_id, song_artist.artist_position, artist.artist_name,
    row_number() OVER (
      PARTITION BY song_artist.document, song_artist.song_id ORDER BY song_artist.artist_position
    ) AS place
  FROM weekly
  JOIN {db}song_artist ON song_artist.document = weekly.document
  JOIN {db}artist ON artist.document = song_artist.document AND artist.artist_id = song_artist.artist_id
  WHERE artist.artist_name IS NOT NULL
),
performers AS (
  SELECT
    document, song_id,
    {artists} AS artists,
    max(CASE WHEN place = 1 THEN artist_name END) AS main_artist
  FROM named
  GROUP BY document, song_id
)
SELECT
  weekly.week,
  weekly.snapshot_date,
  weekly.playlist_id,
  snapshot.playlist_name,
  weekly.is_latest,
  charted.position,
  charted.previous_position,
  charted.previous_position - charted.position AS change,
  CAST(CASE
    WHEN charted.weeks_on_chart = 1 THEN 'new'
    WHEN charted.previous_position IS NULL THEN 're-entry'
    WHEN charted.previous_position > charted.position THEN 'up'
    WHEN charted.previous_position < charted.position THEN 'down'
    ELSE 'same'
  END AS varchar) AS status,
  song.song_name,
  performers.artists,
  performers.main_artist,
  album.name AS album,
  album.release_date,
  CAST(substr(album.release_date, 1, 4) AS bigint) AS release_year,
  charted.weeks_on_chart,
  charted.peak_position,
  song.popularity,
  charted.song_id,
  song.isrc,
  song.url,
  charted.document
FROM charted
JOIN weekly ON weekly.document = charted.document
JOIN {db}song ON song.document = charted.document AND song.position = charted.position
LEFT JOIN {db}snapshot ON snapshot.document = charted.document
LEFT JOIN performers ON performers.document = charted.document AND performers.song_id = charted.song_id
LEFT JOIN {db}album ON album.document = charted.document AND album.album_id = song.album_id
