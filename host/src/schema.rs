//! What tables look like: the schema that a plugin declares, whether it is a good one, and how it
//! fits the one that a table has.

use std::{collections::BTreeSet, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// The columns that every table begins with. They say which document a row is from.
pub const LINEAGE_COLUMNS: [(&str, ColumnType); 4] = [
    ("document", ColumnType::Text),
    ("playlist_id", ColumnType::Text),
    ("extracted_at", ColumnType::Timestamp),
    ("snapshot_date", ColumnType::Date),
];

/// The column that tables are partitioned by.
pub const PARTITION_COLUMN: &str = "snapshot_year";

/// How long a name may be. Glue allows 255, and views put prefixes and suffixes around it.
const NAME_LENGTH_MAX: usize = 64;
/// How long a column's description may be, in characters: what Glue takes as its comment.
const COLUMN_DESCRIPTION_MAX: usize = 255;
/// How long a table's description may be, in characters: what Glue takes.
const TABLE_DESCRIPTION_MAX: usize = 2048;
/// How many tables one plugin may declare.
const TABLES_MAX: usize = 64;
/// How many faults of a schema are told.
const FAULTS_MAX: usize = 100;
/// How many columns one table may have.
const COLUMNS_MAX: usize = 512;

/// Names of tables that views have.
const RESERVED_NAMES: [&str; 2] = ["chart", "chart_out"];
/// How names of tables must not begin: SQLite keeps the first for itself, and external tables in Athena
/// begin with the second.
const RESERVED_PREFIXES: [&str; 2] = ["sqlite_", "files_"];
/// How names of tables must not end: the view of a table's newest state ends with it.
const RESERVED_SUFFIX: &str = "_latest";

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    /// UTF-8 text.
    Text,
    /// A 64 bit signed integer.
    Int64,
    /// A finite 64 bit float.
    Float64,
    /// True or false.
    Boolean,
    /// A day, kept as days since 1970-01-01.
    Date,
    /// A moment, kept as milliseconds since 1970-01-01T00:00:00Z.
    Timestamp,
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ColumnType::Text => "text",
            ColumnType::Int64 => "int64",
            ColumnType::Float64 => "float64",
            ColumnType::Boolean => "boolean",
            ColumnType::Date => "date",
            ColumnType::Timestamp => "timestamp",
        })
    }
}

/// One column.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What its values are.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    /// Whether a value may be missing.
    pub nullable: bool,
    /// What it holds, for people.
    pub description: String,
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let null = if self.nullable { "" } else { " not null" };
        write!(f, "{} {}{null}", self.name, self.column_type)
    }
}

/// What the newest state of a table goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The newest snapshot.
    Snapshot,
    /// The newest row of each key.
    Entity,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scope::Snapshot => "snapshot",
            Scope::Entity => "entity",
        })
    }
}

/// A table as a plugin declares it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct TableSchema {
    /// Its name.
    pub name: String,
    /// What a row is, for people.
    pub description: String,
    /// What its newest state goes by.
    pub scope: Scope,
    /// The plugin's columns, in order.
    pub columns: Vec<Column>,
    /// The columns that tell the rows of one document apart. None: at most one row a document.
    pub key: Vec<String>,
}

impl fmt::Display for TableSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<_> = self.columns.iter().map(ToString::to_string).collect();
        let TableSchema { name, scope, key, .. } = self;
        write!(f, "{name} ({}; key {}; scope {scope})", columns.join(", "), list(key))
    }
}

impl TableSchema {
    /// The names and types of all columns that its files have: those of the host, then its own.
    pub fn all_columns(&self) -> impl Iterator<Item = (&str, ColumnType)> {
        let own = self.columns.iter().map(|column| (column.name.as_str(), column.column_type));
        LINEAGE_COLUMNS.into_iter().chain(own)
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(" + ") }
}

/// What is wrong with the tables that a plugin declares, all of it; empty if nothing is.
pub fn faults(tables: &[Arc<TableSchema>]) -> Vec<String> {
    let mut faults = Vec::new();
    if tables.is_empty() {
        faults.push("no table is declared; a plugin fills at least one".to_owned());
    }
    if tables.len() > TABLES_MAX {
        faults.push(format!("{} tables are declared; {TABLES_MAX} is the limit", tables.len()));
        return faults;
    }
    let mut names = BTreeSet::new();
    for table in tables {
        if !names.insert(&table.name) {
            faults.push(format!("table `{}` is declared twice", shown(&table.name)));
        }
        table_faults(table, &mut faults);
    }
    cut(&mut faults);
    faults
}

/// Returns what is wrong with the schema of one table; empty if nothing is.
pub fn faults_of(table: &TableSchema) -> Vec<String> {
    let mut faults = Vec::new();
    table_faults(table, &mut faults);
    cut(&mut faults);
    faults
}

/// Cuts a list of faults to a length that an error can bear.
fn cut(faults: &mut Vec<String>) {
    let more = faults.len().saturating_sub(FAULTS_MAX);
    if more > 0 {
        faults.truncate(FAULTS_MAX);
        faults.push(format!("and {more} more"));
    }
}

fn table_faults(table: &TableSchema, faults: &mut Vec<String>) {
    let name = shown(&table.name);
    if let Some(fault) = name_fault(&table.name).or_else(|| reserved_fault(&table.name)) {
        faults.push(format!("table `{name}`: {fault}"));
    }
    if let Some(fault) = description_fault(&table.description, TABLE_DESCRIPTION_MAX) {
        faults.push(format!("table `{name}`: {fault}"));
    }
    if table.columns.is_empty() {
        faults.push(format!("table `{name}` has no columns"));
    }
    if table.columns.len() > COLUMNS_MAX {
        let columns = table.columns.len();
        faults.push(format!("table `{name}` has {columns} columns; {COLUMNS_MAX} is the limit"));
        return;
    }
    let mut names = BTreeSet::new();
    for column in &table.columns {
        let column_name = shown(&column.name);
        if !names.insert(&column.name) {
            faults.push(format!("table `{name}`: column `{column_name}` is declared twice"));
        }
        let reserved = LINEAGE_COLUMNS.iter().any(|(reserved, _)| *reserved == column.name)
            || column.name == PARTITION_COLUMN;
        if reserved {
            faults.push(format!(
                "table `{name}`: the name of column `{column_name}` is reserved, since the host \
                 adds a column of that name to every table"
            ));
        } else if let Some(fault) = name_fault(&column.name) {
            faults.push(format!("table `{name}`, column `{column_name}`: {fault}"));
        }
        if let Some(fault) = description_fault(&column.description, COLUMN_DESCRIPTION_MAX) {
            faults.push(format!("table `{name}`, column `{column_name}`: {fault}"));
        }
    }
    key_faults(table, faults);
}

fn key_faults(table: &TableSchema, faults: &mut Vec<String>) {
    let name = shown(&table.name);
    let (parts, columns) = (table.key.len(), table.columns.len());
    if parts > columns {
        faults.push(format!("table `{name}`: {parts} columns in the key, of {columns} in all"));
        return;
    }
    let mut keys = BTreeSet::new();
    for key in &table.key {
        let shown_key = shown(key);
        if !keys.insert(key) {
            faults.push(format!("table `{name}`: `{shown_key}` is in the key twice"));
        }
        match table.columns.iter().find(|column| column.name == *key) {
            None => {
                faults.push(format!("table `{name}`: key column `{shown_key}` is not declared"))
            }
            Some(column) if column.nullable => faults.push(format!(
                "table `{name}`: key column `{shown_key}` is nullable; a key never is"
            )),
            Some(_) => {}
        }
    }
}

/// A name from a plugin, cut to a length that an error can bear.
fn shown(name: &str) -> String {
    name.chars().take(NAME_LENGTH_MAX + 1).flat_map(char::escape_debug).collect()
}

/// Athena takes lower-case letters, digits and `_`; a leading letter needs no quoting anywhere.
fn name_fault(name: &str) -> Option<String> {
    let fit = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    if !fit {
        return Some(
            "a name that Athena takes has lower-case letters, digits and `_` and begins with a \
             letter"
                .to_owned(),
        );
    }
    (name.len() > NAME_LENGTH_MAX)
        .then(|| format!("its name has {} characters; {NAME_LENGTH_MAX} is the limit", name.len()))
}

/// Returns why a table can't have a name that views, the catalog or SQLite use themselves.
fn reserved_fault(name: &str) -> Option<String> {
    if RESERVED_NAMES.contains(&name) {
        return Some("the name is reserved, since a view has it (rename the table)".to_owned());
    }
    // The name of the table's view must not be reserved either.
    let view = format!("{name}{RESERVED_SUFFIX}");
    if let Some(prefix) = RESERVED_PREFIXES.iter().find(|prefix| view.starts_with(**prefix)) {
        return Some(match name.starts_with(*prefix) {
            true => format!("names that begin with `{prefix}` are reserved (rename the table)"),
            false => format!(
                "the name is reserved, since its view `{view}` would begin with `{prefix}` (rename the table)"
            ),
        });
    }
    name.ends_with(RESERVED_SUFFIX).then(|| {
        format!("names that end with `{RESERVED_SUFFIX}` are reserved for views (rename the table)")
    })
}

fn description_fault(description: &str, characters_max: usize) -> Option<String> {
    let characters = description.chars().count();
    (characters > characters_max).then(|| {
        format!("its description has {characters} characters; {characters_max} is the limit")
    })
}

/// How a declared schema fits the one that a table has.
#[derive(Clone, Debug, PartialEq)]
pub enum Fit {
    /// The same columns.
    Equal,
    /// The declared schema appends nullable columns.
    Appends,
    /// The table has more columns than are declared; they are null from now on.
    Prefix,
    /// Anything else, each difference in words.
    Differs(Vec<String>),
}

/// Compares a declared schema with the one that the table has. Descriptions don't count.
pub fn fit(current: &TableSchema, declared: &TableSchema) -> Fit {
    let mut differences = Vec::new();
    if current.key != declared.key {
        let (was, is) = (list(&current.key), list(&declared.key));
        differences.push(format!("the key was {was} and is {is}"));
    }
    if current.scope != declared.scope {
        let (was, is) = (current.scope, declared.scope);
        differences.push(format!("the scope was {was} and is {is}"));
    }
    for (place, (was, is)) in (1..).zip(current.columns.iter().zip(&declared.columns)) {
        let same =
            (&was.name, was.column_type, was.nullable) == (&is.name, is.column_type, is.nullable);
        if !same {
            differences.push(format!("column {place} was `{was}` and is `{is}`"));
        }
    }
    let appended = declared.columns.get(current.columns.len()..).unwrap_or_default();
    for column in appended.iter().filter(|column| !column.nullable) {
        differences.push(format!("column `{column}` is appended, and only nullable ones can be"));
    }
    let lost = current.columns.get(declared.columns.len()..).unwrap_or_default();
    for column in lost.iter().filter(|column| !column.nullable) {
        differences.push(format!("column `{column}` is gone, and it can't be null"));
    }
    match (differences.is_empty(), appended.is_empty(), lost.is_empty()) {
        (false, _, _) => Fit::Differs(differences),
        (_, false, _) => Fit::Appends,
        (_, _, false) => Fit::Prefix,
        _ => Fit::Equal,
    }
}

/// What another version of a plugin changes in what its tables are, in words; empty if nothing.
pub fn changes(before: &[Arc<TableSchema>], after: &[Arc<TableSchema>]) -> Vec<String> {
    let mut changes = Vec::new();
    for table in after {
        let name = &table.name;
        let Some(was) = before.iter().find(|was| was.name == *name) else {
            changes.push(format!("table `{name}` is new: {table}"));
            continue;
        };
        match fit(was, table) {
            Fit::Equal if was != table => {
                changes.push(format!("table `{name}`: descriptions are others"));
            }
            Fit::Equal => {}
            Fit::Appends => {
                let new = table.columns[was.columns.len()..].iter();
                changes.extend(new.map(|column| format!("table `{name}` gets column `{column}`")));
            }
            Fit::Prefix => {
                let gone = was.columns[table.columns.len()..].iter();
                changes.extend(gone.map(|column| {
                    format!(
                        "table `{name}`: column `{column}` is not filled any more, and stays, empty"
                    )
                }));
            }
            Fit::Differs(differences) => {
                let said = differences.into_iter();
                changes.extend(said.map(|difference| format!("table `{name}`: {difference}")));
            }
        }
    }
    let gone = before.iter().filter(|was| after.iter().all(|table| table.name != was.name));
    changes.extend(gone.map(|was| {
        format!("table `{}` is not filled any more; its rows stay as they are", was.name)
    }));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &str) -> TableSchema {
        let column = |text: &str| Column {
            name: text.trim_end_matches(['!', '#']).to_owned(),
            column_type: if text.contains('#') { ColumnType::Int64 } else { ColumnType::Text },
            nullable: !text.contains('!'),
            description: String::new(),
        };
        TableSchema {
            name: "t".to_owned(),
            description: String::new(),
            scope: Scope::Entity,
            columns: columns.split_whitespace().map(column).collect(),
            key: vec!["id".to_owned()],
        }
    }

    #[test]
    fn a_schema_fits_if_it_is_equal_appends_nullable_columns_or_is_a_prefix() {
        for (current, declared, expected) in [
            ("id! a", "id! a", "Equal"),
            ("id! a", "id! a b c", "Appends"),
            ("id! a b", "id! a", "Prefix"),
            ("id! a", "id! a b!", "column `b text not null` is appended"),
            ("id! a", "id! a#", "column 2 was `a text` and is `a int64`"),
            ("id! a", "id! a!", "column 2 was `a text` and is `a text not null`"),
            ("id! a b", "id! b", "column 2 was `a text` and is `b text`"),
            ("id! b!", "id!", "column `b text not null` is gone"),
        ] {
            let found = format!("{:?}", fit(&table(current), &table(declared)));
            assert!(found.contains(expected), "{current} -> {declared}: {found}");
        }
    }

    #[test]
    fn names_that_views_or_sqlite_use_are_reserved() {
        for name in [
            "chart",
            "chart_out",
            "sqlite",
            "sqlite_x",
            "sqlite_stat1",
            "files",
            "files_song",
            "song_latest",
        ] {
            let table = TableSchema { name: name.to_owned(), ..table("id!") };
            let found = faults_of(&table).join("\n");
            assert!(found.contains("reserved"), "{name}: {found}");
        }
        for name in
            ["ranking", "charts", "song", "snapshot", "latest", "sqlite3", "file", "song_g2"]
        {
            let table = TableSchema { name: name.to_owned(), ..table("id!") };
            assert_eq!(faults_of(&table), Vec::<String>::new(), "{name}");
        }
    }

    #[test]
    fn all_faults_of_a_schema_are_named() {
        let mut bad = table("id document Name 1st snapshot_year a a");
        bad.key.push("missing".to_owned());
        let bad = Arc::new(bad);
        let found = faults(&[Arc::clone(&bad), bad]).join("\n");
        for part in [
            "table `t` is declared twice",
            "column `document` is reserved",
            "column `snapshot_year` is reserved",
            "column `Name`: a name that Athena takes",
            "column `1st`: a name that Athena takes",
            "column `a` is declared twice",
            "key column `id` is nullable",
            "key column `missing` is not declared",
        ] {
            assert!(found.contains(part), "{part} in {found}");
        }
        assert_eq!(faults(&[Arc::new(table("id!"))]), Vec::<String>::new());
        assert_eq!(faults(&[]).len(), 1);
    }
}
