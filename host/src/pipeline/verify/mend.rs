//! The commands that mend what was found, as data until they are printed: the name of the store in them is
//! the one that this user has typed.

use serde::{Deserialize, Serialize};
use time::{Date, macros::format_description};

use crate::{
    document::DocumentId,
    remedy::{Remedies, quoted},
};

/// One command.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Makes the tables of a processed document again.
    ReplayDocument {
        /// The document.
        document: String,
    },
    /// Makes all tables again, as far as they are not up to date; of one plugin, if one is named.
    Replay {
        /// The plugin.
        plugin: Option<String>,
    },
    /// Makes all tables again as these formats.
    ReplayFormat {
        /// The formats.
        formats: String,
    },
    /// Fills a new generation of a table.
    NewGeneration {
        /// The table.
        table: String,
    },
    /// Transforms an object that waits or failed; all that wait, if none is named.
    Transform {
        /// Its key.
        key: Option<String>,
    },
    /// The same with a limit raised.
    TransformWithLimit {
        /// The limit.
        limit: String,
        /// The object's key.
        key: String,
    },
    /// Verifies with a limit raised.
    VerifyWithLimit {
        /// The limit.
        limit: String,
    },
    /// Imports an object of the store under another time.
    ImportAt {
        /// Its key.
        key: String,
    },
    /// Imports a file in the current folder, and transforms it.
    Run {
        /// Its name.
        file: String,
    },
    /// Imports a document from where it came from, and transforms it.
    RunAgain {
        /// The document.
        document: String,
    },
    /// Deletes a document with everything derived from it.
    DeleteDocument {
        /// The document.
        document: String,
    },
    /// Deletes an object.
    Delete {
        /// Its key.
        key: String,
    },
    /// Deletes all objects below a prefix.
    DeleteFolder {
        /// The prefix, with a slash at its end.
        prefix: String,
    },
    /// Moves an object to the current folder.
    MoveOut {
        /// Its key.
        key: String,
    },
    /// Moves an object to another key.
    Move {
        /// Its key.
        key: String,
        /// The other key.
        to: String,
    },
    /// Copies a file to a key.
    Restore {
        /// The key.
        key: String,
    },
    /// Records the active plugins in the history of plugins.
    RecordPlugins,
    /// Says what is wrong with a plugin.
    CheckPlugin {
        /// Its name.
        name: String,
    },
    /// Makes an earlier version of a plugin the active one.
    Rollback {
        /// Its name.
        name: String,
        /// The SHA-256 of the version.
        sha256: String,
    },
    /// Publishes a plugin.
    Publish {
        /// Its name.
        name: String,
    },
    /// Notes that a plugin's tables get no more rows.
    RemovePlugin {
        /// Its name.
        name: String,
    },
    /// Adds a playlist to the list.
    AddPlaylist,
    /// Applies the catalog in Athena.
    ApplyCatalog,
}

/// Commands that mend something together, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Way(pub Vec<Step>);

impl From<Step> for Way {
    fn from(step: Step) -> Self {
        Way(vec![step])
    }
}

impl<const N: usize> From<[Step; N]> for Way {
    fn from(steps: [Step; N]) -> Self {
        Way(steps.into())
    }
}

impl Way {
    /// Returns the line for a shell.
    pub fn command(&self, remedies: Remedies<'_>) -> String {
        let steps: Vec<String> = self.0.iter().map(|step| step.command(remedies)).collect();
        steps.join(" && ")
    }
}

impl Step {
    /// Returns the command that replays a document.
    pub fn replay(id: &DocumentId) -> Self {
        Step::ReplayDocument { document: id.to_string() }
    }

    /// Returns the command that imports a document again.
    pub fn run_again(id: &DocumentId) -> Self {
        Step::RunAgain { document: id.to_string() }
    }

    /// Returns the command that deletes a document with everything derived from it.
    pub fn delete_document(id: &DocumentId) -> Self {
        Step::DeleteDocument { document: id.to_string() }
    }

    /// Returns the command that transforms an object.
    pub fn transform(key: impl ToString) -> Self {
        Step::Transform { key: Some(key.to_string()) }
    }

    /// Returns the command that deletes an object.
    pub fn delete(key: impl ToString) -> Self {
        Step::Delete { key: key.to_string() }
    }

    fn command(&self, remedies: Remedies<'_>) -> String {
        let own = |command: &str| remedies.command(command, "");
        let at = |key: &str| quoted(&format!("{}{key}", remedies.root));
        let is_bucket = remedies.root.starts_with("s3://");
        match self {
            Step::ReplayDocument { document } => match document.parse::<DocumentId>() {
                Ok(id) => own(&format!("replay{}", filter(&id))),
                Err(()) => own("replay"),
            },
            Step::Replay { plugin: None } => own("replay"),
            Step::Replay { plugin: Some(name) } => {
                own(&format!("replay --plugin {}", quoted(name)))
            }
            Step::ReplayFormat { formats } => own(&format!("replay --format {}", quoted(formats))),
            Step::NewGeneration { table } => {
                own(&format!("replay --new-generation {}", quoted(table)))
            }
            Step::Transform { key } => {
                remedies.command("transform", key.as_deref().unwrap_or_default())
            }
            Step::TransformWithLimit { limit, key } => {
                remedies.command(&format!("transform --limit {limit}=MORE"), key)
            }
            Step::VerifyWithLimit { limit } => own(&format!("verify --limit {limit}=MORE")),
            Step::ImportAt { key } => {
                let import = own("import --in-place --extracted-at TIME");
                format!("{import} {}", at(key))
            }
            Step::Run { file } => format!("{} --from {}", own("run"), quoted(file)),
            Step::RunAgain { document } => {
                let flags = document.parse::<DocumentId>().map_or(String::new(), |id| said(&id));
                format!("{} --from FILE", own(&format!("run{flags}")))
            }
            Step::DeleteDocument { document } => remedies.delete(document),
            Step::Delete { key } if is_bucket => format!("aws s3 rm {}", at(key)),
            Step::Delete { key } => format!("rm {}", at(key)),
            Step::DeleteFolder { prefix } if is_bucket => {
                format!("aws s3 rm --recursive {}", at(prefix))
            }
            Step::DeleteFolder { prefix } => format!("rm -r {}", at(prefix)),
            Step::MoveOut { key } if is_bucket => format!("aws s3 mv {} .", at(key)),
            Step::MoveOut { key } => format!("mv {} .", at(key)),
            Step::Move { key, to } if is_bucket => format!("aws s3 mv {} {}", at(key), at(to)),
            Step::Move { key, to } => {
                let folder = to.rsplit_once('/').map_or("", |(folder, _)| folder);
                format!("mkdir -p {} && mv {} {}", at(folder), at(key), at(to))
            }
            Step::Restore { key } if is_bucket => format!("aws s3 cp FILE {}", at(key)),
            Step::Restore { key } => format!("cp FILE {}", at(key)),
            Step::RecordPlugins => {
                let place = remedies.root.trim_end_matches('/');
                own(&format!("init --from {}", quoted(&format!("{place}/plugins"))))
            }
            Step::CheckPlugin { name } => remedies.of_plugin(name),
            Step::Rollback { name, sha256 } => {
                let short = sha256.get(..12).unwrap_or(sha256);
                own(&format!("plugin rollback {} {}", quoted(name), quoted(short)))
            }
            Step::Publish { name } => {
                own(&format!("plugin publish {}", quoted(&format!("{name}.wasm"))))
            }
            Step::RemovePlugin { name } => remedies.command("plugin remove", name),
            Step::AddPlaylist => own("playlist add ADDRESS"),
            Step::ApplyCatalog => own("catalog apply"),
        }
    }
}

/// Returns the flags of `replay` that choose a document, and hardly any other.
fn filter(id: &DocumentId) -> String {
    let date = id.extracted_at.moment().date();
    let day = day(date);
    format!("{} --since {day} --until {day}", playlist(id))
}

/// Returns the flags of `run` that make a file this document.
fn said(id: &DocumentId) -> String {
    format!("{} --extracted-at {}", playlist(id), id.extracted_at)
}

/// Returns the flag for a document's playlist; none if the command would take it for another one.
fn playlist(id: &DocumentId) -> String {
    let name = id.playlist_id.as_str();
    if name.starts_with('_') {
        return String::new();
    }
    format!(" --playlist={name}")
}

fn day(date: Date) -> String {
    date.format(format_description!("[year]-[month]-[day]")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_name_the_store_as_it_was_typed() {
        let folder = Remedies { root: "./my data/", store: "./my data" };
        let bucket = Remedies { root: "s3://music/x/", store: "s3://music/x" };
        let document = "list-20260706T060000Z-0123abcd".to_owned();
        let key = "lineage/a.json".to_owned();
        for (way, in_folder, in_bucket) in [
            (
                Way::from(Step::ReplayDocument { document: document.clone() }),
                "spotify-etl replay --playlist=list --since 2026-07-06 --until 2026-07-06 --store './my data'",
                "spotify-etl replay --playlist=list --since 2026-07-06 --until 2026-07-06 --store s3://music/x",
            ),
            (
                Way::from([Step::delete(&key), Step::Replay { plugin: None }]),
                "rm './my data/lineage/a.json' && spotify-etl replay --store './my data'",
                "aws s3 rm s3://music/x/lineage/a.json && spotify-etl replay --store s3://music/x",
            ),
            (
                Way::from([
                    Step::MoveOut { key: key.clone() },
                    Step::Run { file: "a.json".into() },
                ]),
                "mv './my data/lineage/a.json' . && spotify-etl run --store './my data' --from a.json",
                "aws s3 mv s3://music/x/lineage/a.json . && spotify-etl run --store s3://music/x --from a.json",
            ),
            (
                Way::from(Step::RunAgain { document }),
                "spotify-etl run --playlist=list --extracted-at 20260706T060000Z --store './my data' --from FILE",
                "spotify-etl run --playlist=list --extracted-at 20260706T060000Z --store s3://music/x --from FILE",
            ),
            (
                Way::from(Step::DeleteDocument {
                    document: "list-20260706T060000Z-0123abcd".into(),
                }),
                "spotify-etl delete --store './my data' list-20260706T060000Z-0123abcd",
                "spotify-etl delete --store s3://music/x list-20260706T060000Z-0123abcd",
            ),
            (
                Way::from(Step::RecordPlugins),
                "spotify-etl init --from './my data/plugins' --store './my data'",
                "spotify-etl init --from s3://music/x/plugins --store s3://music/x",
            ),
        ] {
            assert_eq!(way.command(folder), in_folder);
            assert_eq!(way.command(bucket), in_bucket);
        }
    }
}
