//! Who asks Spotify: an app, or a user who consented to one. Where that is kept, and how a new
//! refresh token takes the place of the old one.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use time::{Date, Month, OffsetDateTime, format_description::well_known::Rfc3339};

/// So many months after the consent a refresh token ends, for all apps since 2026-07-20:
/// <https://developer.spotify.com/blog/2026-06-18-refresh-token-expiration>.
pub const LOGIN_MONTHS: i32 = 6;
/// What is wrong with folders, devices, pipes.
const NO_FILE: &str = "not even a file";
/// The format of the login file.
const FORMAT: u32 = 1;

/// What a token speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Flow {
    /// An app alone (client credentials).
    App,
    /// A user of an app (refresh token).
    User,
}

/// What a token is asked for with.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The app.
    pub client_id: String,
    /// The app's secret; a login by PKCE needs none.
    pub client_secret: Option<SecretString>,
    /// For whom.
    pub grant: Grant,
}

/// For whom a token is asked for.
#[derive(Clone, Debug)]
pub enum Grant {
    /// For the app.
    App,
    /// For a user of it.
    User {
        /// What the user's consent left.
        refresh_token: SecretString,
    },
}

impl Credentials {
    /// What the token will speak for.
    pub fn flow(&self) -> Flow {
        match self.grant {
            Grant::App => Flow::App,
            Grant::User { .. } => Flow::User,
        }
    }

    /// The refresh token, to be compared.
    pub(super) fn refresh_token(&self) -> Option<&str> {
        self.refresh_token_secret().map(ExposeSecret::expose_secret)
    }

    /// The refresh token.
    pub(super) fn refresh_token_secret(&self) -> Option<&SecretString> {
        match &self.grant {
            Grant::App => None,
            Grant::User { refresh_token } => Some(refresh_token),
        }
    }
}

/// A place where credentials are kept.
#[async_trait]
pub trait CredentialSource: Send + Sync {
    /// What a person calls it.
    fn name(&self) -> String;

    /// Reads them.
    async fn read(&self) -> Result<Credentials, CredentialError>;

    /// Waits until no other run of this machine is about to replace the refresh token, where that
    /// can be known. The turn lasts as long as what is returned.
    ///
    /// # Errors
    ///
    /// If a new one could not be kept.
    async fn turn(&self) -> Result<Turn, CredentialError> {
        Ok(Turn(None))
    }

    /// Keeps the refresh token that takes the place of another. If the other is there no more,
    /// somebody has logged in meanwhile, and theirs stays.
    async fn rotated(&self, old: &SecretString, new: &SecretString) -> Result<(), CredentialError>;
}

/// The right to use a refresh token that is good once.
pub struct Turn(#[expect(dead_code, reason = "held, not read")] Option<fs::File>);

/// What flags and environment say of credentials.
#[derive(Clone, Debug)]
pub struct Given {
    /// The app.
    pub client_id: Option<String>,
    /// Its secret.
    pub client_secret: Option<SecretString>,
    /// What a user's consent left.
    pub refresh_token: Option<SecretString>,
    /// The login file, which may be missing.
    pub login_file: Option<LoginFile>,
    /// What the token must speak for, if that was said.
    pub flow: Option<Flow>,
}

/// Chooses among what there is: a refresh token that was given, else the login file, else the app
/// with its secret.
///
/// # Errors
///
/// If there is nothing, or not enough, and what to add.
pub fn source(given: Given) -> Result<Arc<dyn CredentialSource>, CredentialError> {
    let Given { client_id, client_secret, refresh_token, login_file, flow } = given;
    let app = |grant| -> Result<Arc<dyn CredentialSource>, CredentialError> {
        let client_id = client_id.clone().ok_or(CredentialError::NoClientId)?;
        Ok(Arc::new(Environment(Credentials {
            client_id,
            client_secret: client_secret.clone(),
            grant,
        })))
    };
    if flow != Some(Flow::App) {
        if let Some(refresh_token) = refresh_token {
            return app(Grant::User { refresh_token });
        }
        if let Some(file) = &login_file
            && file.exists()
        {
            return Ok(Arc::new(file.clone().of_app(client_id.as_deref())?));
        }
    }
    if flow != Some(Flow::User) && client_secret.is_some() {
        return app(Grant::App);
    }
    if flow == Some(Flow::App) {
        return Err(CredentialError::NoSecret);
    }
    let location = login_file.map_or_else(
        || "no login file, as neither HOME nor XDG_CONFIG_HOME is set".to_owned(),
        |file| format!("no login in {}", file.name()),
    );
    Err(CredentialError::None { location })
}

/// Credentials that this program was started with. It can't change them.
pub struct Environment(Credentials);

#[async_trait]
impl CredentialSource for Environment {
    fn name(&self) -> String {
        match self.0.grant {
            Grant::App => "SPOTIFY_CLIENT_ID and SPOTIFY_CLIENT_SECRET".to_owned(),
            Grant::User { .. } => "SPOTIFY_REFRESH_TOKEN and SPOTIFY_CLIENT_ID".to_owned(),
        }
    }

    async fn read(&self) -> Result<Credentials, CredentialError> {
        Ok(self.0.clone())
    }

    async fn rotated(&self, _: &SecretString, _: &SecretString) -> Result<(), CredentialError> {
        Err(CredentialError::NotKept)
    }
}

/// Somebody's account.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Account {
    /// Its id.
    pub id: String,
    /// Its name, if it has one.
    pub name: Option<String>,
}

/// A user's consent to an app, as it is kept.
#[derive(Clone, Debug)]
pub struct Login {
    /// The app.
    pub client_id: String,
    /// Its secret, if the login was made with it.
    pub client_secret: Option<SecretString>,
    /// What the consent left.
    pub refresh_token: SecretString,
    /// What was consented to.
    pub scopes: Vec<String>,
    /// When.
    pub consented_at: OffsetDateTime,
    /// Who consented.
    pub account: Account,
}

#[derive(Deserialize, Serialize)]
struct LoginText {
    format: u32,
    client_id: String,
    client_secret: Option<String>,
    refresh_token: String,
    scopes: Vec<String>,
    consented_at: String,
    account: Account,
}

/// When a consent of then ends.
pub fn login_ends(consented_at: OffsetDateTime) -> OffsetDateTime {
    let date = consented_at.date();
    let months = i32::from(u8::from(date.month())) - 1 + LOGIN_MONTHS;
    let year = date.year() + months / 12;
    let month = u8::try_from(months % 12 + 1).ok().and_then(|month| Month::try_from(month).ok());
    let month = month.unwrap_or(Month::January);
    let day = date.day().min(month.length(year));
    let date = Date::from_calendar_date(year, month, day).unwrap_or(date);
    consented_at.replace_date(date)
}

/// How many whole days are left of a consent of then; below 0 if it has ended.
pub fn login_days_left(consented_at: OffsetDateTime, now: OffsetDateTime) -> i64 {
    (login_ends(consented_at) - now).as_seconds_f64().div_euclid(86400.0) as i64
}

/// A file with a login, for its owner's eyes only.
#[derive(Clone, Debug)]
pub struct LoginFile {
    path: PathBuf,
}

impl LoginFile {
    /// The login that is or will be there.
    pub fn new(path: &Path) -> Self {
        LoginFile { path: path.to_owned() }
    }

    /// Whether it is there.
    pub fn exists(&self) -> bool {
        self.path.exists()
    }

    /// The same, if it is a login to this app.
    fn of_app(self, client_id: Option<&str>) -> Result<Self, CredentialError> {
        let theirs = self.login()?.client_id;
        match client_id {
            Some(ours) if ours != theirs => {
                let (location, ours) = (self.name(), ours.to_owned());
                Err(CredentialError::OtherApp { location, theirs, ours })
            }
            _ => Ok(self),
        }
    }

    /// Reads it.
    ///
    /// # Errors
    ///
    /// If it can't be read, or is none.
    pub fn login(&self) -> Result<Login, CredentialError> {
        let location = self.name();
        // Reading from what is no file may take for ever.
        if fs::metadata(&self.path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(CredentialError::SomethingElse { location, problem: NO_FILE.to_owned() });
        }
        let bytes = fs::read(&self.path).map_err(self.error("read"))?;
        let damaged = |problem: String| {
            let location = location.clone();
            CredentialError::Damaged { location, problem }
        };
        // The words of serde would quote what is in there.
        let text: LoginText = serde_json::from_slice(&bytes).map_err(|error| {
            damaged(format!("line {}, column {}", error.line(), error.column()))
        })?;
        if text.format != FORMAT {
            return Err(damaged(format!("format {}", text.format)));
        }
        let consented_at = OffsetDateTime::parse(&text.consented_at, &Rfc3339)
            .map_err(|_| damaged("`consented_at`".to_owned()))?;
        Ok(Login {
            client_id: text.client_id,
            client_secret: text.client_secret.map(SecretString::from),
            refresh_token: SecretString::from(text.refresh_token),
            scopes: text.scopes,
            consented_at,
            account: text.account,
        })
    }

    /// Writes it, whole or not at all, readable by its owner alone.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn keep(&self, login: &Login) -> Result<(), CredentialError> {
        let text = LoginText {
            format: FORMAT,
            client_id: login.client_id.clone(),
            client_secret: login
                .client_secret
                .as_ref()
                .map(|secret| secret.expose_secret().to_owned()),
            refresh_token: login.refresh_token.expose_secret().to_owned(),
            scopes: login.scopes.clone(),
            consented_at: login.consented_at.format(&Rfc3339).unwrap_or_default(),
            account: login.account.clone(),
        };
        self.write(&text).map_err(self.error("write"))
    }

    fn error(&self, verb: &'static str) -> impl FnOnce(io::Error) -> CredentialError {
        let location = self.name();
        move |source| CredentialError::Io { verb, location, source }
    }

    /// The file that is meant: a link stays one, and what it leads to is changed.
    fn target(&self) -> PathBuf {
        let linked = fs::read_link(&self.path).ok();
        let linked =
            linked.map(|to| self.path.parent().map_or(to.clone(), |folder| folder.join(&to)));
        fs::canonicalize(&self.path).ok().or(linked).unwrap_or_else(|| self.path.clone())
    }

    /// Makes sure that a login can be kept here, and that nothing else is lost by it.
    ///
    /// # Errors
    ///
    /// If something else is in its place, or the system refuses.
    pub async fn prepare(&self) -> Result<(), CredentialError> {
        self.require_login()?;
        let path = self.target();
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(self.error("write"))?;
        }
        self.lock().await.map_err(self.error("write"))?;
        Ok(())
    }

    /// Fails if there is something that is no login.
    fn require_login(&self) -> Result<(), CredentialError> {
        match fs::metadata(&self.path) {
            Ok(metadata) if metadata.is_file() && metadata.len() == 0 => Ok(()),
            Ok(metadata) if metadata.is_file() => match self.login() {
                Err(CredentialError::Damaged { location, problem }) => {
                    Err(CredentialError::SomethingElse { location, problem })
                }
                _ => Ok(()),
            },
            Ok(_) => Err(CredentialError::SomethingElse {
                location: self.name(),
                problem: NO_FILE.to_owned(),
            }),
            Err(_) => Ok(()),
        }
    }

    /// Waits for the right to replace it.
    async fn lock(&self) -> io::Result<fs::File> {
        let mut path = self.target().into_os_string();
        path.push(".lock");
        let locked = tokio::task::spawn_blocking(move || {
            let file = fs::File::create(path)?;
            file.lock()?;
            Ok(file)
        });
        locked.await.unwrap_or_else(|panic| Err(io::Error::other(panic)))
    }

    fn write(&self, text: &LoginText) -> io::Result<()> {
        let path = self.target();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        // Such a file is made readable by its owner alone.
        let mut file = tempfile::Builder::new().prefix(".login-").tempfile_in(folder)?;
        file.write_all(&serde_json::to_vec_pretty(text)?)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        // The name is in the folder, which keeps it.
        fs::File::open(folder)?.sync_all()
    }

    /// Deletes it. Says whether there was one.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn forget(&self) -> Result<bool, CredentialError> {
        self.require_login()?;
        match fs::remove_file(self.target()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(self.error("delete")(source)),
        }
    }

    /// Whether others may read it, as nobody but its owner should.
    #[cfg(unix)]
    pub fn is_open_to_others(&self) -> bool {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(&self.path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
    }

    /// Whether others may read it, as nobody but its owner should.
    #[cfg(not(unix))]
    pub fn is_open_to_others(&self) -> bool {
        false
    }
}

#[async_trait]
impl CredentialSource for LoginFile {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    async fn read(&self) -> Result<Credentials, CredentialError> {
        let Login { client_id, client_secret, refresh_token, .. } = self.login()?;
        Ok(Credentials { client_id, client_secret, grant: Grant::User { refresh_token } })
    }

    async fn turn(&self) -> Result<Turn, CredentialError> {
        match self.lock().await {
            Ok(file) => Ok(Turn(Some(file))),
            // With the app's secret there will be no new one to keep.
            Err(_) if self.login()?.client_secret.is_some() => Ok(Turn(None)),
            Err(source) => Err(self.error("replace")(source)),
        }
    }

    async fn rotated(&self, old: &SecretString, new: &SecretString) -> Result<(), CredentialError> {
        let mut login = self.login()?;
        if login.refresh_token.expose_secret() == old.expose_secret() {
            login.refresh_token = new.clone();
            self.keep(&login)?;
        }
        Ok(())
    }
}

/// What is wrong with credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// There are none.
    #[error(
        "no credentials for Spotify: {location} (log in with an app of yours: spotify-etl login --client-id ID; or, for an app with extended quota, set SPOTIFY_CLIENT_ID and SPOTIFY_CLIENT_SECRET)"
    )]
    None {
        /// Where there could be some.
        location: String,
    },
    /// No app.
    #[error(
        "no client id of a Spotify app (make an app on developer.spotify.com/dashboard, for the Web API and with the redirect address http://127.0.0.1/callback; its client id goes into --client-id or SPOTIFY_CLIENT_ID)"
    )]
    NoClientId,
    /// An app that can't prove itself.
    #[error(
        "an app without a user needs its secret (set SPOTIFY_CLIENT_SECRET, or name a file that holds it with --client-secret-file)"
    )]
    NoSecret,
    /// A login of another app.
    #[error(
        "the login in {location} is for app `{theirs}`, and app `{ours}` is asked for (log in to that one: spotify-etl login --client-id {ours}; or leave --client-id and SPOTIFY_CLIENT_ID out; or use the app without a user: --auth app)"
    )]
    OtherApp {
        /// Where the login is.
        location: String,
        /// Its app.
        theirs: String,
        /// The app that was named.
        ours: String,
    },
    /// The system refused.
    #[error(
        "could not {verb} the login {location}: {source} (it is a file of yours, in a folder that you can write to, since Spotify may give a new refresh token with each run; name another one with --credentials)"
    )]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On which file.
        location: String,
        /// What the system says.
        source: io::Error,
    },
    /// Something else than a login.
    #[error(
        "{location} holds no login that this program can read: {problem} (take it away, and log in: spotify-etl login)"
    )]
    Damaged {
        /// Which file.
        location: String,
        /// Where it is damaged.
        problem: String,
    },
    /// Somebody's file in the place of a login.
    #[error(
        "{location} is there, and is no login of this program: {problem}; it was left alone (name another file with --credentials, or take that one away)"
    )]
    SomethingElse {
        /// Which file.
        location: String,
        /// Where it departs from one.
        problem: String,
    },
    /// A new refresh token that has no place.
    #[error(
        "Spotify gave a new refresh token in place of SPOTIFY_REFRESH_TOKEN, which can't be changed from here and may no longer work (have it kept in a file: spotify-etl login)"
    )]
    NotKept,
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_consent_ends_after_six_months() {
        for (consented_at, ends) in [
            (datetime!(2026-06-18 10:00 UTC), datetime!(2026-12-18 10:00 UTC)),
            (datetime!(2026-08-31 10:00 UTC), datetime!(2027-02-28 10:00 UTC)),
            (datetime!(2027-08-30 10:00 UTC), datetime!(2028-02-29 10:00 UTC)),
        ] {
            assert_eq!(login_ends(consented_at), ends, "{consented_at}");
        }
        let consented_at = datetime!(2026-06-18 10:00 UTC);
        for (now, days) in [
            (datetime!(2026-12-17 10:00 UTC), 1),
            (datetime!(2026-12-17 10:01 UTC), 0),
            (datetime!(2026-12-18 10:01 UTC), -1),
        ] {
            assert_eq!(login_days_left(consented_at, now), days, "{now}");
        }
    }
}
