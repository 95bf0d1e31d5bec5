"""The same work in other tools: pages of the Web API to album, artist and song as CSV.

usage: peers.py polars|duckdb|pandas RAW OUT

Each is written as its users would write it for many files, in the way that was quickest: DuckDB reads all of
them as one stream of JSON lines (a page is a line), polars some of them at a time as one array, pandas goes file by file. None of them
keeps lineage, lands what it read, limits anything or survives being stopped.
"""

import json
import pathlib
import sys

tool, raw, out = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
out.mkdir(parents=True, exist_ok=True)


# So many files polars reads at once: fewer and more take longer.
AT_ONCE = 20


def with_polars():
    import polars as pl

    urls = pl.Struct({"spotify": pl.String})
    artist = pl.Struct({"id": pl.String, "name": pl.String, "external_urls": urls})
    album = pl.Struct({
        "id": pl.String, "name": pl.String, "release_date": pl.String, "total_tracks": pl.Int64,
        "external_urls": urls, "release_date_precision": pl.String, "album_type": pl.String,
        "artists": pl.List(artist),
    })
    track = pl.Struct({
        "id": pl.String, "type": pl.String, "name": pl.String, "duration_ms": pl.Int64, "popularity": pl.Int64,
        "explicit": pl.Boolean, "disc_number": pl.Int64, "track_number": pl.Int64, "external_urls": urls,
        "external_ids": pl.Struct({"isrc": pl.String}), "album": album, "artists": pl.List(artist),
    })
    schema = {
        "href": pl.String,
        "items": pl.List(pl.Struct({"added_at": pl.String, "is_local": pl.Boolean, "item": track})),
    }
    def read(files):
        """Some files as one array: half of what a file at a time takes, a quarter of `read_ndjson` and `scan_ndjson`."""
        pages = pl.read_json(b"[" + b",".join(file.read_bytes() for file in files) + b"]", schema=schema)
        documents = pl.Series("document", [file.stem for file in files])
        places = pl.int_ranges(1, pl.col("items").list.len() + 1).alias("position")
        entries = pages.select(documents, "items", places).explode("items", "position").unnest("items")
        return entries.filter(pl.col("item").struct.field("type") == "track")

    files = sorted(raw.glob("*.json"))
    entries = pl.concat([read(files[begin:begin + AT_ONCE]) for begin in range(0, len(files), AT_ONCE)])
    item = lambda name: pl.col("item").struct.field(name)
    url = lambda column: column.struct.field("external_urls").struct.field("spotify")
    albums = entries.select("document", item("album")).unnest("album")
    date = pl.when(pl.col("release_date").str.len_chars() == 4).then(pl.col("release_date") + "-01-01").when(
        pl.col("release_date").str.len_chars() == 7).then(pl.col("release_date") + "-01").otherwise(pl.col("release_date"))
    albums.select(
        "document", pl.col("id").alias("album_id"), "name", date.str.to_date(strict=False).alias("release_date"), "total_tracks",
        pl.col("external_urls").struct.field("spotify").alias("url"), "release_date_precision", "album_type",
    ).unique(["document", "album_id"], keep="first", maintain_order=True).write_csv(out / "album.csv")
    of_tracks = entries.select("document", item("artists"))
    of_albums = entries.select("document", item("album").struct.field("artists"))
    pl.concat([of_tracks, of_albums]).explode("artists").drop_nulls().select(
        "document", pl.col("artists").struct.field("id").alias("artist_id"),
        pl.col("artists").struct.field("name").alias("artist_name"), url(pl.col("artists")).alias("external_url"),
    ).unique(["document", "artist_id"], keep="first", maintain_order=True).write_csv(out / "artist.csv")
    entries.select(
        "document", item("id").alias("song_id"), item("name").alias("song_name"), item("duration_ms"),
        url(pl.col("item")).alias("url"), item("popularity"),
        pl.col("added_at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", strict=False).alias("song_added"),
        item("album").struct.field("id").alias("album_id"),
        item("album").struct.field("artists").list.first().struct.field("id").alias("artist_id"), "position",
        item("explicit"), item("disc_number"), item("track_number"),
        item("external_ids").struct.field("isrc").alias("isrc"),
    ).write_csv(out / "song.csv")


def with_duckdb():
    import duckdb

    artist = "STRUCT(id VARCHAR, name VARCHAR, external_urls STRUCT(spotify VARCHAR))"
    album = f"""STRUCT(id VARCHAR, name VARCHAR, release_date VARCHAR, total_tracks BIGINT, external_urls STRUCT(spotify VARCHAR),
        release_date_precision VARCHAR, album_type VARCHAR, artists {artist}[])"""
    track = f"""STRUCT(id VARCHAR, type VARCHAR, name VARCHAR, duration_ms BIGINT, popularity BIGINT, explicit BOOLEAN,
        disc_number BIGINT, track_number BIGINT, external_urls STRUCT(spotify VARCHAR), external_ids STRUCT(isrc VARCHAR),
        album {album}, artists {artist}[])"""
    database = duckdb.connect()
    database.execute(f"""
        CREATE TEMP TABLE entries AS SELECT filename AS document, entry.added_at, entry.item, position FROM (
            SELECT filename, unnest(items) AS entry, generate_subscripts(items, 1) AS position
            FROM read_json('{raw}/*.json', format='newline_delimited', filename=true, maximum_object_size=1000000000,
                columns={{items: 'STRUCT(added_at VARCHAR, item {track})[]'}}))
        WHERE entry.item.type = 'track'""")
    for table, sql in {
        "album": """SELECT DISTINCT ON (document, item.album.id) document, item.album.id AS album_id, item.album.name,
            TRY_CAST(CASE length(item.album.release_date) WHEN 4 THEN item.album.release_date || '-01-01'
                WHEN 7 THEN item.album.release_date || '-01' ELSE item.album.release_date END AS DATE) AS release_date,
            item.album.total_tracks, item.album.external_urls.spotify AS url, item.album.release_date_precision,
            item.album.album_type FROM entries""",
        "artist": """SELECT DISTINCT ON (document, artist.id) document, artist.id AS artist_id, artist.name AS artist_name,
            artist.external_urls.spotify AS external_url FROM (SELECT document, unnest(list_concat(item.artists,
            item.album.artists)) AS artist FROM entries)""",
        "song": """SELECT document, item.id AS song_id, item.name AS song_name, item.duration_ms, item.external_urls.spotify AS url,
            item.popularity, TRY_CAST(added_at AS TIMESTAMP) AS song_added, item.album.id AS album_id,
            item.album.artists[1].id AS artist_id, position, item.explicit, item.disc_number, item.track_number,
            item.external_ids.isrc AS isrc FROM entries""",
    }.items():
        database.execute(f"COPY ({sql}) TO '{out}/{table}.csv' (HEADER)")


def with_pandas():
    import pandas

    for file in sorted(raw.glob("*.json")):
        entries = json.loads(file.read_text())["items"]
        tracks = [(place, entry) for place, entry in enumerate(entries, 1) if (entry["item"] or {}).get("type") == "track"]
        url = lambda thing: (thing.get("external_urls") or {}).get("spotify")
        albums = pandas.DataFrame([{
            "album_id": album["id"], "name": album["name"], "release_date": album["release_date"],
            "total_tracks": album["total_tracks"], "url": url(album), "precision": album["release_date_precision"],
            "album_type": album["album_type"],
        } for album in (entry["item"]["album"] for _, entry in tracks)]).drop_duplicates("album_id")
        albums["release_date"] = pandas.to_datetime(albums["release_date"], format="ISO8601", errors="coerce")
        artists = pandas.DataFrame([{
            "artist_id": artist["id"], "artist_name": artist["name"], "external_url": url(artist),
        } for _, entry in tracks for artist in entry["item"]["artists"] + entry["item"]["album"]["artists"]]).drop_duplicates("artist_id")
        songs = pandas.DataFrame([{
            "song_id": track["id"], "song_name": track["name"], "duration_ms": track["duration_ms"], "url": url(track),
            "popularity": track["popularity"], "song_added": entry["added_at"], "album_id": track["album"]["id"],
            "artist_id": track["album"]["artists"][0]["id"], "position": place, "explicit": track["explicit"],
            "disc_number": track["disc_number"], "track_number": track["track_number"], "isrc": track["external_ids"].get("isrc"),
        } for place, entry in tracks for track in [entry["item"]]])
        songs["song_added"] = pandas.to_datetime(songs["song_added"])
        for table, frame in {"album": albums, "artist": artists, "song": songs}.items():
            frame.to_csv(out / f"{table}-{file.stem}.csv", index=False)


{"polars": with_polars, "duckdb": with_duckdb, "pandas": with_pandas}[tool]()
