"""What the tables are for programs that know nothing of this one: Python's CSV reader and SQLite find the same
cells, and the views' SQL is Trino's as sqlglot parses it. Columns of saved views have declared types. The heavy
checks ask more readers.

usage: readers.py COMMAND PLUGINS HISTORY
"""

import csv
import json
import pathlib
import sqlite3
import subprocess
import sys
import tempfile

import sqlglot

# The types of a catalog's columns, as SQLite has them.
TYPES = {"varchar": "TEXT", "bigint": "INTEGER", "integer": "INTEGER", "double": "REAL", "boolean": "BOOLEAN"}


def main(command, plugins, history):
    def say(*arguments):
        return subprocess.run([command, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout

    with tempfile.TemporaryDirectory() as folder:
        store, saved = f"{folder}/store", f"{folder}/music.sqlite"
        say("init", "--store", store, "--from", plugins)
        files = sorted(str(file) for file in pathlib.Path(history).glob("*.json"))
        say("run", "--store", store, "--format", "csv,parquet", "--allow-empty", "--from", *files)
        cells = compare(pathlib.Path(store), say("query", "--store", store, "--save", saved) and saved)
        print(f"{cells} cells are the same for Python's CSV reader, and as Parquet in a file of SQLite {sqlite3.sqlite_version}'s")
        types = {statement["name"]: statement["columns"] for statement in json.loads(say("catalog", "ddl", "--store", store, "--json")) if statement["kind"] == "view"}
        print(f"{check_types(saved, types)} columns of saved tables and views have the types that the catalog says, and compare by them")
        for formats in ("csv", "parquet"):
            say("replay", "--store", store, "--format", formats)
            ddl = json.loads(say("catalog", "ddl", "--store", store, "--location", "s3://bucket/prefix", "--json"))
            views = [statement for statement in ddl if statement["kind"] == "view"]
            for view in views:
                [parsed] = sqlglot.parse(view["sql"], read="trino")
                assert isinstance(parsed, sqlglot.exp.Create), view["name"]
                assert not list(parsed.find_all(sqlglot.exp.Command)), f"{view['name']} was not understood"
            print(f"{len(views)} views over {formats} are Trino's SQL for sqlglot {sqlglot.__version__}")


def compare(store, saved):
    """Every cell of the CSV files is that of the database, which was made of Parquet."""
    database, cells = sqlite3.connect(saved), 0
    for record in sorted((store / "tables").glob("*.json")):
        table = record.stem
        expected = []
        for file in sorted((store / "transformed_data" / f"{table}_data").glob("*/*.csv")):
            with open(file, newline="", encoding="utf-8") as source:
                header, *rows = csv.reader(source)
            expected += rows
        columns = ", ".join(f'"{name}"' for name in header)
        found = database.execute(f'SELECT {columns} FROM "{table}"').fetchall()
        found = [["" if cell is None else plain(cell, name, record) for cell, name in zip(row, header)] for row in found]
        assert sorted(found) == sorted(expected), f"{table}: other cells"
        cells += len(header) * len(expected)
    return cells


def check_types(saved, types):
    """Every column has a declared type, and finds its numbers by text."""
    database, count = sqlite3.connect(saved), 0
    for name, columns in types.items():
        declared = {column: kind for _, column, kind, *_ in database.execute(f'PRAGMA table_info("{name}")')}
        for column, kind in columns:
            assert declared[column] == TYPES[kind], f"{name}.{column} is {declared[column]}, and {kind} in the catalog"
            number = database.execute(f'SELECT max("{column}") FROM "{name}"').fetchone()[0]
            if kind in ("bigint", "boolean") and number is not None:
                [found] = database.execute(f'SELECT count(*) FROM "{name}" WHERE "{column}" = ?', [f"{number}"]).fetchone()
                assert found, f"{name}.{column} is not found by text"
            count += 1
    return count


def plain(cell, name, record):
    """A cell as CSV has it: true and false are numbers in SQLite."""
    types = {column["name"]: column["type"] for column in json.loads(record.read_text())["schema"]["columns"]}
    return ("false", "true")[cell] if types.get(name) == "boolean" else str(cell)


main(*sys.argv[1:])
