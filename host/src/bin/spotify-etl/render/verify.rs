//! What a verification found.

use std::fmt::Write as _;

use spotify_etl::{
    config::Bytes,
    pipeline::verify::report::{Kind, Outcome, Reported, Severity, VerifyReport},
};

use super::{LINES_MAX, counted, documents};

/// What a verification found, on a screen: problems, then notes, each kind by itself.
pub fn verified(report: &VerifyReport) -> String {
    let mut text = String::new();
    if let Some(resumed) = &report.resumed {
        let (checked, began) = (resumed.checked, &resumed.started_at);
        let _ = writeln!(text, "continued the pass of {began}: {checked} checked before\n");
    }
    for severity in [Severity::Problem, Severity::Note] {
        let mut findings: Vec<&Reported> =
            report.findings.iter().filter(|finding| finding.severity == severity).collect();
        findings.sort_by_key(|finding| finding.kind);
        for some in findings.chunk_by(|one, next| one.kind == next.kind) {
            group(&mut text, some[0].kind, severity, some);
        }
    }
    let VerifyReport { objects, objects_read, bytes_read, .. } = report;
    let _ = writeln!(
        text,
        "verified {} of {}: {objects_read} read, {}",
        counted(*objects, "object"),
        documents(report.documents),
        Bytes(*bytes_read)
    );
    let repaired = match report.repaired {
        0 => String::new(),
        repaired => format!("{repaired} repaired, "),
    };
    let (problems, notes) = (counted(report.problems, "problem"), counted(report.notes, "note"));
    match report.problems {
        0 => _ = write!(text, "✓ {repaired}no problem left, {notes}"),
        _ => _ = write!(text, "✗ {repaired}{problems} left, {notes}"),
    }
    text
}

fn group(text: &mut String, kind: Kind, severity: Severity, findings: &[&Reported]) {
    let (mark, what) = match severity {
        Severity::Problem => ("✗", "problem"),
        Severity::Note => ("!", "note"),
    };
    let _ = writeln!(text, "{}: {}", kind.name(), counted(findings.len(), what));
    for finding in findings.iter().take(LINES_MAX) {
        let mark = if finding.repair == Some(Outcome::Repaired) { "✓" } else { mark };
        let _ = writeln!(text, "  {mark} {}\n      {}", finding.key, finding.message);
        match &finding.repair {
            Some(Outcome::Repaired) => {
                let _ = writeln!(text, "      repaired");
                continue;
            }
            Some(Outcome::NotRepaired { why }) => {
                let _ = writeln!(text, "      not repaired: {why}");
            }
            None => {}
        }
        for (number, command) in finding.commands.iter().enumerate() {
            let or = if number > 0 { "or: " } else { "" };
            let _ = writeln!(text, "      {or}{command}");
        }
    }
    if findings.len() > LINES_MAX {
        let more = findings.len() - LINES_MAX;
        let _ = writeln!(text, "    ... and {more} more, which --json lists");
    }
    text.push('\n');
}
