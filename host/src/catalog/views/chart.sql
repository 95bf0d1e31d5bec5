-- chart: one row for each playlist, week and song of its chart.
WITH
{weekly},
-- Ids of one playlist that share an ISRC in any of its snapshots, directly or through a third id, have the
-- same linked_id: the smallest of these ids.
isrcs AS (
  SELECT DISTINCT playlist_id, song_id, upper(replace(isrc, '-', '')) AS code
  FROM {db}song
  WHERE replace(isrc, '-', '') <> ''
),
linked_by_isrc AS (
  SELECT playlist_id, song_id, code, min(song_id) OVER (PARTITION BY playlist_id, code) AS linked_id
  FROM isrcs
),
linked_by_id AS (
  SELECT playlist_id, song_id, code, min(linked_id) OVER (PARTITION BY playlist_id, song_id) AS linked_id
  FROM linked_by_isrc
),
linked_again AS (
  SELECT playlist_id, song_id, min(linked_id) OVER (PARTITION BY playlist_id, code) AS linked_id
  FROM linked_by_id
),
linked AS (
  SELECT playlist_id, song_id, min(linked_id) AS linked_id
  FROM linked_again
  GROUP BY playlist_id, song_id
),
-- A song that is in a snapshot twice counts at its best position.
best AS (
  SELECT
    weekly.playlist_id, weekly.week, weekly.document, weekly.complete_before, weekly.complete_until,
    song.song_id, min(song.position) AS position
  FROM weekly
  JOIN {db}song ON song.document = weekly.document
  GROUP BY
    weekly.playlist_id, weekly.week, weekly.document, weekly.complete_before, weekly.complete_until,
    song.song_id
),
-- Most ids are linked to no other one: what follows reads only those that are.
counted AS (
  SELECT playlist_id, song_id, linked_id, count(*) OVER (PARTITION BY playlist_id, linked_id) AS ids
  FROM linked
),
seen AS (
  SELECT
    best.playlist_id, best.document, best.song_id, counted.linked_id,
    min(best.week) OVER (PARTITION BY best.playlist_id, best.song_id) AS first_week
  FROM best
  JOIN counted ON counted.playlist_id = best.playlist_id AND counted.song_id = best.song_id
  WHERE counted.ids > 1
),
ranked AS (
  SELECT
    playlist_id, song_id,
    row_number() OVER (PARTITION BY document, linked_id ORDER BY first_week, song_id) AS id_rank,
    first_value(song_id) OVER (PARTITION BY playlist_id, linked_id ORDER BY first_week, song_id) AS first_id
  FROM seen
),
-- Linked ids are one song over time, except an id that is in any week together with an earlier one of them:
-- it is a song of its own.
renamed AS (
  SELECT playlist_id, song_id, min(first_id) AS first_song_id
  FROM ranked
  GROUP BY playlist_id, song_id
  HAVING max(id_rank) = 1
),
songs AS (
  SELECT
    best.playlist_id, best.week, best.document, best.complete_before, best.complete_until,
    best.song_id, best.position,
    coalesce(renamed.first_song_id, best.song_id) AS first_song_id
  FROM best
  LEFT JOIN renamed ON renamed.playlist_id = best.playlist_id AND renamed.song_id = best.song_id
),
charted AS (
  SELECT
    week, document, song_id, first_song_id, position, complete_before,
    CASE
      WHEN lag(complete_until) OVER (PARTITION BY playlist_id, first_song_id ORDER BY week) = complete_before
      THEN lag(position) OVER (PARTITION BY playlist_id, first_song_id ORDER BY week)
    END AS previous_position,
    nullif(lag(song_id) OVER (PARTITION BY playlist_id, first_song_id ORDER BY week), song_id)
      AS previous_song_id,
    row_number() OVER (PARTITION BY playlist_id, first_song_id ORDER BY week) AS weeks_on_chart,
    min(position) OVER (PARTITION BY playlist_id, first_song_id ORDER BY week) AS peak_position
  FROM songs
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
    WHEN charted.weeks_on_chart = 1 AND charted.complete_before = 0 THEN 'first'
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
  charted.document,
  weekly.complete,
  charted.first_song_id,
  charted.previous_song_id
FROM charted
JOIN weekly ON weekly.document = charted.document
JOIN {db}song ON song.document = charted.document AND song.position = charted.position
LEFT JOIN {db}snapshot ON snapshot.document = charted.document
LEFT JOIN performers ON performers.document = charted.document AND performers.song_id = charted.song_id
LEFT JOIN {db}album ON album.document = charted.document AND album.album_id = song.album_id
