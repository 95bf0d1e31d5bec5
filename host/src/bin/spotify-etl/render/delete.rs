//! What is to be deleted, and what was.

use std::fmt::Write as _;

use spotify_etl::{
    pipeline::report::{DeleteReport, DocumentReport, DocumentStatus, RunReport},
    remedy::quoted,
};

use super::{LINES_MAX, counted};

/// Shows what would be deleted, and asks whether it should be.
pub fn deletion_question(documents: &[DocumentReport], report: &DeleteReport) -> String {
    let mut text = String::new();
    for document in documents.iter().take(LINES_MAX) {
        let _ = writeln!(text, "{}", line(document));
    }
    more(&mut text, documents.len());
    let _ = write!(text, "delete {}?", numbers(report));
    text
}

/// What a run deleted.
pub fn deletion(text: &mut String, report: &RunReport, deleted: &DeleteReport) {
    for document in report.documents.iter().take(LINES_MAX) {
        let mark = if document.problems.is_empty() { "✓" } else { "✗" };
        let _ = writeln!(text, "{mark} {}", line(document));
        for problem in &document.problems {
            let _ = writeln!(text, "  ✗ {problem}");
        }
    }
    more(text, report.totals.documents.count);
    let verb = if deleted.dry_run { "would be deleted" } else { "deleted" };
    let _ = writeln!(text, "{verb}: {}", numbers(deleted));
    if !deleted.files_by_table.is_empty() {
        let tables = deleted.files_by_table.iter();
        let tables: Vec<_> = tables.map(|(table, files)| format!("{table} {files}")).collect();
        let _ = writeln!(text, "  files by table: {}", tables.join(", "));
    }
    if let Some(playlist) = deleted.playlist_id.as_ref().filter(|_| deleted.is_listed) {
        let store = quoted(report.store.trim_end_matches('/'));
        let _ = writeln!(
            text,
            "! playlist {playlist} is still on the list, so the next run extracts it again\n      spotify-etl playlist remove --store {store} {playlist}"
        );
    }
    if deleted.dry_run {
        let _ = writeln!(text, "nothing was deleted");
    }
    text.push('\n');
}

fn line(document: &DocumentReport) -> String {
    let name = document.document.as_deref().unwrap_or(&document.key);
    let objects = counted(document.deleted.len(), "object");
    match document.status {
        DocumentStatus::Deleted => format!("{name}: {objects} deleted"),
        DocumentStatus::NotDeleted => format!("{name}: not deleted, except {objects}"),
        DocumentStatus::Gone => format!("{name}: not found"),
        _ => format!("{name}: {objects}"),
    }
}

fn numbers(report: &DeleteReport) -> String {
    let DeleteReport { documents, raw_objects, table_files, lineage_records, .. } = report;
    format!(
        "{} ({}, {}, {})",
        counted(*documents, "document"),
        counted(*raw_objects, "raw object"),
        counted(*table_files, "table file"),
        counted(*lineage_records, "lineage record"),
    )
}

fn more(text: &mut String, count: usize) {
    if count > LINES_MAX {
        let _ = writeln!(text, "    ... and {} more", count - LINES_MAX);
    }
}
