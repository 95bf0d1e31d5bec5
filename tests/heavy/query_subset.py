"""Whether `query` answers as if it had loaded everything.

`query` loads only those tables, columns and years that a statement reads, and keeps the rows for the next
statement. If it loads too little, an answer is wrong and nothing tells. Here `query --save` keeps all tables in
one file, Python's own SQLite asks that file, and `query` has to give the same rows: with no rows kept before,
and with the rows that other statements left. A statement that fails in one has to fail in the other. Where they
differ, all of every table is loaded and the command is asked again, since two releases of SQLite may differ as well.

Statements are a list of awkward ones, and random ones that follow from SEED. They go to a store of CSV and one
of Parquet, with documents of four years. After that a store is changed between statements: documents are added,
table files are deleted and edited, history is replayed; and several statements are asked at once.

Statements are such that their rows don't depend on the plan: no LIMIT without a total order, no bare column
beside an aggregate, no `group_concat` over rows in any order. Rows are compared in order where ORDER BY names
all columns, else as a bag. Python's SQLite has to be 3.39 or later. Ends with 1 if there are differences.

usage: query_subset.py PROGRAM PLUGINS FIXTURES [SEED] [COUNT]
"""

import collections
import concurrent.futures
import csv
import io
import json
import math
import os
import pathlib
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time

# So many statements use the same kept rows before these are deleted.
KEPT_FOR = 8
# Statements that Python takes longer for are left out.
SECONDS_MAX = 2
ROWS_MAX = 30_000
# `query` trusts the time of a file from then on.
SETTLED_AFTER = 3.5
YEARS = (2023, 2024, 2025, 2026)
TABLES = ("song", "album", "artist", "song_artist", "snapshot")

# Ways to ask for years: {y} is the column, {a} to {c} are years.
YEAR_PREDICATES = """
{y} = {a} | {a} = {y} | {y} == {a} | {y} <> {a} | {y} != {a} | {y} IS {a} | {y} IS NOT {a} | NOT {y} = {a}
{y} > {a} | {y} >= {a} | {y} < {a} | {y} <= {a} | {a} < {y} | {a} >= {y} | NOT {y} > {a} | NOT ({y} <= {a})
{y} IN ({a}) | {y} IN ({a}, {b}) | {y} NOT IN ({a}, {b}) | {y} IN ({a}, NULL) | {y} NOT IN ({a}, NULL) | {y} IN ()
{y} IN ('{a}', {b}) | {y} IN ({a}.0, {b}) | {y} IN (SELECT {a}) | {y} IN (SELECT {a} UNION SELECT {b})
{y} IN (SELECT snapshot_year FROM snapshot WHERE snapshot_year > {a}) | {y} IN (VALUES ({a}), ({b}))
{y} BETWEEN {a} AND {b} | {y} NOT BETWEEN {a} AND {b} | {a} BETWEEN {y} AND {b} | {a} BETWEEN {b} AND {y}
{y} BETWEEN '{a}' AND '{b}' | {y} = '{a}' | {y} > '{a}' | {y} = ' {a} ' | {y} = {a}.0 | {y} > {a}.5 | {y} < {a}.5
{y} = '{a}.0' | {y} > 'x' | {y} < 'x' | {y} = 'x' | {y} <> 'x' | {y} = x'32303235' | {y} < x'' | {y} > NULL | {y} = NULL
{y} IS NULL | {y} IS NOT NULL | {y} NOTNULL | {y} IS NOT DISTINCT FROM {a} | {y} IS DISTINCT FROM {a}
{y} + 0 = {a} | {y} || '' = '{a}' | {y} || '' = {a} | +{y} = {a} | +{y} = '{a}' | -{y} = -{a} | {y} = -(-{a}) | {y} > -{a}
{y} = {a} + 1 | {y} + 1 = {a} | {y} % 2 = 0 | {y} = 0x7E9 | {y} > 0x7E8 | {y} = +{a} | {y} = ~(~{a}) | {y} >= 9223372036854775807
{y} > -9223372036854775808 | {y} < 9223372036854775808 | {y} > -9223372036854775809 | {y} < -9223372036854775808 | {y} > 1e3 | {y} < 1e99
{y} = CAST('{a}' AS INTEGER) | {y} = CAST({a} AS TEXT) | {y} = CAST({a}.9 AS INTEGER) | CAST({y} AS TEXT) = '{a}' | CAST({y} AS TEXT) > '{a}'
{y} > TRUE | {y} = TRUE | {y} < FALSE | {y} | NOT {y} | {y} IS TRUE | {y} IS NOT FALSE | ({y} = {a}) IS TRUE | ({y} = {a}) = 0 | ({y} > {a}) IS NOT TRUE
({y} = {a}) = ({y} = {b}) | ({y} = {a}) + ({y} = {b}) | {y} = {a} COLLATE NOCASE | {y} COLLATE BINARY = {a} | {y} LIKE {a} | {y} LIKE '{a}' | {y} LIKE '202_'
{y} GLOB '*{a}' | {y} LIKE '%{a}%' | {y} = {a} OR {y} = {b} | {y} < {a} OR {y} > {b} | {y} = {a} AND {y} = {b} | {y} > {a} AND {y} < {b}
{y} = {a} OR {y} IS NULL | {y} = {a} OR 1 | {y} = {a} OR 0 | {y} = {a} AND 1 | {y} = {a} AND 0 | {y} = {a} OR NULL | {y} = {a} AND NULL
({y} = {a} AND {y} >= {b}) OR {y} = {c} | ({y} = {a} OR {y} = {b}) AND {y} <> {c} | NOT ({y} = {a} OR {y} = {b}) | NOT ({y} = {a} AND {y} = {b})
CASE WHEN {y} = {a} THEN 1 ELSE 0 END | CASE {y} WHEN {a} THEN 1 WHEN {b} THEN 1 END | CASE WHEN {y} > {a} THEN {y} = {b} ELSE {y} = {c} END
{y} = CASE WHEN 1 THEN {a} ELSE {b} END | {y} = coalesce(NULL, {a}) | {y} = ifnull(NULL, {a}) | iif({y} = {a}, 1, 0) | coalesce({y}, 0) = {a} | nullif({y}, {a}) IS NULL
{y} = max({a}, {b}) | {y} = abs(-{a}) | {y} = (SELECT {a}) | {y} = (SELECT max(snapshot_year) FROM snapshot) | {y} = (SELECT min(snapshot_year) FROM song)
{y} > (SELECT min(snapshot_year) FROM artist WHERE snapshot_year > {a}) | {y} = ({a}) | ({y}) = ({a}) | ({y}, 1) = ({a}, 1) | ({y}, 1) > ({a}, 0) | ({y}, 2) < ({a}, 3)
({a}, 0) < ({y}, 1) | ({y}, {y}) = ({a}, {b}) | ({y}, 1) IN (VALUES ({a}, 1), ({b}, 1)) | ({y}, 1) IN (SELECT {a}, 1) | ({y}, 1) BETWEEN ({a}, 0) AND ({b}, 2) | (1, {y}) >= (1, {a})
{y} IN (SELECT value FROM json_each('[{a}, {b}]')) | {y} = json_extract('{{"a": {a}}}', '$.a') | {y} = '{{"a": {a}}}' ->> 'a' | likely({y} = {a}) | unlikely({y} = {a}) | likelihood({y} = {a}, 0.5)
EXISTS (SELECT 1 WHERE {y} = {a}) | EXISTS (SELECT 1 FROM snapshot z WHERE z.snapshot_year = {y} AND z.snapshot_year > {a}) | NOT EXISTS (SELECT 1 FROM snapshot z WHERE z.snapshot_year = {y} + 1)
{y} = {a} | {y} = {a} | {y} IN ({a}, {b}) | {y} >= {a} | {y} < {a} | {y} BETWEEN {a} AND {b}
"""
YEAR_PREDICATES = [each.strip() for each in re.split(r" \| |\n", YEAR_PREDICATES) if each.strip()]

# Awkward statements. Names of columns may be the same, and rows are compared as bags.
AWKWARD = """
SELECT 1
SELECT 1 WHERE 0
SELECT NULL, 'x', 1.5
VALUES (1, 'a'), (2, 'b')
SELECT count(*) FROM song
SELECT count(*) FROM song, album
SELECT count(*) FROM chart
SELECT count(*) FROM (SELECT * FROM song)
SELECT count(*) FROM (SELECT 1 FROM song UNION ALL SELECT 2 FROM artist WHERE snapshot_year = 2024)
SELECT count(*), (SELECT count(*) FROM artist) FROM song WHERE snapshot_year = 2025
SELECT 1 FROM song
SELECT (SELECT count(*) FROM song)
SELECT EXISTS (SELECT 1 FROM song WHERE snapshot_year = 2024)
SELECT EXISTS (SELECT * FROM song WHERE snapshot_year = 1999)
SELECT min(snapshot_year), max(snapshot_year) FROM song
SELECT min(snapshot_year) FROM song
SELECT max(snapshot_year) FROM song WHERE snapshot_year < 2026
SELECT DISTINCT snapshot_year FROM song_artist
SELECT snapshot_year, count(*) FROM song GROUP BY 1
SELECT snapshot_year, count(*) FROM song GROUP BY snapshot_year HAVING snapshot_year = 2025
SELECT snapshot_year, count(*) FROM song GROUP BY snapshot_year HAVING count(*) > 20
SELECT snapshot_year y, count(*) FROM song GROUP BY y HAVING y IN (2024, 2026)
SELECT count(*) FROM song HAVING min(snapshot_year) = 2023
SELECT 2024 AS snapshot_year, position FROM song WHERE snapshot_year = 2024
SELECT position AS snapshot_year, snapshot_year AS position FROM song WHERE snapshot_year = 2025
SELECT snapshot_year + 1 AS snapshot_year FROM song GROUP BY snapshot_year HAVING snapshot_year > 2024
SELECT a.snapshot_year FROM (SELECT snapshot_year + 1 AS snapshot_year FROM song) a WHERE a.snapshot_year = 2025
SELECT * FROM (SELECT position AS snapshot_year, song_name FROM song) WHERE snapshot_year = 2
SELECT * FROM (SELECT max(snapshot_year) AS snapshot_year FROM song) WHERE snapshot_year = 2024
SELECT * FROM (SELECT max(snapshot_year) AS snapshot_year, song_id FROM song GROUP BY song_id) WHERE snapshot_year = 2025
SELECT * FROM (SELECT snapshot_year, count(*) n FROM song GROUP BY snapshot_year) WHERE snapshot_year = 2025
SELECT * FROM (SELECT snapshot_year, sum(count(*)) OVER () n FROM song GROUP BY snapshot_year) WHERE snapshot_year = 2025
SELECT * FROM (SELECT snapshot_year, count(*) OVER () n FROM song) WHERE snapshot_year = 2025
SELECT * FROM (SELECT snapshot_year, count(*) OVER (PARTITION BY snapshot_year) n FROM song) WHERE snapshot_year = 2025
SELECT * FROM (SELECT snapshot_year, count(*) OVER (PARTITION BY song_id) n FROM song) WHERE snapshot_year = 2025
SELECT * FROM (SELECT snapshot_year, count(*) OVER (PARTITION BY snapshot_year) n, count(*) OVER () m FROM song) WHERE snapshot_year > 2025
SELECT * FROM (SELECT snapshot_year, rank() OVER (ORDER BY snapshot_year) n FROM song) WHERE snapshot_year = 2026
SELECT * FROM (SELECT snapshot_year, lag(snapshot_year) OVER (ORDER BY document, position) n FROM song) WHERE snapshot_year = 2026
SELECT * FROM (SELECT snapshot_year, document, position FROM song ORDER BY 1, 2, 3 LIMIT 20) WHERE snapshot_year = 2025
SELECT * FROM (SELECT snapshot_year, document, position FROM song ORDER BY 1, 2, 3 LIMIT 20 OFFSET 30) WHERE snapshot_year >= 2025
SELECT * FROM (SELECT DISTINCT snapshot_year FROM song) WHERE snapshot_year = 2025
SELECT * FROM (SELECT snapshot_year FROM song UNION SELECT snapshot_year FROM album) WHERE snapshot_year = 2025
SELECT * FROM (SELECT snapshot_year FROM song EXCEPT SELECT snapshot_year FROM album WHERE snapshot_year > 2024) WHERE snapshot_year > 2023
SELECT * FROM (SELECT snapshot_year FROM song INTERSECT SELECT position + 2023 FROM album, song) WHERE snapshot_year < 2026
SELECT * FROM (SELECT snapshot_year y FROM song UNION ALL SELECT position FROM song) WHERE y = 2025 OR y = 2
SELECT count(*) FILTER (WHERE snapshot_year = 2025), count(*) FROM song
SELECT count(*) FILTER (WHERE snapshot_year = 2025) FROM song WHERE snapshot_year >= 2025
SELECT sum(snapshot_year = 2025), sum(CASE snapshot_year WHEN 2024 THEN 1 END) FROM song
SELECT count(DISTINCT snapshot_year) FROM song
SELECT s.snapshot_year, a.snapshot_year FROM song s LEFT JOIN album a ON a.album_id = s.album_id AND a.document = s.document AND a.snapshot_year = 2025
SELECT s.snapshot_year, a.snapshot_year FROM song s LEFT JOIN album a ON a.album_id = s.album_id AND a.document = s.document AND s.snapshot_year = 2025
SELECT s.snapshot_year, a.snapshot_year FROM song s LEFT JOIN album a ON a.album_id = s.album_id AND a.document = s.document WHERE a.snapshot_year = 2025
SELECT s.snapshot_year, a.snapshot_year FROM song s LEFT JOIN album a ON a.album_id = s.album_id AND a.document = s.document WHERE a.snapshot_year = 2025 OR a.snapshot_year IS NULL
SELECT s.snapshot_year, a.snapshot_year FROM song s LEFT JOIN album a ON a.document = s.document AND a.snapshot_year = 2025 WHERE a.snapshot_year IS NULL
SELECT s.snapshot_year, a.snapshot_year FROM song s RIGHT JOIN album a ON a.album_id = s.album_id AND a.document = s.document AND a.snapshot_year = 2025
SELECT s.snapshot_year, a.snapshot_year FROM song s RIGHT JOIN album a ON a.album_id = s.album_id AND a.document = s.document AND s.snapshot_year = 2025
SELECT s.snapshot_year, a.snapshot_year FROM song s FULL JOIN album a ON a.album_id = s.album_id AND a.document = s.document AND a.snapshot_year = 2025
SELECT s.snapshot_year, a.snapshot_year FROM song s FULL JOIN album a ON a.album_id = s.album_id AND a.document = s.document AND s.snapshot_year = 2025
SELECT s.snapshot_year, a.snapshot_year FROM song s FULL JOIN album a ON s.snapshot_year = 2025 AND a.snapshot_year = 2025 AND a.document = s.document
SELECT s.snapshot_year, a.snapshot_year FROM song s FULL JOIN album a ON s.snapshot_year = 2025 AND a.snapshot_year = 2024
SELECT s.snapshot_year, a.snapshot_year FROM song s FULL JOIN album a ON 0
SELECT s.snapshot_year, a.snapshot_year FROM song s FULL JOIN album a ON a.document = s.document WHERE s.snapshot_year = 2025 OR a.snapshot_year = 2024
SELECT s.document, a.document, n.document FROM snapshot s FULL JOIN snapshot a ON a.snapshot_year = s.snapshot_year + 1 LEFT JOIN snapshot n ON n.snapshot_year = 2025 AND n.playlist_id = a.playlist_id
SELECT s.document, a.document, n.document FROM snapshot s LEFT JOIN snapshot a ON a.snapshot_year = 2024 RIGHT JOIN snapshot n ON n.playlist_id = a.playlist_id AND n.snapshot_year = 2026
SELECT count(*) FROM snapshot s LEFT JOIN album a ON s.snapshot_year > 2024
SELECT count(*) FROM snapshot s LEFT JOIN album a ON a.document = s.document AND s.snapshot_year BETWEEN 2024 AND 2025
SELECT count(*) FROM snapshot s LEFT JOIN album a ON a.document = s.document AND s.snapshot_year = 2025 WHERE s.snapshot_year > 2024
SELECT count(*) FROM snapshot s JOIN song x USING (document) LEFT JOIN album a ON a.document = s.document AND x.snapshot_year = 2025
SELECT count(*) FROM snapshot s LEFT JOIN song x USING (document) LEFT JOIN album a ON a.document = s.document AND x.snapshot_year = 2025
SELECT count(*) FROM snapshot s, song x LEFT JOIN album a ON a.document = s.document AND s.snapshot_year = 2025 WHERE x.document = s.document
SELECT count(*) FROM (SELECT * FROM snapshot) s LEFT JOIN (SELECT 1) ON s.snapshot_year IN (2025)
SELECT s.document, (SELECT count(*) FROM song x LEFT JOIN album a ON x.snapshot_year = 2025 WHERE x.document = s.document) FROM snapshot s
SELECT count(*) FROM song JOIN album USING (document)
SELECT count(*) FROM song JOIN album USING (document, album_id)
SELECT count(*) FROM song JOIN album USING (snapshot_year)
SELECT count(*) FROM song LEFT JOIN album USING (document, album_id, snapshot_year) WHERE snapshot_year = 2025
SELECT count(*) FROM song RIGHT JOIN album USING (document, album_id, snapshot_year) WHERE snapshot_year = 2025
SELECT count(*) FROM song FULL JOIN album USING (document, album_id, snapshot_year) WHERE snapshot_year = 2025
SELECT snapshot_year, count(*) FROM song FULL JOIN album USING (album_id, snapshot_year) GROUP BY 1
SELECT snapshot_year FROM snapshot a FULL JOIN snapshot b USING (snapshot_year) FULL JOIN song c USING (snapshot_year) WHERE snapshot_year <> 2025
SELECT count(*) FROM song NATURAL JOIN album
SELECT count(*) FROM song NATURAL JOIN song_artist NATURAL JOIN artist
SELECT count(*) FROM song NATURAL LEFT JOIN song_artist WHERE snapshot_year = 2025
SELECT count(*) FROM song NATURAL FULL JOIN song_artist
SELECT * FROM song NATURAL JOIN song_artist
SELECT * FROM snapshot NATURAL JOIN artist
SELECT * FROM song JOIN song_artist USING (document, song_id)
SELECT song.* FROM song JOIN song_artist USING (document, song_id) WHERE song_artist.snapshot_year = 2024
SELECT a.*, b.song_id FROM album a JOIN song b ON a.document = b.document WHERE a.snapshot_year = b.snapshot_year AND b.snapshot_year = 2024
SELECT * FROM (song JOIN album USING (document)) JOIN snapshot USING (document) WHERE snapshot.snapshot_year = 2024
SELECT count(*) FROM (song a JOIN album b ON a.album_id = b.album_id) LEFT JOIN (snapshot c JOIN artist d USING (document)) ON c.document = a.document AND d.snapshot_year = 2025
SELECT count(*) FROM song a NATURAL JOIN song b
SELECT count(*) FROM song_latest NATURAL JOIN album_latest
SELECT count(*) FROM chart NATURAL JOIN song
SELECT count(*) FROM chart JOIN song USING (document, song_id) WHERE snapshot_year = 2025
SELECT count(*) FROM chart LEFT JOIN snapshot USING (document) WHERE snapshot.snapshot_year = 2024
SELECT a.document, b.document FROM snapshot a JOIN snapshot b ON a.snapshot_year = b.snapshot_year AND b.snapshot_year = 2025
SELECT a.document, b.document FROM snapshot a JOIN snapshot b ON a.snapshot_year = b.snapshot_year + 1 WHERE b.snapshot_year = 2025
SELECT a.document, b.document FROM snapshot a, snapshot b WHERE a.snapshot_year = 2024 AND b.snapshot_year = 2026
SELECT count(*) FROM song a, song b WHERE a.snapshot_year = 2024 AND b.song_id = a.song_id
SELECT count(*) FROM song a WHERE snapshot_year = 2026 AND EXISTS (SELECT 1 FROM song b WHERE b.song_id = a.song_id AND b.snapshot_year < a.snapshot_year)
SELECT count(*) FROM song WHERE snapshot_year = 2026 AND song_id IN (SELECT song_id FROM song WHERE snapshot_year = 2024)
SELECT count(*) FROM song WHERE snapshot_year = 2026 AND song_id NOT IN (SELECT song_id FROM song WHERE snapshot_year < 2025)
SELECT song_id FROM song WHERE snapshot_year = 2025 EXCEPT SELECT song_id FROM song WHERE snapshot_year = 2026
SELECT song_id FROM song WHERE snapshot_year = 2025 INTERSECT SELECT song_id FROM chart
SELECT song_id FROM song WHERE snapshot_year = 2025 UNION SELECT artist_id FROM artist
SELECT (SELECT count(*) FROM song b WHERE b.snapshot_year = a.snapshot_year - 1) FROM snapshot a WHERE a.snapshot_year = 2025
SELECT (SELECT max(b.snapshot_year) FROM song b WHERE b.snapshot_year < a.snapshot_year) FROM snapshot a WHERE a.snapshot_year = 2026
SELECT (SELECT snapshot_year FROM song WHERE song.document = snapshot.document LIMIT 1) FROM snapshot
SELECT (SELECT count(*) FROM artist WHERE artist.snapshot_year = song.snapshot_year) FROM song WHERE song.snapshot_year IN (2023, 2026)
WITH song AS (SELECT * FROM artist) SELECT count(*) FROM song
WITH song AS (SELECT * FROM song WHERE snapshot_year = 2025) SELECT count(*) FROM song
WITH song AS (SELECT 1 AS snapshot_year) SELECT * FROM song WHERE snapshot_year = 1
WITH song("a b", "c") AS (SELECT 1, 2) SELECT "a b" FROM song
WITH song("a b") AS (SELECT artist_name FROM artist) SELECT "a b" FROM song
WITH song("a b") AS (SELECT song_name FROM main_song), main_song AS (SELECT * FROM song_artist JOIN song_latest USING (song_id)) SELECT "a b" FROM song
WITH artist AS (SELECT song_id AS artist_id, snapshot_year FROM song) SELECT count(*) FROM artist WHERE snapshot_year = 2024
WITH artist AS (SELECT song_id AS artist_id FROM song) SELECT count(*) FROM chart
WITH snapshot AS (SELECT 'x' AS document) SELECT count(*) FROM chart, snapshot
WITH chart AS (SELECT * FROM song) SELECT count(*) FROM chart WHERE snapshot_year = 2023
WITH chart AS (SELECT * FROM chart_out) SELECT count(*) FROM chart
WITH a AS (SELECT * FROM song), b AS (SELECT * FROM a WHERE snapshot_year = 2025) SELECT count(*) FROM a, b WHERE a.document = b.document
WITH a AS (SELECT * FROM song) SELECT (SELECT count(*) FROM a WHERE snapshot_year = 2025), (SELECT count(*) FROM a)
WITH a AS MATERIALIZED (SELECT * FROM song) SELECT count(*) FROM a WHERE snapshot_year = 2025
WITH a AS NOT MATERIALIZED (SELECT * FROM song) SELECT count(*) FROM a x JOIN a y USING (document) WHERE x.snapshot_year = 2025
WITH a AS MATERIALIZED (SELECT * FROM song) SELECT count(*) FROM a WHERE snapshot_year = 2025 UNION ALL SELECT count(*) FROM a
WITH unread AS (SELECT nothing FROM nowhere) SELECT count(*) FROM song
WITH RECURSIVE n(y) AS (SELECT 2023 UNION ALL SELECT y + 1 FROM n WHERE y < 2026) SELECT y, (SELECT count(*) FROM song WHERE snapshot_year = y) FROM n
WITH RECURSIVE n(y) AS (SELECT min(snapshot_year) FROM song UNION SELECT s.snapshot_year FROM n JOIN song s ON s.snapshot_year = n.y + 1) SELECT * FROM n
WITH RECURSIVE n(y, c) AS (SELECT 2026, 0 UNION ALL SELECT y - 1, (SELECT count(*) FROM album WHERE snapshot_year = y) FROM n WHERE y > 2022) SELECT * FROM n
WITH RECURSIVE song(y) AS (SELECT 1 UNION ALL SELECT y + 1 FROM song WHERE y < 5) SELECT * FROM song
WITH RECURSIVE n(d, y) AS (SELECT document, snapshot_year FROM snapshot WHERE snapshot_year = 2023 UNION SELECT s.document, s.snapshot_year FROM snapshot s, n WHERE s.snapshot_year = n.y + 1) SELECT * FROM n WHERE y = 2025
SELECT * FROM chart
SELECT * FROM chart_out
SELECT * FROM song_latest
SELECT * FROM album_latest
SELECT * FROM artist_latest
SELECT * FROM snapshot_latest
SELECT * FROM song_artist_latest
SELECT week, status FROM chart WHERE is_latest
SELECT week FROM chart WHERE week >= '2026'
SELECT max(week), min(peak_position) FROM chart
SELECT typeof(week), typeof(position), typeof(is_latest), typeof(change) FROM chart
SELECT * FROM chart WHERE position = '1' OR change = '1' OR week = 2026 OR is_latest = '1'
SELECT * FROM song_latest WHERE position = '1' AND explicit = '0'
SELECT c.week, s.snapshot_year FROM chart c JOIN song s ON s.document = c.document AND s.song_id = c.song_id WHERE s.snapshot_year = 2025
SELECT c.song_name FROM chart c WHERE c.document IN (SELECT document FROM snapshot WHERE snapshot_year = 2025)
SELECT count(*) FROM chart, snapshot WHERE snapshot.snapshot_year = 2023
SELECT count(*) FROM song WHERE snapshot_date >= '2026-01-01'
SELECT count(*) FROM song WHERE snapshot_date LIKE '2025%'
SELECT count(*) FROM song WHERE extracted_at < '2025-12-31' AND snapshot_year = 2026
SELECT count(*) FROM song WHERE substr(snapshot_date, 1, 4) = snapshot_year
SELECT count(*) FROM song WHERE substr(snapshot_date, 1, 4) <> snapshot_year || ''
SELECT count(*) FROM song WHERE snapshot_date = '2026-01-19' OR snapshot_year = 2023
SELECT DISTINCT date(snapshot_date, '+1 day') FROM song WHERE snapshot_year < 2025
SELECT "snapshot_year", `position`, [song_id] FROM "song" WHERE "snapshot_year" = 2025
SELECT SNAPSHOT_YEAR, Position FROM SONG WHERE Snapshot_Year = 2025
SELECT "SONG"."SNAPSHOT_YEAR" FROM "sOnG" WHERE [song].[snapshot_Year] = 2024
SELECT S.Song_Id FROM Song AS s NATURAL JOIN SONG_ARTIST
SELECT Week FROM CHART WHERE IS_LATEST
SELECT song.song_id FROM album AS song JOIN song AS album ON song.album_id = album.album_id WHERE song.snapshot_year = 2025
SELECT album.song_id FROM album AS song JOIN song AS album ON song.album_id = album.album_id WHERE song.snapshot_year = 2025
SELECT snapshot_year.snapshot_year FROM song AS snapshot_year WHERE snapshot_year.snapshot_year = 2025
SELECT "from"."document" AS "select" FROM song "from" WHERE "from".snapshot_year = 2026
SELECT song_name AS position, position AS song_name FROM song WHERE song_name = 'Amber' ORDER BY position, song_name
SELECT -position AS position FROM song WHERE position < 3
SELECT count(*) FROM song AS album, album AS song
SELECT count(*) FROM song INDEXED BY nothing
SELECT count(*) FROM song NOT INDEXED WHERE snapshot_year = 2025
SELECT json_group_array(y) FROM (SELECT DISTINCT snapshot_year y FROM song ORDER BY 1)
SELECT json_object('y', snapshot_year, 'p', position) FROM song WHERE snapshot_year = 2025
SELECT s.document, j.value FROM snapshot s, json_each('[2024, 2025]') j WHERE s.snapshot_year = j.value
SELECT s.document, j.value FROM snapshot s, json_each(json_array(s.snapshot_year, s.entries)) j WHERE s.snapshot_year = 2025
SELECT value FROM json_each('[1, 2]')
SELECT j.value, s.document FROM json_each('[2023, 2026]') j LEFT JOIN snapshot s ON s.snapshot_year = j.value
SELECT iif(snapshot_year = 2025, artist_id, song_id) FROM song_artist
SELECT (snapshot_year, position) > (2024, 3), position FROM song
SELECT count(*) FROM song WHERE (snapshot_year, position) > (2025, 3)
SELECT count(*) FROM song WHERE (snapshot_year, position) >= (2025, 3) AND (snapshot_year, position) < (2026, 2)
SELECT count(*) FROM song WHERE (snapshot_year, position) = (2025, 3)
SELECT count(*) FROM song WHERE (snapshot_year, position) IN (VALUES (2025, 3), (2024, 1))
SELECT count(*) FROM song WHERE (document, snapshot_year) IN (SELECT document, 2025 FROM snapshot)
SELECT count(*) FROM song WHERE (document, snapshot_year) IN (SELECT document, snapshot_year FROM snapshot WHERE snapshot_year = 2025)
SELECT a.document FROM snapshot a WHERE (snapshot_year, document) = (SELECT snapshot_year, min(document) FROM snapshot b WHERE b.snapshot_year = a.snapshot_year)
SELECT count(*) FROM song WHERE document IN snapshot
SELECT 1 FROM song WHERE song_id IN (SELECT song_id FROM song_artist WHERE snapshot_year = 2024) AND snapshot_year = 2023
SELECT * FROM song WHERE snapshot_year = 2025 AND snapshot_year = 2026
SELECT count(*) FROM song WHERE snapshot_year > 2026 AND snapshot_year < 2024
SELECT count(*), max(position) FROM song WHERE 0
SELECT count(*) FROM song LEFT JOIN album ON 0 AND album.snapshot_year = 2025
SELECT count(*) FROM song WHERE snapshot_year = 2025 OR EXISTS (SELECT 1 FROM artist WHERE snapshot_year = 2024)
SELECT count(*) FROM song, (SELECT max(snapshot_year) y FROM song) m WHERE song.snapshot_year = m.y
SELECT count(*) FROM song, (SELECT 2025 AS y) m WHERE song.snapshot_year = m.y
SELECT count(*) FROM song JOIN (VALUES (2024), (2025)) v ON v.column1 = snapshot_year
SELECT count(*) FROM song JOIN (SELECT '2025' AS y) v ON v.y = snapshot_year
SELECT count(*) FROM song LEFT JOIN (SELECT 2025 AS y) v ON v.y = snapshot_year WHERE v.y IS NULL
SELECT count(*) FROM song a JOIN song b ON a.snapshot_year = b.position + 2023
SELECT count(*) FROM song a JOIN album b ON a.album_id = b.album_id AND b.snapshot_year IN (2024, a.snapshot_year) WHERE a.snapshot_year = 2025
SELECT DISTINCT s.snapshot_year FROM song s ORDER BY (SELECT count(*) FROM album a WHERE a.snapshot_year = s.snapshot_year), 1
SELECT document FROM snapshot WHERE snapshot_year = 2025 ORDER BY (SELECT 1 FROM song), document
SELECT document, snapshot_year FROM snapshot ORDER BY 2 DESC, 1 LIMIT 3
SELECT document, snapshot_year FROM snapshot ORDER BY 2 DESC, 1 LIMIT (SELECT count(*) FROM snapshot WHERE snapshot_year = 2025) OFFSET (SELECT count(*) FROM song WHERE snapshot_year = 1999)
SELECT document FROM snapshot LIMIT 0
SELECT count(*) FROM (SELECT * FROM snapshot LIMIT 5)
SELECT position, sum(position) OVER (PARTITION BY snapshot_year ORDER BY document, position) FROM song WHERE snapshot_year > 2024
SELECT position, count(*) OVER w, min(snapshot_year) OVER w FROM song WINDOW w AS (PARTITION BY song_id)
SELECT position, sum(1) FILTER (WHERE snapshot_year = 2025) OVER (PARTITION BY song_id) FROM song
SELECT first_value(snapshot_year) OVER (ORDER BY snapshot_year DESC, document, position) FROM song WHERE song_id = 'trAmber'
SELECT snapshot_year, position FROM song WHERE snapshot_year = 2024 UNION ALL SELECT snapshot_year, total_tracks FROM album WHERE snapshot_year = 2026 ORDER BY 1, 2
SELECT snapshot_year FROM song UNION ALL SELECT snapshot_year FROM album ORDER BY 1 LIMIT 5 OFFSET 100
SELECT count(*) FROM song s WHERE s.snapshot_year = 2025 AND s.position < (SELECT max(entries) FROM snapshot)
SELECT count(*) FROM song s WHERE s.explicit AND NOT s.explicit IS NULL
SELECT explicit, complete FROM song JOIN snapshot USING (document) WHERE complete = 1 AND explicit = FALSE
SELECT count(*) FROM song GROUP BY NULL
SELECT count(*) FROM song WHERE snapshot_year = 2025 GROUP BY song_id HAVING count(*) > (SELECT count(*) / 40 FROM song)
SELECT snapshot_year, position FROM song GROUP BY 1, 2
SELECT x.y FROM (SELECT snapshot_year y FROM song WHERE snapshot_year > 2023) x WHERE x.y IN (SELECT y FROM (SELECT snapshot_year y FROM album) WHERE y < 2026)
SELECT count(*) FROM (SELECT * FROM song WHERE snapshot_year = 2025) a LEFT JOIN (SELECT * FROM song WHERE snapshot_year = 2026) b USING (song_id) WHERE b.song_id IS NULL
SELECT count(*) FROM (SELECT snapshot_year AS y FROM song) WHERE y = 2025 AND y || '' = '2025'
SELECT song_name LIKE 'a%', song_name GLOB 'A*', upper(song_name) FROM song WHERE snapshot_year = 2025
SELECT * FROM song WHERE song_name LIKE 'A%' AND snapshot_year = 2025;
SELECT * FROM song WHERE snapshot_year = 2025 -- AND snapshot_year = 2024
/* WHERE snapshot_year = 2024 */ SELECT count(*) FROM song
SELECT count(*) FROM song WHERE snapshot_year = (2025)
SELECT nothing FROM song
SELECT count(*) FROM nowhere
SELECT document FROM song, album
SELECT count(*) FROM song JOIN album USING (position)
SELECT count(*) FROM song WHERE
SELECT sum(count(*)) FROM song
SELECT song_id FROM song UNION SELECT song_id, position FROM song
SELECT nofunction(1) FROM song
SELECT * FROM song ORDER BY 99
SELECT abs(-9223372036854775808) FROM song
SELECT json_extract(song_name, '$') FROM song
SELECT sum(9223372036854775807) FROM song
SELECT (SELECT 1, 2) FROM song
SELECT count(*) FROM song WHERE snapshot_year = ?
SELECT snapshot.snapshot_year FROM song
SELECT nowhere.* FROM song
SELECT * 
SELECT count(*) FROM song s, (SELECT s.document)
"""

# Statements that `query` refuses, whatever a SQLite without its guard would do.
REFUSED = """
PRAGMA table_info(song)
PRAGMA user_version = 3
EXPLAIN SELECT * FROM song
EXPLAIN QUERY PLAN SELECT * FROM song
 EXPLAIN SELECT * FROM song
/* */ EXPLAIN SELECT * FROM song
-- 
SELECT 1; SELECT 2
SELECT 1; DELETE FROM song
SELECT * FROM song; SELECT * FROM album
ATTACH 'other.sqlite' AS other
DETACH main
VACUUM
BEGIN
CREATE TABLE t (a)
CREATE TEMP VIEW song AS SELECT 1
DROP TABLE song
DELETE FROM song
WITH a AS (SELECT 1) DELETE FROM song
INSERT INTO song (document) VALUES ('x')
UPDATE song SET position = 1
SELECT * FROM pragma_table_info('song')
SELECT * FROM pragma_database_list
SELECT s.document FROM song s, pragma_table_info('song')
SELECT load_extension('x')
SELECT count(*) FROM song, sqlite_master
SELECT count(*) FROM song WHERE document IN (SELECT name FROM sqlite_schema)
SELECT count(*) FROM song, sqlite_temp_master
SELECT count(*) FROM song, temp.sqlite_master
SELECT * FROM temp.song
SELECT * FROM main."rows of song"
SELECT * FROM "rows of song"
SELECT * FROM loaded_files
SELECT * FROM song, loaded_tables
SELECT "place of the row" FROM song
SELECT rowid FROM song
SELECT oid, song.* FROM song
SELECT _rowid_ FROM song WHERE rowid < 5
SELECT count(*) FROM song WHERE rowid > 3
SELECT "nothing" FROM song
SELECT count(*) FROM song WHERE song_name = "Amber"
SELECT count(*) FROM main.song
SELECT count(*) FROM main.chart
SELECT CAST(snapshot_date AS date) FROM song
"""


def lines(text):
    return [line for line in text.split("\n") if line]


def filled(template, rng, column):
    a, b, c = (rng.choice(YEARS) for _ in range(3))
    if rng.random() < 0.6 and a > b:
        a, b = b, a
    return template.format(y=column, a=a, b=b, c=c)


class Maker:
    """Makes random statements over the tables of a database."""

    def __init__(self, rng, database):
        self.rng, self.sources, self.values, self.count = rng, {}, {}, 0
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
        for name in names:
            columns = [row[1] for row in database.execute(f'PRAGMA table_info("{name}")')]
            self.sources[name] = columns
            for column in columns:
                sql = f'SELECT DISTINCT quote("{column}") FROM "{name}" ORDER BY 1'
                found = [value for (value,) in database.execute(sql)]
                self.values.setdefault(column, rng.sample(found, min(6, len(found))))

    def alias(self):
        self.count += 1
        return f"t{self.count}"

    def spelled(self, name):
        """A name as a person might write it."""
        kind = self.rng.random()
        if kind < 0.8:
            return name
        return self.rng.choice((name.upper(), f'"{name}"', f"[{name.capitalize()}]", f"`{name}`"))

    def statement(self):
        """A statement, and whether its rows have an order."""
        self.count, rng = 0, self.rng
        ctes, head = {}, []
        for _ in range(rng.choice((0, 0, 0, 1, 2))):
            # A name of its own, or one that hides a table.
            name = rng.choice((f"cte{len(head)}", rng.choice(list(self.sources))))
            sql, columns = self.select(1, ctes)
            if name not in ctes:
                head.append(f"{name} AS {rng.choice(('', '', 'MATERIALIZED ', 'NOT MATERIALIZED '))}({sql})")
                ctes[name] = columns
        sql, columns = self.compound(2, ctes)
        ordered = rng.random() < 0.4
        if ordered:
            ways = [f"{place} {rng.choice(('', 'DESC', 'ASC'))}" for place in range(1, len(columns) + 1)]
            rng.shuffle(ways)
            sql += f" ORDER BY {', '.join(ways)}"
            if rng.random() < 0.6:
                sql += f" LIMIT {rng.choice((0, 1, 5, 40, -1))}"
                sql += rng.choice(("", f" OFFSET {rng.choice((0, 2, 30))}"))
        if head:
            sql = f"WITH {rng.choice(('', 'RECURSIVE '))}{', '.join(head)} {sql}"
        return sql, ordered

    def compound(self, depth, ctes):
        sql, columns = self.select(depth, ctes)
        while self.rng.random() < 0.2:
            other, _ = self.select(depth - 1, ctes, width=len(columns))
            sql += f" {self.rng.choice(('UNION', 'UNION ALL', 'EXCEPT', 'INTERSECT'))} {other}"
        return sql, columns

    def source(self, depth, ctes):
        """What stands in FROM, the name that it has there, and its columns."""
        rng, kind = self.rng, self.rng.random()
        if ctes and kind < 0.35:
            name = rng.choice(list(ctes))
            alias = self.alias()
            return f"{name} {alias}", alias, ctes[name]
        if depth > 0 and kind < 0.5:
            sql, columns = self.compound(depth - 1, ctes)
            alias = self.alias()
            return f"({sql}) {rng.choice(('', 'AS '))}{alias}", alias, columns
        name = rng.choice([name for name in self.sources if name not in ctes])
        if rng.random() < 0.7:
            name = rng.choice([name for name in TABLES if name not in ctes] or [name])
        alias = self.alias()
        return f"{self.spelled(name)} {alias}", alias, self.sources[name]

    def select(self, depth, ctes, width=None, outer=()):
        rng = self.rng
        sql, alias, columns = self.source(depth, ctes)
        scope = [(alias, columns)]
        for _ in range(rng.choice((0, 0, 1, 1, 2)) if depth > 0 else rng.choice((0, 0, 0, 1))):
            other, alias, columns = self.source(depth - 1, ctes)
            earlier = {name for _, columns in scope for name in columns}
            once = [name for name in columns if sum(name in its for _, its in scope) == 1 and columns.count(name) == 1]
            kind = rng.choice(("JOIN", "INNER JOIN", "LEFT JOIN", "LEFT OUTER JOIN", "RIGHT JOIN", "FULL JOIN"))
            way, common = rng.random(), [name for name in once if name in earlier]
            if common and way < 0.35:
                using = rng.sample(common, rng.randint(1, min(3, len(common))))
                using += [name for name in ("document",) if name in common and name not in using and rng.random() < 0.8]
                sql += f" {kind} {other} USING ({', '.join(map(self.spelled, using))})"
            elif len(scope) == 1 and common and way < 0.5:
                sql += f" NATURAL {kind} {other}"
            else:
                name = rng.choice(common) if common else None
                if "document" in common and rng.random() < 0.7:
                    name = "document"
                before = next((its for its in scope if name in its[1]), None)
                on = f"{before[0]}.{name} = {alias}.{name}" if before else "1"
                if rng.random() < 0.6:
                    on += f" AND {self.predicate([*scope, (alias, columns)], 0, ctes)}"
                sql += f" {kind} {other} ON {on}"
            scope.append((alias, columns))
        where = ""
        if outer and rng.random() < 0.8:
            where = self.correlation(scope, outer)
        for _ in range(rng.choice((0, 1, 1, 2))):
            where += (" AND " if where else "") + self.predicate(scope, depth, ctes)
        where = f" WHERE {where}" if where else ""
        if width is None and not outer and rng.random() < 0.12 and len(scope) == 1:
            return f"SELECT {rng.choice(('*', scope[0][0] + '.*'))} FROM {sql}{where}", scope[0][1]
        count = width or rng.randint(1, 4)
        kind = rng.random()
        if kind < 0.3:
            keys = [self.column(scope) for _ in range(rng.randint(0, count - 1))]
            cells = keys + [self.aggregate(scope) for _ in range(count - len(keys))]
            tail = f" GROUP BY {', '.join(keys)}" if keys else ""
            if keys and rng.random() < 0.4:
                own = self.year(scope)
                having = filled(rng.choice(YEAR_PREDICATES), rng, own) if own in keys else f"count(*) > {rng.randint(0, 4)}"
                tail += f" HAVING {having}"
        else:
            cells = [self.cell(scope, depth, ctes) for _ in range(count)]
            tail = ""
            if kind < 0.5:
                cells[-1] = self.window(scope)
        names = [f"c{place}" for place in range(count)]
        if rng.random() < 0.3 and count > 1:
            # A name that a column of the tables has as well.
            names[rng.randrange(count)] = rng.choice(("snapshot_year", "position", "document"))
        cells = ", ".join(f"{cell} AS {name}" for cell, name in zip(cells, names))
        distinct = "DISTINCT " if rng.random() < 0.1 else ""
        return f"SELECT {distinct}{cells} FROM {sql}{where}{tail}", names

    def column(self, scope):
        alias, columns = self.rng.choice(scope)
        if "snapshot_year" in columns and self.rng.random() < 0.2:
            return f"{alias}.snapshot_year"
        return f"{alias}.{self.rng.choice(columns)}"

    def year(self, scope):
        those = [alias for alias, columns in scope if "snapshot_year" in columns]
        return f"{self.rng.choice(those)}.snapshot_year" if those else None

    def cell(self, scope, depth, ctes):
        rng, kind = self.rng, self.rng.random()
        column = self.column(scope)
        if kind < 0.7:
            return column
        if kind < 0.8 and depth > 0:
            inner, _ = self.select(0, ctes, width=1, outer=scope)
            return f"(SELECT count(*) FROM ({inner}))" if rng.random() < 0.5 else f"EXISTS ({inner})"
        return rng.choice((f"{column} IS NULL", f"CASE WHEN {self.predicate(scope, 0, ctes)} THEN {column} END",
                           f"coalesce({column}, '-')", f"{column} || '!'", f"{column} + 0", f"json_array({column})", "1", f"length({column})"))

    def aggregate(self, scope):
        rng = self.rng
        column = self.column(scope)
        what = rng.choice(("count(*)", f"count({column})", f"count(DISTINCT {column})", f"min({column})", f"max({column})", f"total({column} IS NULL)"))
        if rng.random() < 0.25:
            year = self.year(scope)
            test = filled(rng.choice(YEAR_PREDICATES), rng, year) if year else f"{column} IS NOT NULL"
            what += f" FILTER (WHERE {test})"
        return what

    def window(self, scope):
        rng = self.rng
        over = f"PARTITION BY {self.year(scope) or self.column(scope)}" if rng.random() < 0.6 else ""
        ordering = rng.random() < 0.6
        if ordering:
            over += f" ORDER BY {self.column(scope)}"
        # Rows that stand at the same place get the same number.
        what = rng.choice(("count(*)", "rank()", "dense_rank()", f"max({self.column(scope)})", f"count({self.column(scope)})"))
        return f"{what} OVER ({over.strip()})"

    def correlation(self, scope, outer):
        alias, columns = self.rng.choice(scope)
        other, others = self.rng.choice(outer)
        common = [name for name in columns if name in others]
        if not common:
            return "1"
        name = self.rng.choice(common)
        return f"{alias}.{name} {self.rng.choice(('=', '=', '=', '<', 'IS'))} {other}.{name}"

    def predicate(self, scope, depth, ctes):
        rng, kind, year = self.rng, self.rng.random(), self.year(scope)
        if year and kind < 0.5:
            return f"({filled(rng.choice(YEAR_PREDICATES), rng, year)})"
        if 0.5 <= kind < 0.6 and depth > 0:
            inner, _ = self.select(depth - 1, ctes, width=1, outer=scope)
            return f"{rng.choice(('', 'NOT '))}EXISTS ({inner})"
        if 0.6 <= kind < 0.7 and depth > 0:
            inner, _ = self.select(depth - 1, ctes, width=1)
            return f"{self.column(scope)} {rng.choice(('', 'NOT '))}IN ({inner})"
        if 0.7 <= kind < 0.8 and depth > -2:
            left, right = self.predicate(scope, depth - 1, ctes), self.predicate(scope, depth - 1, ctes)
            return f"{rng.choice(('', '', 'NOT '))}({left} {rng.choice(('OR', 'AND'))} {right})"
        column = self.column(scope)
        values = self.values.get(column.split(".")[1]) or ["0", "2025", "'x'"]
        value, other = rng.choice(values), self.column(scope)
        return rng.choice((f"{column} = {value}", f"{column} >= {value}", f"{column} IS NOT NULL", f"{column} IS NULL", f"{column} = {other}",
                           f"{column} LIKE '%a%'", f"{column} < {value}", f"{column} IN ({', '.join(values)})", f"({column}, {other}) >= ({value}, 2)"))


class Reference:
    """The saved database, as Python's SQLite asks it."""

    def __init__(self, path):
        self.database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        # As the command says of itself: letters differ by case, those outside ASCII too.
        self.database.execute("PRAGMA case_sensitive_like = ON")
        for name, case in (("upper", str.upper), ("lower", str.lower)):
            self.database.create_function(name, 1, lambda text, case=case: None if text is None else case(str(text)), deterministic=True)

    def ask(self, sql):
        """Names and rows; an error; or None if it takes too long."""
        end = time.monotonic() + SECONDS_MAX
        self.database.set_progress_handler(lambda: time.monotonic() > end, 10_000)
        try:
            cursor = self.database.execute(sql)
            if cursor.description is None:
                return sqlite3.OperationalError("gives nothing")
            rows = cursor.fetchmany(ROWS_MAX + 1)
            return None if len(rows) > ROWS_MAX else ([each[0] for each in cursor.description], rows)
        except (sqlite3.Error, sqlite3.Warning) as problem:
            return None if "interrupted" in str(problem) else problem


class Command:
    """The command that is tested."""

    def __init__(self, program, plugins):
        self.program, self.plugins = program, plugins

    def run(self, *arguments):
        done = subprocess.run([self.program, "--log", "error", *map(str, arguments)], capture_output=True)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def done(self, *arguments, may_fail=False):
        status, said, problem = self.run(*arguments)
        assert status == 0 or may_fail, f"{arguments} ends with {status}:\n{said[-1500:]}{problem[-1500:]}"
        return said

    def query(self, store, cache, sql, form):
        status, said, problem = self.run("query", "--store", store, "--cache-dir", cache, form, "--", sql)
        if status:
            return RuntimeError(problem.strip() or said.strip())
        if form == "--csv":
            names, *rows = csv.reader(io.StringIO(said, newline=""))
            return names, [tuple(row) for row in rows]
        found = json.loads(said)
        return list(found[0]) if found else None, [tuple(row.values()) for row in found]


def as_json(cell):
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "replace")
    if isinstance(cell, float):
        # Another release adds up in another order.
        return f"{cell:.12g}" if math.isfinite(cell) else None
    # Releases of SQLite differ in where `IN` and `UNION ALL` make text of a number, whatever is loaded.
    return None if cell is None else str(cell)


def as_csv(cell):
    cell = as_json(cell)
    if cell is None:
        return ""
    is_number = re.fullmatch(r"-?\d+(\.\d+)?(e[+-]?\d+)?", cell)
    return f"{float(cell):.12g}" if is_number else re.sub(r"\s", " ", cell)


def is_same(expected, found, form, ordered):
    plain = as_json if form == "--json" else as_csv
    expected_rows, found_rows = [[repr([plain(cell) for cell in row]) for row in rows] for rows in (expected[1], found[1])]
    if not ordered:
        expected_rows, found_rows = sorted(expected_rows), sorted(found_rows)
    names = found[0] is None or expected[0] == found[0]
    return names and expected_rows == found_rows


def agree(expected, found, form, ordered):
    if isinstance(expected, Exception) or isinstance(found, Exception):
        return isinstance(expected, Exception) and isinstance(found, Exception)
    return is_same(expected, found, form, ordered)


class Test:
    def __init__(self, command, desk):
        self.command, self.desk = command, desk
        self.compared, self.too_long, self.caches = collections.Counter(), 0, 0
        self.differences, self.by_release, self.is_empty = [], set(), 0

    def fresh(self):
        self.caches += 1
        return self.desk / f"cache{self.caches}"

    def differ(self, kind, sql, expected, found):
        shown = lambda what: f"{type(what).__name__}: {what}" if isinstance(what, Exception) else f"{len(what[1])} rows {sorted(map(repr, what[1]))[:4]}"
        self.differences.append((kind, sql))
        print(f"\n--- {kind}\n{sql}\nexpected {shown(expected)[:600]}\nfound    {shown(found)[:600]}", flush=True)

    def compare(self, reference, store, cache, kind, sql, ordered=False, expected=None):
        expected = expected or reference.ask(sql)
        if expected is None:
            self.too_long += 1
            return None
        failed = isinstance(expected, Exception)
        form = "--csv" if failed or len(set(expected[0])) < len(expected[0]) else "--json"
        found = self.command.query(store, cache, sql, form)
        self.compared[kind] += 1
        if not agree(expected, found, form, ordered):
            if agree(self.all_loaded(store, sql, form), found, form, ordered):
                # What was loaded makes no difference: two releases of SQLite differ in what they make of it.
                self.by_release.add(sql)
            else:
                self.differ(kind, sql, expected, found)
        return expected

    def all_loaded(self, store, sql, form):
        """The command's answer when all of every table is loaded."""
        cache = self.fresh()
        for table in TABLES:
            self.command.query(store, cache, f"SELECT * FROM {table}", "--csv")
        found = self.command.query(store, cache, sql, form)
        shutil.rmtree(cache, ignore_errors=True)
        return found

    def refused(self, store, cache, sql):
        found = self.command.query(store, cache, sql, "--csv")
        self.compared["refused"] += 1
        if not isinstance(found, Exception):
            self.differ("is not refused", sql, RuntimeError("refused"), found)

    def each_way(self, stores, statements):
        """Each with no kept rows, and with those that others left, in another order."""
        answers = []
        for place, (sql, ordered) in enumerate(statements):
            store, reference = stores[place % len(stores)]
            cache = self.fresh()
            expected = self.compare(reference, store, cache, "nothing kept", sql, ordered)
            shutil.rmtree(cache, ignore_errors=True)
            if expected is not None:
                answers.append((store, sql, ordered, expected))
                self.is_empty += not isinstance(expected, Exception) and not any(any(row) for row in expected[1])
        for turn in range(2):
            random.Random(turn).shuffle(answers)
            cache = self.fresh()
            for place, (store, sql, ordered, expected) in enumerate(answers):
                if place % KEPT_FOR == 0:
                    shutil.rmtree(cache, ignore_errors=True)
                self.compare(None, store, cache, "rows kept", sql, ordered, expected)

    def saved(self, store):
        self.caches += 1
        path = self.desk / f"saved{self.caches}.sqlite"
        self.command.done("query", "--store", store, "--cache-dir", "none", "--save", path)
        return Reference(path)

    def changes(self, store, statements, documents, rng):
        """Asks before and after each change, with the same kept rows."""
        cache, command = self.fresh(), self.command
        files = lambda table: sorted((store / "transformed_data").glob(f"{table}_data/**/*.csv"))

        def check(what, wait):
            time.sleep(SETTLED_AFTER if wait else 0)
            reference = self.saved(store)
            for sql, ordered in rng.sample(statements, min(12, len(statements))):
                self.compare(reference, store, cache, f"after: {what}", sql, ordered)

        def edit(path, keep_time):
            text, about = path.read_text("utf-8"), path.stat()
            changed = text.replace("Amber", "Rebma").replace("Birch", "Hcrib")
            assert len(changed.encode()) == about.st_size
            path.write_text(changed, "utf-8")
            if keep_time:
                os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))

        check("nothing", True)
        for document in documents:
            command.done("run", "--store", store, "--from", document)
            check("a new document", False)
            check("a new document", True)
        for table in ("song", "snapshot", "artist"):
            rng.choice(files(table)).unlink()
            check("a file deleted", False)
        for path in files("song")[:4]:
            edit(path, False)
        check("files edited", False)
        for path in files("song")[4:]:
            edit(path, True)
        check("files edited, with the old times", False)
        command.done("verify", "--store", store, "--repair", may_fail=True)
        check("verify --repair", False)
        check("verify --repair", True)
        command.done("replay", "--store", store)
        check("replay", False)
        command.done("replay", "--store", store, "--new-generation", "song")
        check("a new generation", False)
        command.done("replay", "--store", store, "--format", "parquet")
        check("another format", False)
        check("another format", True)

    def at_once(self, store, reference, statements):
        """Several commands that use the same kept rows."""
        cache = self.fresh()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            expected = [(sql, ordered, reference.ask(sql)) for sql, ordered in statements]
            tasks = [pool.submit(self.compare, None, store, cache, "at once", *each) for each in expected if each[2]]
            for task in tasks:
                task.result()


def documents(fixtures, folder):
    """Documents of four years: the history, and others under names with other dates."""
    folder.mkdir()
    history = sorted((fixtures / "history").glob("*.json"))
    for path in history:
        shutil.copy(path, folder)
    for place, name in enumerate(("weekly_2023-02-06", "weekly_2024-12-30", "other_2024-05-06", "gone_2023-12-31", "weekly_2026-03-02")):
        shutil.copy(history[-1 - 2 * place], folder / f"{name}_06-00-00.json")
    for place, path in enumerate(sorted((fixtures / "playlists").glob("*.json"))):
        shutil.copy(path, folder / f"list{place}_{YEARS[place % 4]}-{place % 6 + 1:02}-07_06-00-00.json")


def main(program, plugins, fixtures, seed="1", count="400"):
    rng, fixtures = random.Random(int(seed)), pathlib.Path(fixtures)
    with tempfile.TemporaryDirectory() as desk:
        desk = pathlib.Path(desk)
        test = Test(Command(program, plugins), desk)
        documents(fixtures, desk / "documents")
        stores = []
        for form in ("csv", "parquet"):
            store = desk / form
            test.command.done("init", "--store", store, "--from", plugins)
            # Some of the documents are such that a part of them is left out.
            test.command.done("run", "--store", store, "--format", form, "--from", desk / "documents", may_fail=True)
            stores.append((store, test.saved(store)))
        years = stores[0][1].ask("SELECT DISTINCT snapshot_year FROM song ORDER BY 1")[1]
        assert set(YEARS) <= {year for (year,) in years}, years
        time.sleep(SETTLED_AFTER)

        cache = test.fresh()
        for sql in lines(REFUSED):
            test.refused(stores[0][0], cache, sql)
        fixed = [(sql, bool(re.search(r"ORDER BY 1, 2$|ORDER BY 2 DESC, 1", sql))) for sql in lines(AWKWARD)]
        for template in sorted(set(YEAR_PREDICATES)):
            fixed.append((f"SELECT count(*), min(snapshot_year), max(snapshot_year) FROM song WHERE {filled(template, rng, 'snapshot_year')}", False))
            predicate = filled(template, rng, "b.snapshot_year")
            fixed.append((f"SELECT a.document AS x, b.document AS y FROM snapshot a {rng.choice(('LEFT', 'RIGHT', 'FULL'))} JOIN snapshot b ON a.playlist_id = b.playlist_id AND ({predicate})", False))
        maker = Maker(rng, stores[0][1].database)
        statements = fixed + [maker.statement() for _ in range(int(count))]
        test.each_way(stores, statements)
        test.at_once(*stores[0], rng.sample(statements, min(100, len(statements))))
        spare = desk / "spare"
        spare.mkdir()
        more = []
        for name in ("weekly_2022-03-07", "weekly_2025-11-03", "other_2026-02-02"):
            more.append(shutil.copy(fixtures / "history" / "weekly_2026-01-19_06-00-00.json", spare / f"{name}_06-00-00.json"))
        test.changes(stores[0][0], statements, more, rng)
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(test.compared.items()))
        print(f"{sum(test.compared.values())} answers to {len(statements)} statements compared ({kinds});"
              f" {test.is_empty} with nothing in them, {test.too_long} took too long, {len(test.by_release)} differ by release of SQLite;"
              f" {len(test.differences)} differences")
        sys.exit(1 if test.differences else 0)


if __name__ == "__main__":
    if not 4 <= len(sys.argv) <= 6:
        sys.exit(__doc__)
    main(*sys.argv[1:])
