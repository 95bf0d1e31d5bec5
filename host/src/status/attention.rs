//! What needs a person's attention: the one list that `status` prints, counts for its exit status and gives to
//! scripts.

use serde::Serialize;

use super::{PlaylistStatus, Status};
use crate::doctor::LOGIN_DAYS_LOW;

/// Something that a person should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attention {
    /// What it is.
    pub cause: Cause,
    /// What it is about, where there is a name: a playlist's id, a plugin, a file, a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// In words.
    pub message: String,
}

/// Why a person should look at something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A playlist of the list has no snapshot.
    NeverRead,
    /// The last extraction of a playlist of the list failed.
    ExtractionFailed,
    /// The last snapshot of a playlist of the list is old.
    Old,
    /// The last snapshot of a playlist of the list is a part of it.
    Incomplete,
    /// Snapshots of a playlist are dated in the future.
    InFuture,
    /// The list of playlists can't be read.
    PlaylistList,
    /// Documents wait, and a run said why.
    Waiting,
    /// No plugin could read some documents.
    Failed,
    /// The store has no plugin, or one is refused or missing.
    Plugin,
    /// A file is ignored that is named almost like a plugin.
    IgnoredFile,
    /// The consent of the login has ended or ends soon.
    Login,
    /// The last run failed or could not start.
    LastRun,
    /// Files of documents were deleted by hand.
    Strays,
}

impl Attention {
    fn about(cause: Cause, subject: &str, message: String) -> Self {
        Attention { cause, subject: Some(subject.to_owned()), message }
    }
}

impl Status {
    /// Returns everything that needs attention.
    pub(super) fn find_attention(&self) -> Vec<Attention> {
        let playlists =
            self.playlists.iter().flat_map(|playlist| of_playlist(playlist, self.age_days_max));
        let mut found: Vec<Attention> = playlists.collect();
        found.extend(self.list_problem.iter().map(|problem| Attention {
            cause: Cause::PlaylistList,
            subject: None,
            message: problem.clone(),
        }));
        found.extend(self.of_documents());
        found.extend(self.of_plugins());
        found.extend(self.of_login());
        found.extend(self.of_last_run());
        found.extend(self.of_strays());
        found
    }

    fn of_documents(&self) -> Vec<Attention> {
        // What was imported a moment ago waits for the next run, and needs nobody.
        let waiting = self.waiting.iter().filter(|stuck| stuck.why.is_some()).count();
        let documents = |count: usize, one: &str, many: &str| match count {
            1 => format!("1 document {one}"),
            count => format!("{count} documents {many}"),
        };
        let of = |cause, message| Attention { cause, subject: None, message };
        let waiting = (waiting > 0).then(|| {
            of(Cause::Waiting, documents(waiting, "waits with a problem", "wait with a problem"))
        });
        let failed = (self.failed_count > 0).then(|| {
            let message = documents(self.failed_count, "could not be read", "could not be read");
            of(Cause::Failed, message)
        });
        waiting.into_iter().chain(failed).collect()
    }

    fn of_plugins(&self) -> Vec<Attention> {
        let none = self.plugins.is_empty().then(|| Attention {
            cause: Cause::Plugin,
            subject: None,
            message: "the store has no plugins".to_owned(),
        });
        let refused = self.plugins.iter().filter_map(|plugin| {
            let problem = plugin.problem.as_ref()?;
            Some(Attention::about(Cause::Plugin, &plugin.name, problem.to_string()))
        });
        let misnamed = self.ignored_files.misnamed.iter().map(|name| {
            let message = format!("plugins/{name} is ignored because of its name");
            Attention::about(Cause::IgnoredFile, name, message)
        });
        none.into_iter().chain(refused).chain(misnamed).collect()
    }

    fn of_login(&self) -> Option<Attention> {
        let login = self.login.as_ref()?;
        login.days_left.filter(|days| *days <= LOGIN_DAYS_LOW)?;
        let message = format!("the login of {} {}", login.who(), login.ends()?);
        Some(Attention::about(Cause::Login, &login.location, message))
    }

    fn of_strays(&self) -> Option<Attention> {
        let message = "table files, lineage or raw documents were deleted by hand".to_owned();
        let found = Attention { cause: Cause::Strays, subject: None, message };
        (!self.strays.is_empty()).then_some(found)
    }

    fn of_last_run(&self) -> Option<Attention> {
        let run = self.last_run.as_ref()?;
        let ended = match run.exit_status? {
            0 => return None,
            2 => "could not start",
            _ => "failed",
        };
        let message = format!("the last run, {} ({}), {ended}", run.run_id, run.command);
        Some(Attention::about(Cause::LastRun, &run.run_id, message))
    }
}

fn of_playlist(playlist: &PlaylistStatus, age_days_max: i64) -> Vec<Attention> {
    let title = playlist.title();
    let mut found = Vec::new();
    let mut add = |cause, what: String| {
        let message = format!("playlist {title}: {what}");
        found.push(Attention::about(cause, &playlist.playlist_id, message));
    };
    if playlist.in_future > 0 {
        add(Cause::InFuture, format!("{} dated in the future", snapshots(playlist.in_future)));
    }
    if playlist.listed.is_none() {
        return found;
    }
    if playlist.snapshots == 0 {
        add(Cause::NeverRead, "never read".to_owned());
    }
    if let Some(failure) = &playlist.last_failure {
        add(Cause::ExtractionFailed, format!("the last extraction failed: {}", failure.problem));
    }
    if playlist.is_old(age_days_max) {
        let days = playlist.age_days.unwrap_or_default();
        add(Cause::Old, format!("the last snapshot is {days} days old"));
    }
    if let Some(incomplete) = playlist.incomplete {
        add(Cause::Incomplete, format!("the last snapshot is {incomplete}"));
    }
    found
}

fn snapshots(count: usize) -> String {
    if count == 1 { "1 snapshot is".to_owned() } else { format!("{count} snapshots are") }
}
