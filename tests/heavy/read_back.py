"""Every table of every fixture, as other programs read it.

Takes the fixtures to tables with the command, then reads each CSV with Python's own reader, pandas
and DuckDB: the same cells from all three, as many rows as the lineage says, dates and times that
DuckDB takes as such. Ends with 1 at the first difference.
"""

import csv
import json
import pathlib
import subprocess
import sys
import tempfile

import duckdb
import pandas

TYPES = {"text": "VARCHAR", "int64": "BIGINT", "float64": "DOUBLE", "boolean": "BOOLEAN", "date": "DATE", "timestamp": "TIMESTAMP"}
LINEAGE = [("document", "text"), ("playlist_id", "text"), ("extracted_at", "timestamp"), ("snapshot_date", "date")]


def main(command, plugins, fixtures):
    with tempfile.TemporaryDirectory() as store:
        subprocess.run([command, "init", "--store", store, "--from", plugins], check=True, stdout=subprocess.DEVNULL)
        run = [command, "run", "--store", store, "--from", fixtures, "--extracted-at", "2026-07-06T06:00:00Z", "--json"]
        report = json.loads(subprocess.run(run, stdout=subprocess.PIPE, check=False).stdout)
        stored = [document for document in report["documents"] if document["status"] == "stored"]
        assert len(stored) == len(report["imports"]), "not every fixture was stored"
        files = 0
        for lineage in pathlib.Path(store, "lineage").iterdir():
            for file in json.loads(lineage.read_text())["files"]:
                check(pathlib.Path(store), file)
                files += 1
        print(f"{files} table files of {len(stored)} documents read alike by csv, pandas {pandas.__version__} and DuckDB {duckdb.__version__}")


def check(store, file):
    path = store / file["key"]
    record = json.loads((store / "tables" / f"{file['table']}.json").read_text())
    columns = LINEAGE + [(column["name"], column["type"]) for column in record["schema"]["columns"]]
    with open(path, newline="", encoding="utf-8") as source:
        header, *rows = csv.reader(source)
    assert header == [name for name, _ in columns], path
    assert len(rows) == file["rows"], path
    frame = pandas.read_csv(path, dtype=str, keep_default_na=False)
    assert frame.values.tolist() == rows, f"{path}: pandas reads other cells"
    spec = ", ".join(f"'{name}': 'VARCHAR'" for name, _ in columns)
    source = f"read_csv('{path}', header = true, columns = {{{spec}}}, delim = ',', quote = '\"', escape = '\"', nullstr = 'no such text', auto_detect = false, hive_partitioning = false)"
    # An empty cell is null for DuckDB.
    cells = [["" if cell is None else cell for cell in row] for row in duckdb.sql(f"SELECT * FROM {source}").fetchall()]
    assert cells == rows, f"{path}: DuckDB reads other cells"
    for name, kind in columns:
        typed = duckdb.sql(f"SELECT count(*) FILTER (WHERE \"{name}\" <> '' AND TRY_CAST(\"{name}\" AS {TYPES[kind]}) IS NULL) FROM {source}").fetchone()
        assert typed == (0,), f"{path}: {name} is not all {kind}"


main(*sys.argv[1:])
