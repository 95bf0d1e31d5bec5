//! How a store is doing.

use std::fmt::Write as _;

use spotify_etl::{
    doctor::LOGIN_DAYS_LOW,
    pipeline::{
        failed_start::NOTHING_TRIED,
        report::{PluginReport, PluginStatus, ProblemKind},
        runs::RunSummary,
        strays::{Incomplete, Strays},
        verify::mend::{Step, Way},
    },
    remedy::{Remedies, quoted},
    spotify::login_command,
    status::{Attention, ExtractFailure, LoginStatus, PlaylistStatus, Status, Stuck},
    store::StoreAddress,
};

use super::{LINES_MAX, documents, one_line, plain_table, right, trimmed};

/// How a store is doing, on a screen.
pub fn status(status: &Status, store: &StoreAddress) -> String {
    let (name, root) = (store.to_string(), status.store.as_str());
    let (store, remedies) = (quoted(&name), Remedies { root, store: &name });
    let mut text = format!("store {root}\n\n");
    playlists(&mut text, status, remedies);
    stuck(
        &mut text,
        "waiting",
        (&status.waiting, status.waiting_count),
        &|document| match document.kind {
            Some(ProblemKind::NoRows) => remedies.of_no_rows(&document.key),
            None => remedies.of_waiting(&document.key, document.why.as_deref().unwrap_or_default()),
        },
    );
    stuck(
        &mut text,
        "failed: look at it, then repair it and transform it, or delete it",
        (&status.failed, status.failed_count),
        &|document| remedies.of_failed(&document.key),
    );
    strays(&mut text, status, remedies);
    for report in &status.unread_reports {
        let _ = writeln!(text, "! {} {}\n", report.key, report.why());
    }
    if status.plugins.is_empty() {
        let _ = writeln!(
            text,
            "✗ no plugins\n      spotify-etl init --store {store} --from FOLDER_WITH_PLUGINS\n"
        );
    } else {
        let _ = writeln!(text, "plugins");
        for plugin in &status.plugins {
            plugin_line(&mut text, plugin, remedies);
        }
        text.push('\n');
    }
    for warning in status.ignored_files.warnings() {
        let _ = writeln!(text, "! {warning}\n");
    }
    if let Some(login) = &status.login {
        login_line(&mut text, login);
    }
    last_run(&mut text, status, &store);
    attention(&mut text, &status.attention);
    text
}

fn last_run(text: &mut String, status: &Status, store: &str) {
    let Some(run) = &status.last_run else {
        text.push_str("no runs yet");
        return;
    };
    let RunSummary { run_id, started_at, command, .. } = run;
    let ended = match (&run.unread, run.exit_status) {
        (Some(why), _) => {
            let _ = write!(text, "! last run {run_id}: its report {why}");
            return;
        }
        (None, Some(0)) => {
            let _ = write!(text, "last run {started_at}, {command}: all done");
            return;
        }
        (None, Some(NOTHING_TRIED)) => match &run.problem {
            Some(problem) => format!("could not start: {problem}"),
            None => "could not start".to_owned(),
        },
        (None, _) => "not all done".to_owned(),
    };
    let _ = write!(
        text,
        "✗ last run {started_at}, {command}: {ended}\n      spotify-etl runs --store {store} {run_id}"
    );
}

/// Lists everything that the exit status of 1 stands for.
fn attention(text: &mut String, attention: &[Attention]) {
    if attention.is_empty() {
        return;
    }
    text.push_str("\n\nneeds attention");
    for one in attention.iter().take(LINES_MAX) {
        let _ = write!(text, "\n  ✗ {}", one_line_of(&one.message));
    }
    if attention.len() > LINES_MAX {
        let _ = write!(text, "\n    ... and {} more", attention.len() - LINES_MAX);
    }
}

/// Cuts a message that is shown in full elsewhere on the screen.
fn one_line_of(message: &str) -> String {
    const LENGTH_MAX: usize = 160;
    match message.char_indices().nth(LENGTH_MAX) {
        Some((end, _)) => format!("{} ...", &message[..end]),
        None => message.to_owned(),
    }
}

fn playlists(text: &mut String, status: &Status, remedies: Remedies<'_>) {
    if let Some(problem) = &status.list_problem {
        let _ = writeln!(text, "✗ {problem}\n");
    }
    if status.playlists.iter().all(|playlist| playlist.snapshots == 0) {
        text.push_str("no playlist has tables yet\n");
        if status.playlists.is_empty() && status.waiting.is_empty() {
            let store = quoted(remedies.store);
            let _ = writeln!(text, "      spotify-etl run --store {store} --from playlist.json");
            let _ = writeln!(text, "      spotify-etl playlist add --store {store} ADDRESS");
        }
        text.push('\n');
    }
    if status.playlists.is_empty() {
        return;
    }
    let mut table = plain_table();
    table.set_header(["playlist", "id", "snapshots", "last", "age"]);
    for playlist in &status.playlists {
        table.add_row([
            one_line(playlist.name.as_deref().unwrap_or_default()),
            playlist.playlist_id.clone(),
            playlist.snapshots.to_string(),
            playlist.last_extracted_at.clone().unwrap_or_else(|| "never read".to_owned()),
            age(playlist, status.age_days_max),
        ]);
    }
    right(&mut table, 2);
    let _ = writeln!(text, "{}", trimmed(&table));
    for playlist in &status.playlists {
        playlist_remarks(text, playlist, remedies);
    }
    text.push('\n');
}

/// Says what is wrong with a playlist of the table above, with the commands that help.
fn playlist_remarks(text: &mut String, playlist: &PlaylistStatus, remedies: Remedies<'_>) {
    if let Some(newest) = &playlist.newest_in_future {
        let _ = writeln!(text, "      {}", remedies.command("explain", newest));
    }
    let id = &playlist.playlist_id;
    if let Some(ExtractFailure { age_days, problem, .. }) = &playlist.last_failure {
        let when = if *age_days > 0 { format!("{} ago", days(*age_days)) } else { days(0) };
        let _ = writeln!(text, "  ✗ {id}: the last extraction failed {when}: {problem}");
    }
    let is_never_read = playlist.listed.is_some() && playlist.snapshots == 0;
    if playlist.last_failure.is_some() || is_never_read {
        let _ = writeln!(text, "      {}", remedies.command("run", id));
    }
}

/// How old a playlist's last snapshot is, and what is wrong with it.
fn age(playlist: &PlaylistStatus, age_days_max: i64) -> String {
    let PlaylistStatus { snapshots, in_future, .. } = playlist;
    let mut parts = Vec::new();
    match playlist.age_days {
        None => {}
        Some(_) if in_future == snapshots => parts.push("! dated in the future".to_owned()),
        Some(age) if playlist.is_old(age_days_max) => parts.push(format!("✗ {}, old", days(age))),
        Some(age) => parts.push(days(age)),
    }
    if *in_future > 0 && in_future != snapshots {
        parts.push(format!("! {in_future} dated in the future"));
    }
    parts.extend(playlist.incomplete.map(|incomplete| format!("! {incomplete}")));
    if playlist.listed.is_some() && *snapshots == 0 {
        parts.push("✗".to_owned());
    }
    if playlist.last_failure.is_some() {
        parts.push("✗ failed".to_owned());
    }
    parts.join("; ")
}

fn plugin_line(text: &mut String, plugin: &PluginReport, remedies: Remedies<'_>) {
    let version = plugin.version.as_deref().unwrap_or("-");
    let sha256 = plugin.sha256.get(..12).unwrap_or_default();
    let tables = plugin.tables.join(", ");
    let name = &plugin.name;
    let state = match plugin.status {
        PluginStatus::Active => format!("✓ {name} {version} ({sha256}): {tables}"),
        PluginStatus::Fallback => {
            format!("! {name} {version} ({sha256}) from its history: {tables}")
        }
        PluginStatus::Refused => format!("✗ {name} ({sha256})"),
        PluginStatus::Missing => format!("✗ {name} (no file): {tables}"),
    };
    let _ = writeln!(text, "  {state}");
    if let Some(problem) = &plugin.problem {
        let _ = writeln!(text, "      {problem}");
        // A file that is missing can't be checked; the problem says what to do.
        if plugin.status != PluginStatus::Missing {
            let _ = writeln!(text, "      {}", remedies.of_plugin(name));
        }
    }
}

fn login_line(text: &mut String, login: &LoginStatus) {
    let (who, again) = (one_line(&login.who()), login_command(&login.location));
    let _ = match login.days_left {
        Some(..0) => writeln!(text, "✗ login of {who}: the consent ended\n      {again}"),
        Some(days @ ..=LOGIN_DAYS_LOW) => {
            writeln!(text, "! login of {who}: {days} days of consent left\n      {again}")
        }
        Some(days) => writeln!(text, "login of {who}: {days} days of consent left"),
        None => writeln!(text, "login of {who}: when the consent ends is not known"),
    };
    text.push('\n');
}

fn stuck(
    text: &mut String,
    what: &str,
    (documents, count): (&[Stuck], usize),
    commands: &dyn Fn(&Stuck) -> Vec<String>,
) {
    if documents.is_empty() {
        return;
    }
    let _ = writeln!(text, "{count} {what}");
    for document in documents.iter().take(LINES_MAX) {
        let _ = writeln!(text, "  ✗ {}", document.key);
        if let Some(why) = &document.why {
            let _ = writeln!(text, "      {why}");
        }
        for command in commands(document) {
            let _ = writeln!(text, "      {command}");
        }
    }
    if count > LINES_MAX {
        let _ = writeln!(text, "    ... and {} more", count - LINES_MAX);
    }
    text.push('\n');
}

/// What somebody deleted by hand, with the commands that repair it.
fn strays(text: &mut String, status: &Status, remedies: Remedies<'_>) {
    let found = &status.strays;
    if let Some(problem) = &found.problem {
        let _ = writeln!(text, "! rows without a raw document were not searched for: {problem}\n");
        return;
    }
    without_raw(text, found, remedies);
    incomplete(text, status, remedies);
    if found.incomplete_unknown > 0 {
        let _ = writeln!(
            text,
            "! {} more documents lack a file of some table; whether one was deleted, `verify` finds out\n      {}\n",
            found.incomplete_unknown,
            remedies.command("verify", ""),
        );
    }
}

fn without_raw(text: &mut String, found: &Strays, remedies: Remedies<'_>) {
    let count = found.without_raw_count;
    if count == 0 {
        return;
    }
    let _ = writeln!(text, "{}: rows or lineage, but no raw document", documents(count));
    if found.foreign_waiting > 0 {
        let _ = writeln!(
            text,
            "  transform first: the rows may be of files that wait under other names\n      {}",
            remedies.command("transform", ""),
        );
    }
    for document in found.without_raw.iter().take(LINES_MAX) {
        let _ = writeln!(text, "  ✗ {document}\n      {}", remedies.delete(document));
    }
    if count > LINES_MAX {
        let _ = writeln!(text, "    ... and {} more", count - LINES_MAX);
    }
    text.push('\n');
}

fn incomplete(text: &mut String, status: &Status, remedies: Remedies<'_>) {
    let all = &status.strays.incomplete;
    if all.is_empty() {
        return;
    }
    let _ = writeln!(text, "{}: processed, but files are missing", documents(all.len()));
    for Incomplete { document, missing } in all.iter().take(LINES_MAX) {
        let _ = writeln!(text, "  ✗ {document}: {}", missing.join(", "));
        if let Ok(id) = document.parse() {
            let way = Way::from(Step::replay(&id));
            let _ = writeln!(text, "      {}", way.command(remedies));
        }
    }
    if all.len() > LINES_MAX {
        let _ = writeln!(text, "    ... and {} more", all.len() - LINES_MAX);
    }
    text.push('\n');
}

fn days(days: i64) -> String {
    match days {
        ..=0 => "today".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

/// The newest runs.
pub fn runs(runs: &[RunSummary]) -> String {
    if runs.is_empty() {
        return "no runs yet".to_owned();
    }
    let mut table = plain_table();
    table.set_header(["run", "what", "documents", "seconds", "ended"]);
    for run in runs {
        table.add_row([
            run.run_id.clone(),
            run.command.clone(),
            run.documents.to_string(),
            format!("{:.2}", run.milliseconds as f64 / 1000.0),
            match (&run.unread, run.exit_status) {
                (Some(why), _) => why.clone(),
                (None, Some(0)) => "all done".to_owned(),
                (None, Some(NOTHING_TRIED)) => "could not start".to_owned(),
                (None, _) => "not all done".to_owned(),
            },
        ]);
    }
    right(&mut table, 2);
    right(&mut table, 3);
    trimmed(&table)
}
