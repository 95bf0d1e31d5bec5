"""A store with many documents' table files, for benchmarks of `query`.

usage: tables.py STORE COUNT

STORE is a folder into which one document was imported with CSV tables:

    spotify-etl init --store STORE
    spotify-etl run --store STORE --from tests/fixtures/playlists/demo_2026-07-06_06-00-00.json

Its table files are copied for COUNT documents of 20 playlists, one a week for each, as if they had been imported:
document, playlist, time and date are others in each. Raw documents and lineage are not made.
"""

import argparse
import datetime
import hashlib
import pathlib

PLAYLISTS = 20


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("store", type=pathlib.Path)
    arguments.add_argument("count", type=int)
    given = arguments.parse_args()
    data = given.store / "transformed_data"
    tables = {}
    for folder in sorted(data.glob("*_data")):
        first = min(folder.glob("*/*.csv"))
        header, *rows = first.read_text().splitlines()
        # The document's own columns have no quotes in them.
        tables[folder] = header, [row.split(",", 4)[4] for row in rows]
    for number in range(given.count):
        week, playlist = divmod(number, PLAYLISTS)
        moment = datetime.datetime(2006, 1, 2, 6) + datetime.timedelta(weeks=week)
        while moment.year > 2060:
            moment -= datetime.timedelta(weeks=52 * 54, minutes=-1)
        name = f"playlist{playlist:014}"
        mark = hashlib.sha256(str(number).encode()).hexdigest()[:8]
        document = f"{name}-{moment:%Y%m%dT%H%M%SZ}-{mark}"
        columns = f"{document},{name},{moment:%Y-%m-%d %H:%M:%S},{moment:%Y-%m-%d}"
        for folder, (header, rows) in tables.items():
            year = folder / f"snapshot_year={moment:%Y}"
            year.mkdir(exist_ok=True)
            text = "".join(f"{columns},{row}\n" for row in rows)
            (year / f"{document}.csv").write_text(f"{header}\n{text}")


if __name__ == "__main__":
    main()
