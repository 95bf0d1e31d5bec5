"""The catalog's tables and views as others take them, over a history of which all answers are known.

Makes stores of the history with the command: one as CSV, one as Parquet, and one as CSV that a replay
turned into Parquet. The statements of their catalogs are held against each other and against their own
steps; a real Hive driver makes the external tables. The text of the views, which is Trino's, is read by
sqlglot as such and run by DuckDB over the stores' files. Every view has to give the same rows over each
store, there and at home, and those that were written down; so does every question of the collection.
Trino itself is not among the witnesses. Ends with 1 at the first difference.

Then once more for the views over a second history, of playlists that show one rule of the charts each.

usage: views.py COMMAND PLUGINS HISTORY QUESTIONS CHARTS
"""

import csv
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import duckdb
import sqlglot
from sqlglot import exp

DATABASE = "spotify_etl"
BUCKET = "s3://bucket/prefix"
# A table's own views differ with its format, what is made of them does not.
TYPED, DERIVED = 2, 3


def main(command, plugins, history, questions, charts):
    with tempfile.TemporaryDirectory() as desk:
        desk = pathlib.Path(desk)
        stores = stores_of(command, plugins, history, desk)
        catalogs = {name: catalog(command, store) for name, store in stores.items()}
        check_catalogs(command, stores, catalogs)
        check_hive(desk, [catalogs["CSV"], catalogs["Parquet"]])
        engines = {name: Trino(statements) for name, statements in catalogs.items()}
        check_views(command, stores, catalogs, engines, pathlib.Path(history, "expected"))
        check_questions(command, stores, engines, desk, pathlib.Path(questions).read_text("utf-8"))
    with tempfile.TemporaryDirectory() as desk:
        stores = stores_of(command, plugins, charts, pathlib.Path(desk))
        catalogs = {name: catalog(command, store) for name, store in stores.items()}
        engines = {name: Trino(statements) for name, statements in catalogs.items()}
        check_views(command, stores, catalogs, engines, pathlib.Path(charts, "expected"))


def stores_of(command, plugins, history, desk):
    """Stores of the same documents: one for each way to their table files."""
    # Some documents have no song.
    documents = ["--allow-empty", "--from", *sorted(pathlib.Path(history).glob("*.json"))]
    stores = {
        "CSV": made(command, plugins, desk / "csv", "--format", "csv", *documents),
        "Parquet": made(command, plugins, desk / "parquet", "--format", "parquet", *documents),
        "CSV replayed as Parquet": made(command, plugins, desk / "replayed", "--format", "csv", *documents),
    }
    ask(command, "replay", "--store", desk / "replayed", "--format", "parquet")
    return stores


def ran(command, *arguments):
    """Runs the command; its log is of no interest here."""
    return subprocess.run([command, *map(str, arguments), "--log", "error"], stdout=subprocess.PIPE)


def ask(command, *arguments):
    """Runs the command, which has to succeed, and returns what it prints."""
    done = ran(command, *arguments)
    said = done.stdout.decode()
    assert done.returncode == 0, f"{' '.join(map(str, arguments))} ends with {done.returncode}:\n{said[-2000:]}"
    return said


def made(command, plugins, store, *run):
    """A store, with its first run."""
    ask(command, "init", "--store", store, "--from", plugins)
    ask(command, "run", "--store", store, *run)
    return store


def catalog(command, store, *location):
    return json.loads(ask(command, "catalog", "ddl", "--store", store, "--json", *location))


def views(statements):
    return [statement for statement in statements if statement["kind"] == "view"]


def tables(statements):
    return [statement for statement in statements if statement["kind"] == "table"]


# The statements.


def check_catalogs(command, stores, catalogs):
    in_bucket = {name: catalog(command, store, "--location", BUCKET) for name, store in stores.items()}
    for name, store in stores.items():
        statements = in_bucket[name]
        assert statements == catalog(command, store, "--location", BUCKET), f"{name}: other statements the second time"
        assert statements == catalog(command, store, "--location", f"{BUCKET}/"), f"{name}: a slash makes another catalog"
        script = ask(command, "catalog", "ddl", "--store", store, "--location", BUCKET)
        body = [line for line in script.splitlines() if line and not line.startswith("--")]
        listed = [line for statement in statements for line in f"{statement['sql']};".splitlines()]
        assert body == listed, f"{name}: other statements as text than as JSON"
        in_folder = [without_place(statement, store) for statement in catalogs[name]]
        assert in_folder == [without_place(statement, store) for statement in statements], f"{name}: more than the place differs in a bucket"
        check_order(statements, name)
        for statement in statements:
            check_statement(statement, f"{name}: {statement['name']}")
    assert in_bucket["Parquet"] == in_bucket["CSV replayed as Parquet"], "a replay gives another catalog"
    of_csv, of_parquet = views(in_bucket["CSV"]), views(in_bucket["Parquet"])
    for one, other in zip(of_csv, of_parquet, strict=True):
        same = ("name", "kind", "step", "columns") + (("sql",) if one["step"] >= DERIVED else ())
        assert [one[part] for part in same] == [other[part] for part in same], f"{one['name']}: another view with another format"
    count = len(in_bucket["CSV"])
    print(f"{count} statements for either format: the same each time and in any place, each after those that it needs")
    print(f"{len(of_csv)} views of them are Trino's SQL as sqlglot {sqlglot.__version__} reads it, and the same for either format but for the types of a file's cells")


def without_place(statement, store):
    """A statement without the place of its files and the mark that follows from it."""
    text = json.dumps([statement["name"], statement["sql"], statement["columns"]])
    text = text.replace(f"{BUCKET}/", "").replace(f"file://{store}/", "")
    return re.sub(r"(files_\w+_)[0-9a-f]{8}\b", r"\1", text)


def check_order(statements, store):
    steps = [statement["step"] for statement in statements]
    assert steps == sorted(steps), f"{store}: a step comes too early"
    made_in = {statement["name"]: statement["step"] for statement in statements}
    assert len(made_in) == len(statements), f"{store}: two statements make the same"
    for statement in statements:
        for needed in reads(statement):
            assert made_in.get(needed, 99) < statement["step"], f"{store}: {statement['name']} comes before {needed}, or without it"


def reads(statement):
    """What has to be there before."""
    if statement["kind"] == "database":
        return set()
    if statement["kind"] == "table":
        return {DATABASE}
    tree = sqlglot.parse_one(statement["sql"], read="trino")
    own = {part.alias for part in tree.find_all(exp.CTE)}
    named = [table for table in tree.expression.find_all(exp.Table)]
    local = {table.name for table in named if not table.db}
    assert local <= own, f"{statement['name']}: {local - own} without the database"
    assert {table.db for table in named if table.db} == {DATABASE}, f"{statement['name']}: another database"
    return {table.name for table in named if table.db}


def check_statement(statement, what):
    sql, kind = statement["sql"], statement["kind"]
    assert "--" not in sql and ";" not in sql, f"{what}: a comment, or the end of a statement"
    dialect = "trino" if kind == "view" else "athena"
    [tree] = sqlglot.parse(sql, read=dialect)
    assert isinstance(tree, exp.Create) and tree.kind == {"database": "DATABASE", "table": "TABLE", "view": "VIEW"}[kind], what
    names = [name for name, _ in statement["columns"]]
    if kind == "view":
        assert tree.expression.named_selects == names, f"{what}: other columns than it says"
        assert not refused(tree), f"{what}: Trino has no {refused(tree)}"
    if kind == "table":
        parts = tree.this.expressions + tree.args["properties"].find(exp.PartitionedByProperty).this.expressions
        assert [part.name for part in parts] == names, f"{what}: other columns than it says"


def refused(tree):
    """What DuckDB takes and Trino does not: an alias where there is none yet, and what both read otherwise: 1.0, a decimal."""
    found = [literal.name for literal in tree.find_all(exp.Literal) if not literal.is_string and re.fullmatch(r"\d+\.\d*", literal.name)]
    for select in tree.find_all(exp.Select):
        new = {part.alias for part in select.expressions if isinstance(part, exp.Alias) and part.this.name != part.alias}
        for clause in filter(None, (select.args.get(name) for name in ("where", "group", "having"))):
            columns = [column for column in clause.find_all(exp.Column) if column.find_ancestor(exp.Select) is select]
            found += [column.name for column in columns if not column.table and column.name in new]
    return found


# Hive.


class Hive:
    """The driver of Hive 2.3 that comes with Spark, and Spark itself."""

    def __init__(self, work):
        from pyspark.sql import SparkSession

        work.mkdir()
        # A short life: it compiles no more than it has to.
        java = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
        java += f" -Dspark.testing=true -Duser.timezone=UTC -Dderby.system.home={work} -Djava.io.tmpdir={work}"
        settings = {
            "spark.ui.enabled": "false",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.memory": "1g",
            "spark.driver.extraJavaOptions": java,
            "spark.local.dir": work,
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.codegen.wholeStage": "false",
            "spark.sql.warehouse.dir": work / "warehouse",
            "spark.hadoop.hive.exec.scratchdir": work / "scratch",
            "spark.hadoop.hive.exec.local.scratchdir": work / "scratch_local",
            "spark.hadoop.javax.jdo.option.ConnectionURL": "jdbc:derby:memory:metastore;create=true",
        }
        builder = SparkSession.builder.master("local[1]").enableHiveSupport()
        for name, value in settings.items():
            builder = builder.config(name, str(value))
        with quiet(work / "log"):
            self.spark = builder.getOrCreate()
            self.spark.sparkContext.setLogLevel("OFF")
            self.client = self.spark._jsparkSession.sharedState().externalCatalog().unwrapped().client()
            self.run(f"CREATE DATABASE IF NOT EXISTS `{DATABASE}`")

    def run(self, sql):
        lines = self.client.runSqlHive(sql)
        return [lines.apply(index) for index in range(lines.size())]

    def take(self, statement):
        """Makes a table as the catalog has it, and looks for its partitions: Hive knows no projection."""
        self.run(statement["sql"])
        self.run(f"MSCK REPAIR TABLE {DATABASE}.{statement['name']}")

    def columns(self, name):
        rows = [[part.strip() for part in line.split("\t")] for line in self.run(f"DESCRIBE {DATABASE}.{name}")]
        # After an empty line come the columns of the partitions, again.
        return [(row[0], row[1]) for row in rows[: next((at for at, row in enumerate(rows) if not row[0]), None)]]

    def column(self, name, column):
        """The cells of a column. One at a time, since Hive puts a tab between cells and takes none away."""
        return self.run(f"SELECT `{column}` FROM {DATABASE}.{name}")


class quiet:
    """What Java says while it starts goes to a file."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        sys.stderr.flush()
        self.kept = os.dup(2)
        with open(self.path, "wb") as log:
            os.dup2(log.fileno(), 2)

    def __exit__(self, kind, *_):
        os.dup2(self.kept, 2)
        os.close(self.kept)
        if kind:
            print(self.path.read_text(errors="replace"), file=sys.stderr)


def no_java():
    """Why Hive can't run here, if it can't."""
    java = pathlib.Path(os.environ["JAVA_HOME"], "bin", "java") if os.environ.get("JAVA_HOME") else shutil.which("java")
    if not java or not pathlib.Path(java).exists():
        return "there is no Java, which Hive and Spark need"
    said = subprocess.run([java, "-version"], stderr=subprocess.PIPE, check=False).stderr.decode(errors="replace")
    version = re.search(r'version "(\d+)', said)
    return None if version and int(version[1]) >= 17 else f"Hive and Spark need Java 17, and here is: {said.splitlines()[:1]}"


def check_hive(desk, catalogs):
    if why := no_java():
        print(f"skipped: the external tables in Hive, as {why}")
        return
    hive, count, rows = Hive(desk / "hive"), 0, 0
    types = {"varchar": "string", "integer": "int"}
    for statements in catalogs:
        for table in tables(statements):
            hive.take(table)
            # Running it again changes nothing.
            hive.run(table["sql"])
            found = hive.columns(table["name"])
            assert found == [(column, types.get(kind, kind)) for column, kind in table["columns"]], f"{table['name']}: {found}"
            is_csv = "OpenCSVSerde" in table["sql"]
            seen = len(hive.column(table["name"], "document")) if is_csv else len(hive.spark.table(f"{DATABASE}.{table['name']}").select("document").collect())
            assert seen == len(Trino([table]).query(f"SELECT * FROM {table['name']}")[1]), f"{table['name']} has {seen} rows"
            count, rows = count + 1, rows + seen
    hive.spark.stop()
    print(f"{count} external tables are made by a driver of Hive 2.3 with the columns that they should have, and {rows} rows found in them")


# Trino's SQL, run by DuckDB.


class Trino:
    """A catalog as DuckDB has it: external tables are the files where they say, views are what they are."""

    def __init__(self, statements):
        self.connection = duckdb.connect(config={"threads": 1})
        self.connection.execute(f"CREATE SCHEMA {DATABASE}")
        self.connection.execute(f"USE {DATABASE}")
        for table in tables(statements):
            self.connection.execute(f"CREATE VIEW {table['name']} AS {files(table)}")
        for view in views(statements):
            self.connection.execute(translated(view["sql"]))
            described = self.connection.execute(f"DESCRIBE {view['name']}").fetchall()
            types = [[name, kind.lower()] for name, kind, *_ in described]
            assert types == view["columns"], f"{view['name']}: {types}"

    def query(self, sql):
        found = self.connection.execute(translated(sql))
        return [column[0] for column in found.description], found.fetchall()


def files(table):
    """The rows of an external table, each column of the type that it says."""
    [place] = re.findall(r"^LOCATION 'file://(.*)'$", table["sql"], re.M)
    *columns, (year, _) = table["columns"]
    if "STORED AS PARQUET" in table["sql"]:
        # A moment is one in UTC.
        cells = [f"timezone('UTC', \"{name}\") AS \"{name}\"" if kind == "timestamp" else f'"{name}"::{kind} AS "{name}"' for name, kind in columns]
        source = f"read_parquet('{place}**/*.parquet', hive_partitioning = true, hive_types = {{{year}: INT}}, union_by_name = true)"
    else:
        # An empty cell is null for DuckDB, and is not for Athena.
        cells = [f"coalesce(\"{name}\", '') AS \"{name}\"" for name, _ in columns]
        names = ", ".join(f"'{name}': 'VARCHAR'" for name, _ in columns)
        source = (
            f"read_csv('{place}**/*.csv', header = true, columns = {{{names}}}, delim = ',', quote = '\"', escape = '\"', "
            f"nullstr = 'no such text', auto_detect = false, hive_partitioning = true, hive_types = {{{year}: INT}})"
        )
    return f"SELECT {', '.join(cells)}, {year} FROM {source}"


def translated(sql):
    tree = sqlglot.parse_one(sql, read="trino").transform(with_milliseconds)
    return tree.sql("duckdb", unsupported_level=sqlglot.ErrorLevel.RAISE)


def with_milliseconds(node):
    """A timestamp(3) as text has three digits after the point in Trino; DuckDB leaves zeros out."""
    is_text = isinstance(node, exp.Cast) and node.to.this == exp.DataType.Type.VARCHAR
    if is_text and isinstance(node.this, exp.Cast) and node.this.to.sql("trino") == "TIMESTAMP(3)":
        # In microseconds, which DuckDB writes of any year; there are no finer ones in a file.
        moment = exp.cast(node.this.this, "timestamp")
        return exp.Anonymous(this="strftime", expressions=[moment, exp.Literal.string("%Y-%m-%d %H:%M:%S.%g")])
    return node


# Their rows.


def at_home(command, store, view):
    """A view as the command answers it, each cell of the type that Athena has for it; twice, as JSON and as CSV."""
    sql = f"SELECT * FROM {view['name']}"
    names = [name for name, _ in view["columns"]]
    types = dict(view["columns"])
    records = json.loads(ask(command, "query", "--store", store, "--json", sql))
    rows = [tuple(of_home(record[name], types[name]) for name in names) for record in records]
    header, *lines = read_csv(ask(command, "query", "--store", store, "--csv", sql))
    assert header == names and all(record.keys() == types.keys() for record in records), f"{view['name']}: other columns at home"
    # At home true and false are 1 and 0.
    as_text = [[text(int(cell) if isinstance(cell, bool) else cell) for cell in row] for row in rows]
    assert lines == as_text, f"{view['name']}: other cells as CSV than as JSON"
    return rows


def of_home(cell, kind):
    if kind != "boolean" or cell is None:
        return cell
    assert cell in (0, 1), cell
    return bool(cell)


def read_csv(content):
    return list(csv.reader(io.StringIO(content, newline="")))


def text(cell):
    if isinstance(cell, bool):
        return str(cell).lower()
    return "" if cell is None else str(cell)


def ordered(rows):
    return sorted(rows, key=lambda row: [(cell is not None, str(cell)) for cell in row])


def assert_same(found, expected, what):
    missing, other = [row for row in expected if row not in found], [row for row in found if row not in expected]
    assert found == expected, f"{what}: {len(missing)} rows are missing, such as {str(missing[:2])[:1000]}; {len(other)} are others, such as {str(other[:2])[:1000]}"


def check_views(command, stores, catalogs, engines, expected):
    rows, written_down = 0, {path.stem for path in expected.glob("*.csv")}
    for view in views(catalogs["CSV"]):
        name = view["name"]
        first = ordered(engines["CSV"].query(f"SELECT * FROM {name}")[1])
        for store in stores:
            assert_same(ordered(engines[store].query(f"SELECT * FROM {name}")[1]), first, f"{name} over {store}")
            assert_same(ordered(at_home(command, stores[store], view)), first, f"{name} at home over {store}")
        if name in written_down:
            header, *lines = read_csv((expected / f"{name}.csv").read_text("utf-8"))
            assert header == [column for column, _ in view["columns"]], f"{name}: other columns than written down"
            assert_same(ordered([[text(cell) for cell in row] for row in first]), ordered(lines), f"{name} as written down")
        rows += len(first)
    known = {view["name"] for view in views(catalogs["CSV"])}
    assert written_down <= known, f"there are no views {written_down - known}"
    print(f"{len(known)} views give the same {rows} rows over {', '.join(stores)}, in DuckDB {duckdb.__version__} and at home; {len(written_down)} of them as written down")


def check_questions(command, stores, engines, desk, collection):
    questions = re.findall(r"^## (\d+)\. .*?^```sql\n(.*?)^```\n+^```csv\n(.*?)^```", collection, re.M | re.S)
    assert [number for number, _, _ in questions] == [str(number) for number in range(1, 11)], "there should be ten questions"
    for number, sql, answer in questions:
        assert not refused(sqlglot.parse_one(sql, read="trino")), f"question {number}: not Trino's SQL"
        (desk / "question.sql").write_text(sql, "utf-8")
        for name, store in stores.items():
            header, rows = engines[name].query(sql)
            in_trino = [header] + [[text(cell) for cell in row] for row in rows]
            assert_same(in_trino, read_csv(answer), f"question {number} over {name}")
            at_home = ask(command, "query", "--store", store, "--csv", "--file", desk / "question.sql")
            assert_same(read_csv(at_home), read_csv(answer), f"question {number} at home over {name}")
    print(f"{len(questions)} questions have the answers that they should have, over each store, in DuckDB and at home")


if __name__ == "__main__":
    main(*sys.argv[1:])
