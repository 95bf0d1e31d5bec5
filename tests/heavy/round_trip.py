"""Text on which tables break, written by the command and read back by other programs.

Makes playlists of names with quotes, commas, backslashes, tabs, line breaks of all kinds, NUL, scripts
from right to left and ten kilobytes at once, of numbers and days at their limits, and of fields that are
null, empty or not there; by chance, which is seeded. The rows that should come of them are worked out
here, from the description of the tables. Then the files are read as they are by Python's csv, pandas,
DuckDB and SQLite, and through the statements of the catalog by Hive, Spark and, for the views, DuckDB.
Not one cell may be another than it should be. Last, a table gets a further column and then other ones,
under the eyes of Hive and Spark. Ends with 1 at the first difference.

usage: round_trip.py COMMAND PLUGINS [SEED]
"""

import csv
import datetime
import hashlib
import json
import pathlib
import random
import re
import shutil
import sqlite3
import sys
import tempfile

import pandas

from views import DATABASE, Hive, Trino, ask, assert_same, catalog, duckdb, made, no_java, ordered, ran, tables, text, views

LINEAGE = ["document", "playlist_id", "extracted_at", "snapshot_date"]
REASONS = ["no_payload", "episode", "other_type", "local_file", "no_id", "unreadable"]
# Playlists, with the times at which they were read: weeks, years, and the ends of what partitions go over.
TIMES = {
    "first": ["2006-01-01_00-00-00", "2019-12-30_23-59-59", "2020-01-01_00-00-00", "2060-12-31_23-59-59"],
    "weekly": ["2026-01-05_06-00-00", "2026-01-12_06-00-00", "2026-01-12_18-00-00", "2026-01-19_06-00-00", "2026-02-02_06-00-00"],
    "third_": ["2026-01-06_00-00-01", "2026-01-13_00-00-00"],
    "0": ["2026-01-06_00-00-01"],
}
ENTRIES = 25

# Text.

LINE_BREAK = re.compile(r"\r\n|\r|\n|\x7f")
WHOLE = [
    "", " ", "  both ends  ", "\t", "\ttabs\t", "NULL", "null", "None", "NaN", "nan", "N/A", "\\N", "\\", "\\\\", "ends with \\", '\\"', '"', '""', '"""', '","',
    ",", ",,", "'", "''", ";", "|", "#", "# no comment", "-- no comment", "/* no comment */", "{}", "[]", "$", "%s", "${x}", "true", "0", "007", "1e5", "1,5", "-0",
    "=1+1", "@SUM(A1)", "+1", "-1", "=cmd|' /C calc'!A0", "\n", "\r", "\r\n", "\n\n", "\r\r\n", "\n\r", "first\nsecond", "first\r\nsecond\rthird\n", '"\n"', "\\\n",
    "\0", "a\0b", "\x01", "\x1a", "\x1b[31m", "\x7f", "delete\x7f", "\x7f\x7f\"", "\x85", "\xa0", "\u2028", "\u2029", "a\u2028b", "\ufeff", "\ufeffmark", "\ufffd", "\uffff",
    "🎵", "👩‍👩‍👧‍👦", "é", "e\u0301", "日本語", "العربية", "עברית, \"כן\"", "\u202eright to left\u202c", "\U0010ffff",
    "x" * 10_000, '"' * 10_000, "ö,🎵\\" * 2_000, "\n" * 3_000,
]
PIECES = ['"', '""', ",", "\\", '\\"', "\\n", "\t", "\n", "\r\n", "\r", " ", "  ", "'", "\0", "\u2028", "\x0b", "\x0c", "🎵", "ש", "ü", "word", "Two Words", "7", "=", "\x7f"]

# Values that are no text.

INTEGERS = [0, 1, -1, 210_000, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 210_000.0, 2.1e5, -0.0]
NO_INTEGERS = [2**63, -(2**63) - 1, 1.5, 1e300, "7", True, []]
DAYS = {
    "0001-01-01": "0001-01-01", "9999-12-31": "9999-12-31", "0001": "0001-01-01", "9999-12": "9999-12-01", "1582-10-10": "1582-10-10", "1500-02-28": "1500-02-28",
    "1969-12-31": "1969-12-31", "1970-01-01": "1970-01-01", "1981": "1981-01-01", "1981-12": "1981-12-01", "1981-12-15": "1981-12-15", "2000-02-29": "2000-02-29",
    "0000": None, "0000-00-00": None, "": None, "1900-02-29": None, "2023-13-01": None, "2023-00": None, "981": None, "19811": None, "1981-1-1": None, "soon": None,
}
MOMENTS = {
    "2023-09-22T15:45:51Z": "2023-09-22 15:45:51", "2023-09-22T15:45:51.5Z": "2023-09-22 15:45:51.500", "2023-09-22T15:45:51.120Z": "2023-09-22 15:45:51.120",
    "2023-09-22T15:45:51.123999Z": "2023-09-22 15:45:51.123", "2023-09-22T15:45:51.0009Z": "2023-09-22 15:45:51", "2023-09-22T15:45:51.001+05:30": "2023-09-22 10:15:51.001",
    "2023-12-31T23:30:00-01:00": "2024-01-01 00:30:00", "2023-01-01T00:00:00-00:00": "2023-01-01 00:00:00", "1970-01-01T00:00:01Z": "1970-01-01 00:00:01",
    # What Spotify says where it doesn't know.
    "1970-01-01T00:00:00Z": None,
    "1969-12-31T23:59:59.9999Z": "1969-12-31 23:59:59.999", "0001-01-01T00:00:00Z": "0001-01-01 00:00:00", "1582-10-10T12:00:00Z": "1582-10-10 12:00:00",
    "9999-12-31T23:59:59.999999Z": "9999-12-31 23:59:59.999",
    "": None, "yesterday": None, "2023-09-22": None, "2023-09-22T15:45:51": None, "2023-02-29T00:00:00Z": None, "2023-09-22T25:00:00Z": None,
    # No years from 1 to 9999 in UTC.
    "0000-06-01T00:00:00Z": None, "0001-01-01T00:00:00+01:00": None, "9999-12-31T23:59:59-01:00": None,
}


class Chance(random.Random):
    def text(self):
        if self.random() < 0.5:
            return self.choice(WHOLE)
        return "".join(self.choices(PIECES, k=self.randint(1, 6)))

    def holder(self, members):
        """An object; some of its members are null, and some are not there."""
        rolls = {name: self.random() for name in members}
        return {name: None if rolls[name] < 0.15 else value for name, value in members.items() if rolls[name] > 0.08}

    def urls(self):
        return self.holder({"spotify": self.text(), "other": 1})


# Playlists.


def playlists(chance):
    """Each a name of a file, its text, and the rows that each table should get of it."""
    # Told apart by their ends, whatever becomes of a line break before.
    ids = {kind: [f"{chance.text()}{kind}{number}" for number in range(40)] for kind in ("song", "artist", "album")}
    for playlist, times in TIMES.items():
        for time in times:
            yield document(chance, playlist, time, [entry(chance, ids) for _ in range(ENTRIES)])


def document(chance, playlist, time, entries):
    said = chance.holder({"name": chance.text(), "snapshot_id": chance.text(), "description": chance.text()})
    said["owner"] = chance.holder({"display_name": chance.text(), "id": chance.text()})
    total = chance.choice([None, ENTRIES, ENTRIES + 1])
    content = {"id": playlist, **said, "tracks": {"items": [given for given, _ in entries], "total": total}}
    content = json.dumps(content, ensure_ascii=chance.random() < 0.5)
    snapshot = [said.get("name"), said["owner"].get("display_name") or said["owner"].get("id"), said.get("snapshot_id")]
    snapshot.append(None if total is None else total == ENTRIES)
    moment = datetime.datetime.strptime(time, "%Y-%m-%d_%H-%M-%S")
    mark = hashlib.sha256(f"{content}\n".encode()).hexdigest()[:8]
    lineage = [f"{playlist}-{moment:%Y%m%dT%H%M%SZ}-{mark}", playlist, f"{moment}", f"{moment:%Y-%m-%d}"]
    rows = {table: [tuple(lineage + row) for row in rows] for table, rows in rows_of(entries, snapshot).items()}
    return f"{playlist}_{time}.json", content, rows


def entry(chance, ids):
    """An entry, and why it gives no row, if it gives none."""
    roll, track = chance.random(), song(chance, ids)
    if roll < 0.02:
        return chance.choice([None, {}, {"track": None}, {"track": "x"}]), "no_payload"
    members = chance.holder({"added_at": chance.choice(list(MOMENTS)), "added_by": {"id": chance.text()}})
    members[chance.choice(["track", "item"])] = track
    if roll < 0.04:
        track["type"] = "episode"
        return members, "episode"
    if roll < 0.06:
        track["type"] = chance.choice(["audiobook", "", "\n"])
        return members, "other_type"
    if roll < 0.08:
        members["is_local"] = True
        return members, "local_file"
    if roll < 0.10:
        track["id"] = chance.choice([None, ""])
        return members, "no_id"
    if roll < 0.12:
        chance.choice([track, track["album"]]).update(duration_ms=chance.choice(NO_INTEGERS), total_tracks=chance.choice(NO_INTEGERS))
        return members, "unreadable"
    return members, None


def song(chance, ids):
    album = chance.holder({
        "id": chance.choice(ids["album"] + [""]), "name": chance.text(), "album_type": chance.text(), "release_date": chance.choice(list(DAYS)),
        "release_date_precision": chance.text(), "total_tracks": chance.choice(INTEGERS), "external_urls": chance.urls(), "artists": artists(chance, ids),
    })
    track = chance.holder({
        "name": chance.text(), "duration_ms": chance.choice(INTEGERS), "popularity": chance.choice(INTEGERS), "explicit": chance.random() < 0.5,
        "disc_number": chance.choice(INTEGERS), "track_number": chance.choice(INTEGERS), "external_urls": chance.urls(),
        "external_ids": chance.holder({"isrc": chance.text()}), "artists": artists(chance, ids),
    })
    return {"type": "track", "id": chance.choice(ids["song"]), "album": album, **track}


def artists(chance, ids):
    some = [chance.holder({"id": chance.choice(ids["artist"] + [""]), "name": chance.text(), "external_urls": chance.urls()}) for _ in range(chance.randint(0, 4))]
    return [None if chance.random() < 0.1 else one for one in some]


# Their rows.


def rows_of(entries, snapshot):
    tracks = [(position, given) for position, (given, reason) in enumerate(entries, 1) if reason is None]
    performers, albums, everybody = {}, [], []
    for _, given in tracks:
        track = given.get("item") or given.get("track")
        album = track.get("album") or {}
        for place, one in enumerate(track.get("artists") or [], 1):
            if member(one, "id"):
                performers.setdefault((track["id"], place), [track["id"], one["id"], place])
        days = DAYS[album["release_date"]] if album.get("release_date") is not None else None
        address = member(album, "external_urls", "spotify")
        albums.append([album.get("id"), album.get("name"), days, whole(album, "total_tracks"), address, album.get("release_date_precision"), album.get("album_type")])
        credits = (track.get("artists") or []) + (album.get("artists") or [])
        everybody += [[member(one, "id"), member(one, "name"), member(one, "external_urls", "spotify")] for one in credits]
    counts = [len(entries), len(tracks)] + [sum(reason == one for _, reason in entries) for one in REASONS]
    return {
        "song": [song_row(position, given) for position, given in tracks],
        "song_artist": list(performers.values()),
        "album": first_named(albums),
        "artist": first_named(everybody),
        "snapshot": [snapshot + counts],
    }


def song_row(position, given):
    track = given.get("item") or given.get("track")
    added = MOMENTS[given["added_at"]] if given.get("added_at") is not None else None
    whose = (member(track, "album", "artists") or [None])[0]
    ends = [member(track, "album", "id"), member(whose, "id"), position, track.get("explicit"), whole(track, "disc_number"), whole(track, "track_number")]
    starts = [track["id"], track.get("name"), whole(track, "duration_ms"), member(track, "external_urls", "spotify"), whole(track, "popularity"), added]
    return starts + ends + [member(track, "external_ids", "isrc")]


def member(holder, *names):
    for name in names:
        holder = (holder or {}).get(name)
    return holder


def whole(holder, name):
    value = holder.get(name)
    return None if value is None else int(value)


def first_named(rows):
    """By id: the first row, or else the first that has a name."""
    kept = {}
    for row in rows:
        if row[0] and (row[0] not in kept or (not kept[row[0]][1] and row[1])):
            kept[row[0]] = row
    return list(kept.values())


def in_csv(row):
    """Null and empty are alike, and a value stays on its line."""
    return tuple(LINE_BREAK.sub(" ", text(cell)) for cell in row)


def in_views(row):
    """As in CSV, with the types back."""
    return tuple(LINE_BREAK.sub(" ", cell) or None if isinstance(cell, str) else cell for cell in row)


def breaks(rows):
    return sum(isinstance(cell, str) and bool(LINE_BREAK.search(cell)) for row in rows for cell in row)


# The tables, written and read.


def main(command, plugins, seed="20260706"):
    with tempfile.TemporaryDirectory() as desk:
        desk = pathlib.Path(desk)
        sources, expected = desk / "in", {}
        sources.mkdir()
        documents = list(playlists(Chance(int(seed))))
        for name, content, rows in documents:
            (sources / name).write_text(content, "utf-8")
            for table, rows in rows.items():
                expected.setdefault(table, []).extend(rows)
        store = desk / "store"
        ask(command, "init", "--store", store, "--from", plugins)
        report = json.loads(ran(command, "run", "--store", store, "--format", "csv,parquet", "--json", "--allow-future", "--from", sources).stdout)
        check_report(report, documents)
        # A catalog is of one format; that of CSV is from a store that has no other, and the same files.
        only = made(command, plugins, desk / "only", "--format", "csv", "--allow-future", "--from", sources)
        check_same_files(only, store)
        of_csv, of_parquet = catalog(command, only), catalog(command, store)
        check_names(command, plugins, desk)
        hive = None if no_java() else Hive(desk / "hive")
        check_csv(only, of_csv, expected, hive)
        check_parquet(store, of_parquet, expected, hive)
        check_views(command, {"CSV": (only, of_csv), "Parquet": (store, of_parquet)}, expected, desk)
        if hive:
            check_new_columns(command, pathlib.Path(plugins, "examples"), sources, desk, hive)
            hive.spark.stop()
        else:
            print(f"skipped: Hive and Spark, as {no_java()}")


def check_report(report, documents):
    found = {document["document"]: document for document in report["documents"]}
    replaced = entries = 0
    for name, _, rows in documents:
        written = found[rows["snapshot"][0][0]]
        assert written["status"] == "stored", f"{name}: {written['problems']}"
        for table in written["tables"]:
            should = rows[table["table"]]
            assert table["rows"] == len(should), f"{name}: {table['rows']} rows in {table['table']}, not {len(should)}"
            lines = breaks(row[len(LINEAGE) :] for row in should)
            assert table["line_breaks_replaced"] == lines, f"{name}: {table['table']} has {lines} values with line breaks, not {table['line_breaks_replaced']}"
            replaced += lines
        entries += written["entries"]
    print(f"{entries} entries of {len(documents)} playlists give as many rows as they should, and {replaced} values with line breaks are counted")


def check_same_files(one, other):
    for path in one.glob("transformed_data/*/*/*.csv"):
        assert path.read_bytes() == (other / path.relative_to(one)).read_bytes(), f"{path.name}: other bytes beside Parquet than alone"


def check_names(command, plugins, desk):
    """Files whose names begin with `_` or `.` are not there for Hive, Athena and Spark."""
    sources = [desk / f"{name}_2026-01-05_06-00-00.json" for name in ("_underscore", ".dot", "__")]
    for source in sources:
        source.write_text('{"items": [{"track": {"type": "track", "id": "x", "artists": [{"id": "y"}]}}]}')
    store = made(command, plugins, desk / "names", "--format", "csv,parquet", "--allow-future", "--from", *sources)
    hidden = sorted({path.name for path in store.glob("transformed_data/*/*/*") if path.name[0] in "_."})
    assert not hidden, f"no SQL engine of Hive's kin sees {hidden[:2]}"
    print("no playlist's name hides its files")


def cells(rows):
    return sum(len(row) for row in rows)


def check_csv(store, statements, expected, hive):
    engine, read, cut = Trino(tables(statements)), 0, 0
    for table in tables(statements):
        name, columns = base(table), [column for column, _ in table["columns"][:-1]]
        rows, frames = [], []
        for path in sorted(store.glob(f"transformed_data/{name}_data/*/*.csv")):
            with open(path, newline="", encoding="utf-8") as source:
                header, *lines = csv.reader(source)
            assert header == columns, f"{path.name}: another header"
            rows += lines
            frames += pandas.read_csv(path, dtype=str, keep_default_na=False).values.tolist()
        should = ordered(in_csv(row) for row in expected[name])
        names = ", ".join(f'"{column}"' for column in columns)
        assert_same(as_rows(rows), should, f"{name} as Python's csv reads it")
        # For pandas a value ends at a NUL, as text does in C.
        without_nul = ordered(tuple(cell.split("\0")[0] for cell in row) for row in should)
        cut += sum("\0" in cell for row in should for cell in row)
        assert_same(as_rows(frames), without_nul, f"{name} as pandas reads it from CSV")
        assert_same(as_rows(engine.query(f"SELECT {names} FROM {table['name']}")[1]), should, f"{name} as DuckDB reads it from CSV")
        if hive:
            hive.take(table)
            assert_same(as_rows(zip(*(hive.column(table["name"], column) for column in columns))), should, f"{name} as Hive reads it from CSV")
        read += cells(should)
    readers = f"Python's csv, DuckDB {duckdb.__version__}{', OpenCSVSerde in Hive 2.3' if hive else ''} and pandas {pandas.__version__}"
    print(f"{read} cells of CSV are what they should be for {readers}, which ends {cut} of them at a NUL")


def base(table):
    """The table that an external table has the files of."""
    return re.fullmatch(r"files_(\w+)_(?:csv|parquet)_[0-9a-f]{8}", table["name"])[1]


def as_rows(rows):
    return ordered(tuple(row) for row in rows)


def check_parquet(store, statements, expected, hive):
    engine, read = Trino(tables(statements)), 0
    for table in tables(statements):
        name, columns = base(table), table["columns"][:-1]
        should = ordered(expected[name])
        frames = [pandas.read_parquet(path, dtype_backend="pyarrow") for path in store.glob(f"transformed_data/{name}_parquet/*/*.parquet")]
        assert all(list(frame.columns) == [column for column, _ in columns] for frame in frames), f"{name}: other columns in Parquet"
        rows = [row for frame in frames for row in zip(*(of_pandas(frame[column], kind) for column, kind in columns))]
        assert_same(as_rows(rows), should, f"{name} as pandas reads it from Parquet")
        counted = {"timestamp": 'epoch_ms("{}")', "date": "date_diff('day', DATE '1970-01-01', \"{}\")"}
        picked = ", ".join(counted.get(kind, '"{}"').format(column) for column, kind in columns)
        found = engine.connection.execute(f"SELECT {picked} FROM {table['name']}").fetchall()
        assert_same(as_rows(counts_read(found, columns)), should, f"{name} as DuckDB reads it from Parquet")
        if hive:
            hive.take(table)
            assert_same(as_rows(of_spark(hive, table["name"], columns)), should, f"{name} as Spark reads it from Parquet")
        read += cells(should)
    print(f"{read} cells of Parquet are what they should be for pandas, DuckDB{' and Spark' if hive else ''}: null is not empty, line breaks are as they were")


def of_pandas(column, kind):
    if kind == "timestamp":
        assert str(column.dtype) == "timestamp[ms, tz=UTC][pyarrow]", column.dtype
        column = column.astype("int64[pyarrow]")
    if kind == "date":
        column = column.astype("int32[pyarrow]")
    return counts_read_of([None if cell is pandas.NA else cell for cell in column.tolist()], kind)


def of_spark(hive, name, columns):
    counted = {"timestamp": "unix_millis(`{}`)", "date": "unix_date(`{}`)"}
    picked = ", ".join(counted.get(kind, "`{}`").format(column) for column, kind in columns)
    return counts_read(hive.spark.sql(f"SELECT {picked} FROM {DATABASE}.{name}").collect(), columns)


def counts_read(rows, columns):
    return zip(*(counts_read_of(cells, kind) for cells, (_, kind) in zip(zip(*rows), columns)))


def counts_read_of(cells, kind):
    """Days and milliseconds since 1970, which no program has a limit or a calendar of its own for, as text."""
    epoch = datetime.datetime(1970, 1, 1)
    if kind == "date":
        return [None if cell is None else str((epoch + datetime.timedelta(days=cell)).date()) for cell in cells]
    if kind == "timestamp":
        moments = [None if cell is None else epoch + datetime.timedelta(milliseconds=cell) for cell in cells]
        return [moment and moment.isoformat(" ", "milliseconds").removesuffix(".000") for moment in moments]
    return list(cells)


def check_views(command, catalogs, expected, desk):
    answers = {}
    for format, (store, statements) in catalogs.items():
        engine, file = Trino(statements), desk / f"{format}.sqlite"
        ask(command, "query", "--store", store, "--save", file)
        kept = sqlite3.connect(file)
        for view in views(statements):
            name, columns = view["name"], [column for column, _ in view["columns"]]
            names = ", ".join(f'"{column}"' for column in columns)
            rows = as_rows(engine.query(f"SELECT {names} FROM {name}")[1])
            flags = [kind == "boolean" for _, kind in view["columns"]]
            at_home = [tuple(bool(cell) if flag and cell is not None else cell for cell, flag in zip(row, flags)) for row in kept.execute(f"SELECT {names} FROM {name}")]
            assert_same(as_rows(at_home), rows, f"{name} over {format} in a file of SQLite's, and in DuckDB")
            assert_same(rows, answers.setdefault(name, rows), f"{name} over {format}")
            if name in expected:
                without_year = as_rows(row[: columns.index("snapshot_year")] for row in rows)
                assert_same(without_year, ordered(in_views(row) for row in expected[name]), f"{name} over {format}")
                assert all(str(row[-1]) == row[3][:4] for row in rows), f"{name}: another year than that of the day"
        kept.close()
    count = sum(cells(rows) for rows in answers.values())
    print(f"{count} cells of {len(answers)} views are the same over CSV and Parquet, in DuckDB and in a file of SQLite {sqlite3.sqlite_version}'s")


# A table whose columns change.


def check_new_columns(command, guests, sources, desk, hive):
    versions = [guests / f"thing_{version}.wasm" for version in (1, 2, 3)]
    if missing := [path.name for path in versions if not path.exists()]:
        print(f"skipped: a table whose columns change, as {', '.join(missing)} is not built")
        return
    # Its one row for each document has the playlist's id; the second version knows how long that is, the third only that.
    first, second = (sorted(sources.glob(f"{playlist}_*")) for playlist in ("first", "weekly"))
    names = [("first",)] * len(first) + [("weekly",)] * len(second)
    for format in ("csv", "parquet"):
        store = desk / f"things_{format}"
        active = store / "plugins" / "thing.wasm"
        active.parent.mkdir(parents=True)
        shutil.copy(versions[0], active)
        ask(command, "run", "--store", store, "--format", format, "--allow-future", "--from", *first)
        [before] = things(command, store, hive, names[: len(first)])
        shutil.copy(versions[1], active)
        ask(command, "run", "--store", store, "--allow-future", "--from", *second)
        things(command, store, hive, [("first", None)] * len(first) + [("weekly", 6)] * len(second))
        hive.take(before)
        assert_same(read_by(hive, before), names, f"newer files, by the table from before in {format}")
        ask(command, "replay", "--store", store)
        things(command, store, hive, [("first", 5)] * len(first) + [("weekly", 6)] * len(second))
        assert_same(read_by(hive, before), names, f"replayed files, by the table from before in {format}")
        shutil.copy(versions[2], active)
        ask(command, "replay", "--store", store, "--new-generation", "thing")
        things(command, store, hive, [(5,)] * len(first) + [(6,)] * len(second))
    print("a table gets a column and then another type, as CSV in Hive and as Parquet in Spark: null in older files, there after a replay, and no cell beside its place")


def things(command, store, hive, expected):
    """The external table of a store, which has to have these rows, as those at home."""
    external = tables(catalog(command, store))
    for table in external:
        hive.take(table)
        assert_same(read_by(hive, table), expected, table["sql"])
    columns = [name for name, _ in external[0]["columns"][len(LINEAGE) : -1]]
    records = json.loads(ask(command, "query", "--store", store, "--json", "SELECT * FROM thing"))
    assert_same(as_rows([record[name] for name in columns] for record in records), expected, f"{store.name} at home")
    return external


def read_by(hive, table):
    columns = table["columns"][len(LINEAGE) : -1]
    if "OpenCSVSerde" not in table["sql"]:
        return as_rows(of_spark(hive, table["name"], columns))
    cells = [hive.column(table["name"], name) for name, _ in columns]
    return as_rows([None if cell == "NULL" else int(cell) if cell.isdigit() else cell for cell in row] for row in zip(*cells))


if __name__ == "__main__":
    main(*sys.argv[1:])
