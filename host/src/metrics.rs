//! What a run did, as numbers: lines of JSON in CloudWatch's embedded metric format, which become
//! metrics when a function logs them.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::{
    pipeline::report::RunReport,
    status::{LoginStatus, PlaylistStatus, Status},
};

/// The namespace of all metrics.
const NAMESPACE: &str = "spotify-etl";

/// The numbers of a run: in total, and by table and plugin.
pub fn of_run(report: &RunReport, now: OffsetDateTime) -> Vec<Value> {
    let documents = &report.totals.documents;
    let skips: usize = documents.skipped.values().sum();
    let warnings = documents.warnings
        + report.extracts.iter().map(|extract| extract.warnings.len()).sum::<usize>()
        + report.warnings.len();
    let failures = report.problem_count();
    let store = ("Store", report.store.as_str());
    let total = line(
        now,
        &[store, ("Command", &report.command)],
        &[
            ("Documents", "Count", documents.count as f64),
            ("Playlists", "Count", report.extracts.len() as f64),
            ("Failures", "Count", failures as f64),
            ("Warnings", "Count", warnings as f64),
            ("Skips", "Count", skips as f64),
            ("Duration", "Milliseconds", report.milliseconds as f64),
        ],
        &[("run_id", &report.run_id)],
    );
    std::iter::once(total).chain(of_tables(report, now)).collect()
}

/// The rows of each table: of each listed document, and of all others together.
fn of_tables(report: &RunReport, now: OffsetDateTime) -> Vec<Value> {
    let store = ("Store", report.store.as_str());
    let rows = |table: &str, plugin: &str, rows: u64, key: Option<&str>| {
        let key = key.map(|key| ("key", key));
        let properties: Vec<_> =
            [("run_id", report.run_id.as_str())].into_iter().chain(key).collect();
        let dimensions = [store, ("Table", table), ("Plugin", plugin)];
        line(now, &dimensions, &[("Rows", "Count", rows as f64)], &properties)
    };
    let mut listed: BTreeMap<&str, (u64, usize)> = BTreeMap::new();
    let mut lines = Vec::new();
    for table in report.documents.iter().flat_map(|document| &document.tables) {
        let (sum, files) = listed.entry(&table.table).or_default();
        (*sum, *files) = (*sum + table.rows, *files + 1);
        lines.push(rows(&table.table, &table.plugin, table.rows, Some(&table.key)));
    }
    for (name, totals) in &report.totals.documents.tables {
        let (sum, files) = listed.get(name.as_str()).copied().unwrap_or_default();
        if totals.files > files {
            let others = totals.rows.saturating_sub(sum);
            lines.push(rows(name, &totals.plugin, others, None));
        }
    }
    lines
}

/// The numbers of a store: how many documents wait, and how old the last snapshot is of each of the
/// playlists that are looked after, and of the one that is worst off.
pub fn of_store(
    status: &Status,
    looked_after: &[&PlaylistStatus],
    now: OffsetDateTime,
) -> Vec<Value> {
    let store = ("Store", status.store.as_str());
    let mut whole = vec![
        ("WaitingDocuments", "Count", status.waiting_count as f64),
        ("FailedDocuments", "Count", status.failed_count as f64),
    ];
    let days = |playlist: &&PlaylistStatus| playlist.days_without_snapshot();
    let oldest = looked_after.iter().filter_map(days).max();
    whole.extend(oldest.map(|days| ("SnapshotAgeDays", "Count", days as f64)));
    let playlists = looked_after.iter().filter_map(|playlist| {
        let age = [("SnapshotAgeDays", "Count", days(playlist)? as f64)];
        Some(line(now, &[store, ("Playlist", &playlist.playlist_id)], &age, &[]))
    });
    std::iter::once(line(now, &[store], &whole, &[])).chain(playlists).collect()
}

/// How long a login lasts, where that is known.
pub fn of_login(login: &LoginStatus, store: &str, now: OffsetDateTime) -> Option<Value> {
    let days = [("ConsentDaysLeft", "Count", login.days_left? as f64)];
    Some(line(now, &[("Store", store)], &days, &[]))
}

fn line(
    now: OffsetDateTime,
    dimensions: &[(&str, &str)],
    metrics: &[(&str, &str, f64)],
    properties: &[(&str, &str)],
) -> Value {
    let mut members = Map::new();
    for (name, value) in dimensions.iter().chain(properties) {
        members.insert((*name).to_owned(), json!(value));
    }
    for (name, _, value) in metrics {
        members.insert((*name).to_owned(), json!(value));
    }
    // By all dimensions, and in total by the first, which is the store.
    let names: Vec<&str> = dimensions.iter().map(|(name, _)| *name).collect();
    let sets: Vec<&[&str]> =
        if names.contains(&"Command") { vec![&names[..1], &names] } else { vec![&names] };
    let units: Vec<Value> =
        metrics.iter().map(|(name, unit, _)| json!({ "Name": name, "Unit": unit })).collect();
    let timestamp = now.unix_timestamp_nanos() / 1_000_000;
    let metrics = json!([{ "Namespace": NAMESPACE, "Dimensions": sets, "Metrics": units }]);
    members.insert(
        "_aws".to_owned(),
        json!({ "Timestamp": timestamp as i64, "CloudWatchMetrics": metrics }),
    );
    Value::Object(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{
        listing::Listing,
        report::{DocumentReport, DocumentStatus, TableReport},
    };

    #[test]
    fn metrics_count_documents_that_a_report_does_not_list() {
        const COUNT: usize = 2_500;
        let mut documents = Listing::default();
        for number in 0..COUNT {
            let mut document = DocumentReport::new(format!("raw_data/to_process/{number}.json"));
            document.status = DocumentStatus::Stored;
            document.entries = 3;
            document.skipped.insert("no_payload".to_owned(), 2);
            document.tables.push(TableReport {
                table: "song".to_owned(),
                plugin: "song".to_owned(),
                rows: 1,
                keyed: true,
                key: format!("transformed_data/song_data/snapshot_year=2026/{number}.csv"),
                also_at: Vec::new(),
                line_breaks_replaced: 0,
            });
            documents.push(document);
        }
        let mut report = RunReport::default();
        report.add_documents(documents);
        assert!(report.documents.len() < COUNT);
        let lines = of_run(&report, OffsetDateTime::UNIX_EPOCH);
        assert_eq!(
            (&lines[0]["Documents"], &lines[0]["Skips"]),
            (&json!(2_500.0), &json!(5_000.0))
        );
        assert_eq!(lines.len(), 1 + report.documents.len() + 1);
        let rows: f64 = lines[1..].iter().map(|line| line["Rows"].as_f64().unwrap()).sum();
        assert_eq!(rows, 2_500.0);
    }
}
