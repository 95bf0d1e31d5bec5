//! Whether everything is there that a weekly run needs, tried one after another. Leaves nothing
//! behind.

use serde::Serialize;
use time::OffsetDateTime;

use crate::{
    document::PlaylistId,
    layout::Key,
    pipeline::{
        PipelineError,
        active::{PluginPlace, Shelf, choose},
        playlists::ListedPlaylist,
        plugin_files::{PluginFiles, plugin_files},
        records::Records,
    },
    spotify::{CredentialError, Flow, Spotify, SpotifyError, login_command},
    status::LoginStatus,
    store::{Store, StoreError, probe},
};

/// So many days before its end a login is worth a warning.
pub const LOGIN_DAYS_LOW: i64 = 14;

/// What one look came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// As it should be.
    Good,
    /// It works, and somebody should look at it.
    Warning,
    /// It doesn't work.
    Bad,
    /// It was not looked at.
    Skipped,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What.
    pub subject: String,
    /// How it is.
    pub health: Health,
    /// In words, with what to do.
    pub message: String,
}

/// What is looked at.
pub struct Doctor<'s> {
    /// The store.
    pub store: &'s dyn Store,
    /// Where the plugins are.
    pub plugins: PluginPlace<'s>,
    /// Those that are loaded already.
    pub shelf: &'s Shelf,
    /// Spotify, or why nobody can ask it; with what its credentials are called.
    pub spotify: Result<(&'s Spotify, String), String>,
    /// The login, if the credentials are one.
    pub login: Option<Result<LoginStatus, CredentialError>>,
    /// The playlists whose access is tried, or why they aren't known.
    pub playlists: Result<Vec<ListedPlaylist>, String>,
    /// The time.
    pub now: OffsetDateTime,
    /// Tells this look from others.
    pub run_id: String,
}

impl Doctor<'_> {
    /// Looks at everything, and passes each finding on as it is made.
    pub async fn examine(&self, found: &mut dyn FnMut(Finding)) {
        found(self.store().await);
        found(self.plugins().await);
        self.ignored_files().await.into_iter().for_each(&mut *found);
        found(self.credentials());
        let Ok((spotify, _)) = &self.spotify else {
            found(skipped("token", "there are no credentials to get one with"));
            return;
        };
        match spotify.authorize().await {
            Ok(flow) => found(token(spotify, flow).await),
            Err(error) => {
                found(bad("token", error));
                return;
            }
        }
        if let Some(problem) = spotify.problem().await {
            found(bad("token", problem));
        }
        let playlists = match &self.playlists {
            Ok(playlists) if playlists.is_empty() => {
                let why = "the store lists none (name one, or `spotify-etl playlist add URL`)";
                return found(skipped("playlist", why));
            }
            Ok(playlists) => playlists,
            Err(error) => return found(bad("playlist", error)),
        };
        for ListedPlaylist { id, label } in playlists {
            let subject = match label {
                Some(label) => format!("playlist {id} ({label})"),
                None => format!("playlist {id}"),
            };
            found(match access(spotify, id).await {
                Ok(message) => good(&subject, message),
                Err(error) => bad(&subject, error),
            });
        }
    }

    async fn store(&self) -> Finding {
        let location = self.store.location("");
        match self.probe().await {
            Ok(true) => {
                good("store", format!("{location} can be read, written, and changed on condition"))
            }
            Ok(false) => bad(
                "store",
                format!("nothing is in {location} (make a store: spotify-etl init --store STORE)"),
            ),
            Err(error) => bad("store", error),
        }
    }

    /// Writes something and takes it away again. Says whether anything else is there.
    async fn probe(&self) -> Result<bool, StoreError> {
        let page = self.store.list("", None).await?;
        if let Some(unreadable) = page.unreadable.into_iter().next() {
            return Err(unreadable);
        }
        if page.objects.is_empty() {
            return Ok(false);
        }
        let key = Key::Probe { run_id: self.run_id.clone() }.to_string();
        probe(self.store, &key).await?;
        Ok(true)
    }

    async fn plugins(&self) -> Finding {
        match self.chosen().await {
            Ok((names, problems)) if problems.is_empty() => good("plugins", names.join(", ")),
            Ok((_, problems)) => bad("plugins", problems.join("; ")),
            Err(error) => bad("plugins", error),
        }
    }

    /// Warns of files among the plugins that are ignored because of their names.
    async fn ignored_files(&self) -> Vec<Finding> {
        // That the store can't be listed is said about the plugins.
        let files = plugin_files(self.plugins).await.unwrap_or_default();
        let warnings = files.ignored.warnings();
        warnings.into_iter().map(|message| warning("plugins", message)).collect()
    }

    async fn chosen(&self) -> Result<(Vec<String>, Vec<String>), PipelineError> {
        let PluginFiles { plugins, ignored } = plugin_files(self.plugins).await?;
        if plugins.is_empty() {
            return Err(PipelineError::no_plugins(self.plugins, &ignored));
        }
        let reports = choose(&Records::of(self.store), self.plugins, self.shelf).await?.reports;
        let problems =
            reports.iter().filter_map(|report| report.problem.as_ref()).map(ToString::to_string);
        let names = reports.iter().map(|report| {
            format!("{} {}", report.name, report.version.as_deref().unwrap_or_default())
        });
        Ok((names.collect(), problems.collect()))
    }

    fn credentials(&self) -> Finding {
        const SUBJECT: &str = "credentials";
        let place = match &self.spotify {
            Ok((_, place)) => place,
            Err(error) => return bad(SUBJECT, error),
        };
        let login = match &self.login {
            None => return good(SUBJECT, place.clone()),
            Some(Err(error)) => return bad(SUBJECT, error),
            Some(Ok(login)) => login,
        };
        let known = format!("{}, logged in to app {}, in {place}", login.who(), login.client_id);
        let again = login_command(place);
        match login.days_left {
            Some(days @ ..0) => bad(
                SUBJECT,
                format!("{known}; the consent ended {} days ago (log in again: {again})", -days),
            ),
            Some(days @ ..=LOGIN_DAYS_LOW) => warning(
                SUBJECT,
                format!("{known}; the consent ends in {days} days (log in again before: {again})"),
            ),
            _ if login.open_to_others => {
                warning(SUBJECT, format!("{known}; others may read it (chmod 600 {place})"))
            }
            Some(days) => good(SUBJECT, format!("{known}; {days} days of consent left")),
            None => good(SUBJECT, format!("{known}; when the consent ends is not known")),
        }
    }
}

async fn token(spotify: &Spotify, flow: Flow) -> Finding {
    match flow {
        Flow::App => {
            good("token", "for the app alone: enough for apps with extended quota".to_owned())
        }
        Flow::User => match spotify.account().await {
            Ok(account) => good("token", format!("for {}", account.name.unwrap_or(account.id))),
            Err(error) => bad("token", error),
        },
    }
}

async fn access(spotify: &Spotify, id: &PlaylistId) -> Result<String, SpotifyError> {
    let mut budget = spotify.budget();
    let metadata = spotify.metadata(id, &mut budget).await?;
    let entries = spotify.peek(id, &mut budget).await?;
    let name = metadata.name.unwrap_or_else(|| "a playlist without name".to_owned());
    let of = metadata.owner.map(|owner| format!(" of {owner}")).unwrap_or_default();
    Ok(format!("{name}{of}: {entries} entries, readable"))
}

fn finding(subject: &str, health: Health, message: impl ToString) -> Finding {
    Finding { subject: subject.to_owned(), health, message: message.to_string() }
}

fn good(subject: &str, message: String) -> Finding {
    finding(subject, Health::Good, message)
}

fn warning(subject: &str, message: String) -> Finding {
    finding(subject, Health::Warning, message)
}

fn bad(subject: &str, message: impl ToString) -> Finding {
    finding(subject, Health::Bad, message)
}

fn skipped(subject: &str, message: &str) -> Finding {
    finding(subject, Health::Skipped, message)
}
