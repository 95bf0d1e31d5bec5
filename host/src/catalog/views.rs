//! The views that answer what people ask, one text for each, rendered for two engines that differ in
//! two fragments. One that needs columns which nobody declares is left out, and so is one whose name a
//! table has.

use super::{DatabaseName, Scope, TableSchema, is_steering, quoted};
use crate::schema::ColumnType::{self, Boolean, Date, Int64, Text};

/// Whose SQL it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect<'d> {
    /// Athena's, which is Trino's: names are qualified with the name of a database.
    Athena(&'d DatabaseName),
    /// SQLite's.
    Sqlite,
}

/// A view.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Its name.
    pub name: String,
    /// What it is: a `SELECT`.
    pub select: String,
    /// 1 if it reads tables alone, 2 if it reads such a view.
    pub step: u8,
    /// Its columns, with what they hold; days and moments are ISO text.
    pub columns: Vec<(String, ColumnType)>,
}

/// Columns that a chart is made of, by table.
const NEEDED: [(&str, &[(&str, ColumnType)]); 5] = [
    (
        "song",
        &[
            ("song_id", Text),
            ("song_name", Text),
            ("album_id", Text),
            ("position", Int64),
            ("popularity", Int64),
            ("isrc", Text),
            ("url", Text),
        ],
    ),
    ("song_artist", &[("song_id", Text), ("artist_id", Text), ("artist_position", Int64)]),
    ("artist", &[("artist_id", Text), ("artist_name", Text)]),
    ("album", &[("album_id", Text), ("name", Text), ("release_date", Date)]),
    (
        "snapshot",
        &[("playlist_name", Text), ("complete", Boolean), ("entries", Int64), ("tracks", Int64)],
    ),
];

/// What a chart has.
const CHART: [(&str, ColumnType); 25] = [
    ("week", Text),
    ("snapshot_date", Text),
    ("playlist_id", Text),
    ("playlist_name", Text),
    ("is_latest", Boolean),
    ("position", Int64),
    ("previous_position", Int64),
    ("change", Int64),
    ("status", Text),
    ("song_name", Text),
    ("artists", Text),
    ("main_artist", Text),
    ("album", Text),
    ("release_date", Text),
    ("release_year", Int64),
    ("weeks_on_chart", Int64),
    ("peak_position", Int64),
    ("popularity", Int64),
    ("song_id", Text),
    ("isrc", Text),
    ("url", Text),
    ("document", Text),
    ("complete", Boolean),
    ("first_song_id", Text),
    ("previous_song_id", Text),
];

/// What is told of a song that left.
const CHART_OUT: [(&str, ColumnType); 17] = [
    ("week", Text),
    ("snapshot_date", Text),
    ("playlist_id", Text),
    ("playlist_name", Text),
    ("song_name", Text),
    ("artists", Text),
    ("main_artist", Text),
    ("album", Text),
    ("last_position", Int64),
    ("peak_position", Int64),
    ("weeks_on_chart", Int64),
    ("first_week", Text),
    ("last_week", Text),
    ("song_id", Text),
    ("isrc", Text),
    ("url", Text),
    ("document", Text),
];

/// The table that has a row for each document.
const DOCUMENTS: &str = "snapshot";
/// The condition for a row of that table to be a snapshot: the playlist is empty, or an entry gave a row.
const IS_SNAPSHOT: &str = "entries = 0 OR tracks > 0";

/// The views over some tables, each after those that it reads.
pub fn views(tables: &[&TableSchema], dialect: Dialect<'_>) -> Vec<View> {
    let mut views: Vec<View> = tables.iter().map(|table| latest(table, tables, dialect)).collect();
    if has_charts(tables) {
        let columns = |columns: &[(&str, ColumnType)]| {
            columns.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect()
        };
        let view = |name: &str, step, text, have: &[(&str, ColumnType)]| View {
            name: name.to_owned(),
            select: chart(text, dialect),
            step,
            columns: columns(have),
        };
        views.push(view("chart", 1, include_str!("views/chart.sql"), &CHART));
        views.push(view("chart_out", 2, include_str!("views/chart_out.sql"), &CHART_OUT));
    }
    let is_taken = |name: &str| tables.iter().any(|table| table.name == name);
    // What leaves reads what stays.
    let no_chart = is_taken("chart");
    views.retain(|view| !is_taken(&view.name) && (!no_chart || view.name != "chart_out"));
    views
}

fn latest(table: &TableSchema, tables: &[&TableSchema], dialect: Dialect<'_>) -> View {
    let columns: Vec<(String, ColumnType)> =
        table.all_columns().map(|(name, kind)| (name.to_owned(), kind)).collect();
    let names: Vec<String> = columns.iter().map(|(name, _)| quoted(name)).collect();
    let declared = || table.columns.iter().map(|column| column.name.clone()).collect();
    let key: Vec<String> = if table.key.is_empty() { declared() } else { table.key.clone() };
    let text = match table.scope {
        Scope::Entity => include_str!("views/entity_latest.sql"),
        Scope::Snapshot => include_str!("views/snapshot_latest.sql"),
    };
    // A snapshot without a row is the latest one all the same, which the table of documents says. Another
    // table without a key may have rows for some documents alone, and says nothing about this one.
    let is_of_documents = |other: &&&TableSchema| {
        other.name == DOCUMENTS && other.scope == Scope::Snapshot && other.key.is_empty()
    };
    let documents = tables.iter().find(is_of_documents).filter(|other| other.name != table.name);
    let own = format!("{{db}}{}{}", quoted(&table.name), snapshots_only(table));
    let documents = documents.map_or(own.clone(), |other| {
        let (name, condition) = (quoted(&other.name), snapshots_only(other));
        format!("{own}\n  UNION\n  SELECT document, playlist_id, extracted_at FROM {{db}}{name}{condition}")
    });
    let select = text
        .replace("{documents}", &documents)
        .replace("{name}", &in_a_comment(&table.name))
        .replace("{table}", &quoted(&table.name))
        .replace("{columns}", &names.join(", "))
        .replace("{key}", &key.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", "))
        .replace("{key_names}", &in_a_comment(&key.join(", ")));
    let name = format!("{}_latest", table.name);
    View { name, select: finished(&select, dialect), step: 1, columns }
}

/// Returns the condition that leaves out documents of which no entry gave a row, for the table of documents.
/// Other tables, and one that doesn't count entries, have none.
fn snapshots_only(table: &TableSchema) -> String {
    let has_count = |name: &str| {
        table.columns.iter().any(|column| column.name == name && column.column_type == Int64)
    };
    let counts = table.name == DOCUMENTS && has_count("entries") && has_count("tracks");
    if counts { format!(" WHERE {IS_SNAPSHOT}") } else { String::new() }
}

/// Returns names without what ends a comment.
fn in_a_comment(names: &str) -> String {
    names.replace(is_steering, " ")
}

/// Whether all is declared that a chart needs, and positions tell the songs of a document apart.
fn has_charts(tables: &[&TableSchema]) -> bool {
    let find = |name: &str| tables.iter().find(|table| table.name == name);
    let has = |(name, columns): &(&str, &[(&str, ColumnType)])| {
        find(name).is_some_and(|table| {
            let declares = |(name, kind): &(&str, ColumnType)| {
                let mut columns = table.columns.iter();
                columns.any(|column| column.name == *name && column.column_type == *kind)
            };
            columns.iter().all(declares)
        })
    };
    NEEDED.iter().all(has) && find("song").is_some_and(|song| song.key == ["position"])
}

fn chart(text: &str, dialect: Dialect<'_>) -> String {
    let week = match dialect {
        Dialect::Athena(_) => {
            "CAST(CAST(date_trunc('week', date(snapshot_date)) AS date) AS varchar)"
        }
        // Six days back, and on to the next Monday.
        Dialect::Sqlite => "date(snapshot_date, '-6 days', 'weekday 1')",
    };
    let artists = match dialect {
        Dialect::Athena(_) => "array_join(array_agg(artist_name ORDER BY artist_position), ', ')",
        Dialect::Sqlite => "group_concat(artist_name, ', ' ORDER BY artist_position)",
    };
    let weekly = include_str!("views/weekly.sql").trim_end();
    let text = text.replace("{weekly}", weekly).replace("{week}", week);
    let text = text.replace("{is_snapshot}", IS_SNAPSHOT);
    finished(&text.replace("{artists}", artists), dialect)
}

fn finished(text: &str, dialect: Dialect<'_>) -> String {
    match dialect {
        Dialect::Sqlite => text.trim_end().replace("{db}", ""),
        // Comments don't survive in Athena's views.
        Dialect::Athena(database) => {
            let lines = text.lines().filter(|line| !line.trim_start().starts_with("--"));
            lines
                .collect::<Vec<_>>()
                .join("\n")
                .replace("{db}", &format!("{}.", quoted(database.as_str())))
        }
    }
}
