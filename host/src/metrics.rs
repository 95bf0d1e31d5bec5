//! What a run did, as numbers: lines of JSON in CloudWatch's embedded metric format, which become
//! metrics when a function logs them.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::{
    pipeline::report::RunReport,
    status::{PlaylistStatus, Status},
};

/// The namespace of all metrics.
const NAMESPACE: &str = "spotify-etl";

/// The numbers of a run: in total, and by table and plugin.
pub fn of_run(report: &RunReport, now: OffsetDateTime) -> Vec<Value> {
    let documents = &report.documents;
    let skips: usize = documents.iter().flat_map(|document| document.skipped.values()).sum();
    let warnings = documents.iter().map(|document| document.warnings.len()).sum::<usize>()
        + report.extracts.iter().map(|extract| extract.warnings.len()).sum::<usize>()
        + report.warnings.len();
    let total = line(
        now,
        &[("Command", &report.command)],
        &[
            ("Documents", "Count", documents.len() as f64),
            ("Playlists", "Count", report.extracts.len() as f64),
            ("Failures", "Count", report.problems().count() as f64),
            ("Warnings", "Count", warnings as f64),
            ("Skips", "Count", skips as f64),
            ("Duration", "Milliseconds", report.milliseconds as f64),
        ],
        &[("run_id", &report.run_id)],
    );
    let tables = documents.iter().flat_map(|document| &document.tables).map(|table| {
        line(
            now,
            &[("Table", &table.table), ("Plugin", &table.plugin)],
            &[("Rows", "Count", table.rows as f64)],
            &[("run_id", &report.run_id), ("key", &table.key)],
        )
    });
    std::iter::once(total).chain(tables).collect()
}

/// The numbers of a store: how old each playlist's last snapshot is, how many documents wait, how
/// long the login lasts.
pub fn of_status(status: &Status, now: OffsetDateTime) -> Vec<Value> {
    let mut whole = vec![
        ("WaitingDocuments", "Count", status.waiting.len() as f64),
        ("FailedDocuments", "Count", status.failed.len() as f64),
    ];
    if let Some(days) = status.login.as_ref().and_then(|login| login.days_left) {
        whole.push(("ConsentDaysLeft", "Count", days as f64));
    }
    let playlists = status.playlists.iter().map(|playlist| {
        let PlaylistStatus { playlist_id, age_days, .. } = playlist;
        let age = [("SnapshotAgeDays", "Count", *age_days as f64)];
        line(now, &[("Playlist", playlist_id)], &age, &[])
    });
    let whole = line(now, &[("Store", &status.store)], &whole, &[]);
    std::iter::once(whole).chain(playlists).collect()
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
    let names: Vec<&str> = dimensions.iter().map(|(name, _)| *name).collect();
    let units: Vec<Value> =
        metrics.iter().map(|(name, unit, _)| json!({ "Name": name, "Unit": unit })).collect();
    let timestamp = now.unix_timestamp_nanos() / 1_000_000;
    let metrics = json!([{ "Namespace": NAMESPACE, "Dimensions": [names], "Metrics": units }]);
    members.insert(
        "_aws".to_owned(),
        json!({ "Timestamp": timestamp as i64, "CloudWatchMetrics": metrics }),
    );
    Value::Object(members)
}
