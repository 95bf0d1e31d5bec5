//! What went wrong in a run, one by one: what it is about, the sentence, and the command that helps.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    pipeline::report::{Action, DocumentStatus, ProblemKind, RunReport},
    remedy::Remedies,
    topic::Notice,
};

/// So many are told of; the others are in the report.
const TOLD_MAX: usize = 20;

/// The limits that a function derives from its memory.
const OF_MEMORY: [&str; 5] = [
    "document_bytes",
    "guest_memory_bytes",
    "output_bytes",
    "compile_memory_bytes",
    "compile_cpu_milliseconds",
];

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// The playlist, if it is about one.
    pub playlist: Option<String>,
    /// The key of the document, if it is about one.
    pub key: Option<String>,
    /// What can be done.
    pub action: Action,
    /// What is wrong and what to do, in words.
    pub sentence: String,
    /// The commands that help.
    pub commands: Vec<String>,
}

/// Everything that went wrong in a run.
pub fn troubles(report: &RunReport, remedies: Remedies<'_>) -> Vec<Trouble> {
    let RunReport { command, problems, extracts, plugins, documents, .. } = report;
    let general = problems.iter().map(|problem| Trouble {
        playlist: None,
        key: None,
        action: problem.action,
        sentence: problem.to_string(),
        commands: vec![match command.as_str() {
            "check" => remedies.command("status", ""),
            command => remedies.command(command, ""),
        }],
    });
    let extracts = extracts.iter().filter_map(|extract| {
        let problem = extract.problem.as_ref()?;
        let name = extract.playlist_name.as_deref().or(extract.label.as_deref());
        Some(Trouble {
            playlist: Some(named(name, &extract.playlist_id)),
            key: None,
            action: problem.action,
            sentence: problem.to_string(),
            commands: vec![remedies.command("extract", &extract.playlist_id)],
        })
    });
    let plugins = plugins.iter().filter_map(|plugin| {
        let problem = plugin.problem.as_ref()?;
        let stands_in = match (&plugin.refused_sha256, &plugin.version) {
            (Some(_), Some(version)) => {
                format!("; version {version} from its history stands in for it")
            }
            _ => String::new(),
        };
        Some(Trouble {
            playlist: None,
            key: None,
            action: problem.action,
            sentence: format!("{problem}{stands_in}"),
            commands: vec![remedies.of_plugin(&plugin.name)],
        })
    });
    let of_documents = documents.iter().flat_map(|document| {
        document.problems.iter().map(move |problem| {
            let key = document.now_at.as_ref().unwrap_or(&document.key);
            let sentence = problem.to_string();
            Trouble {
                playlist: document.playlist_name.clone(),
                action: problem.action,
                commands: match document.status {
                    DocumentStatus::Failed => remedies.of_failed(key),
                    _ if problem.kind == Some(ProblemKind::NoRows) => remedies.of_no_rows(key),
                    _ => remedies.of_waiting(key, &sentence),
                },
                key: Some(key.clone()),
                sentence,
            }
        })
    });
    general.chain(extracts).chain(plugins).chain(of_documents).collect()
}

/// How many problems there are that a report doesn't list, by what can be done about them.
pub fn unlisted(report: &RunReport) -> BTreeMap<Action, usize> {
    let mut more = report.totals.documents.problems.clone();
    for problem in report.documents.iter().flat_map(|document| &document.problems) {
        if let Some(count) = more.get_mut(&problem.action) {
            *count = count.saturating_sub(1);
        }
    }
    more
}

/// A sentence as far as a mail needs it: the report has all of it.
fn cut(sentence: &str) -> String {
    const LENGTH_MAX: usize = 2_000;
    match sentence.char_indices().nth(LENGTH_MAX) {
        Some((end, _)) => format!("{} ... (cut off; all of it is in the report)", &sentence[..end]),
        None => sentence.to_owned(),
    }
}

fn named(name: Option<&str>, id: &str) -> String {
    name.map_or_else(|| id.to_owned(), |name| format!("{name} ({id})"))
}

/// Writes the alert about a run, if there are problems or warnings. `more` is the number of problems that the
/// report doesn't list.
pub fn notice(
    report: &RunReport,
    troubles: &[Trouble],
    more: usize,
    remedies: Remedies<'_>,
) -> Option<Notice> {
    let count = troubles.len() + more;
    let what = match (count, report.warnings.len()) {
        (0, 0) => return None,
        (0, 1) => "a warning".to_owned(),
        (0, warnings) => format!("{warnings} warnings"),
        (1, _) => "a problem".to_owned(),
        (troubles, _) => format!("{troubles} problems"),
    };
    let mut text = String::new();
    for trouble in troubles.iter().take(TOLD_MAX) {
        let about = [trouble.playlist.as_deref(), trouble.key.as_deref()];
        let about = about.into_iter().flatten().collect::<Vec<_>>().join(", ");
        let colon = if about.is_empty() { "" } else { ": " };
        let _ = writeln!(text, "{about}{colon}{}", cut(&trouble.sentence));
        for command in &trouble.commands {
            let _ = writeln!(text, "    {command}");
        }
        text.push('\n');
    }
    let told = troubles.len().min(TOLD_MAX);
    if count > told {
        let _ = writeln!(text, "... and {} more, in the report\n", count - told);
    }
    for warning in report.warnings.iter().take(TOLD_MAX) {
        let _ = writeln!(text, "{}\n", cut(warning));
    }
    if text.contains("--limit ") {
        text.push_str(
            "a function's limits are set with SPOTIFY_ETL_LIMIT, as NAME=VALUE,NAME=VALUE\n\n",
        );
    }
    if OF_MEMORY.iter().any(|name| text.contains(&format!("--limit {name}="))) {
        let _ = writeln!(
            text,
            "{} follow from the function's memory: give the function more memory rather than set them\n",
            OF_MEMORY.join(", ")
        );
    }
    let RunReport { run_id, command, store, .. } = report;
    let _ = writeln!(text, "in run {run_id} ({command}) of {store}");
    let _ = writeln!(text, "    {}", remedies.command("runs", run_id));
    Some(Notice { subject: format!("spotify-etl: {what} in {store}"), text })
}

/// Whether a problem is told of: what comes again by itself only once it has come again in vain.
pub fn is_told(action: Action, tries: Option<u32>) -> bool {
    const TRIES: u32 = 3;
    action != Action::Retry || tries.is_none_or(|tries| tries >= TRIES)
}
