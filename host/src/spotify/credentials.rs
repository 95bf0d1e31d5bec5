//! Who asks Spotify: an app, or a user who consented to one; which of the credentials that there
//! are is meant, and what is wrong with them.

use std::{error::Error, fs, io, sync::Arc};

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::kept::{Kept, LoginPlace, login_command};

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
        Ok(Turn::default())
    }

    /// Keeps the refresh token that takes the place of another. If the other is there no more,
    /// somebody has logged in meanwhile, and theirs stays.
    async fn rotated(&self, old: &SecretString, new: &SecretString) -> Result<(), CredentialError>;
}

/// The right to use a refresh token that is good once.
#[derive(Default)]
pub struct Turn(#[expect(dead_code, reason = "held, not read")] pub(super) Option<fs::File>);

/// What flags and environment say of credentials.
#[derive(Clone, Debug)]
pub struct Given {
    /// The app.
    pub client_id: Option<String>,
    /// Its secret.
    pub client_secret: Option<SecretString>,
    /// What a user's consent left.
    pub refresh_token: Option<SecretString>,
    /// Where a login may be kept.
    pub login: Option<Arc<dyn LoginPlace>>,
    /// What the token must speak for, if that was said.
    pub flow: Option<Flow>,
}

/// Chooses among what there is: a refresh token that was given, else the login that is kept, else the
/// app with its secret.
///
/// # Errors
///
/// If there is nothing, or not enough, and what to add.
pub fn source(given: Given) -> Result<Arc<dyn CredentialSource>, CredentialError> {
    let Given { client_id, client_secret, refresh_token, login, flow } = given;
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
        if let Some(place) = &login
            && place.may_have_one()
        {
            return Ok(Arc::new(Kept::new(Arc::clone(place), client_id)));
        }
    }
    if flow != Some(Flow::User) && client_secret.is_some() {
        return app(Grant::App);
    }
    if flow == Some(Flow::App) {
        return Err(CredentialError::NoSecret);
    }
    let place = login.map(|place| place.name()).unwrap_or_default();
    let location = if place.is_empty() {
        "no place for a login is named in SPOTIFY_CREDENTIALS, and neither HOME nor XDG_CONFIG_HOME is set".to_owned()
    } else {
        format!("no login in {place}")
    };
    Err(CredentialError::None { location, place })
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

/// What is wrong with credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// There are none.
    #[error(
        "no credentials for Spotify: {location} (log in with an app of yours: {} --client-id ID; or, for an app with extended quota, set SPOTIFY_CLIENT_ID and SPOTIFY_CLIENT_SECRET)", login_command(.place)
    )]
    None {
        /// Where there could be some, in words.
        location: String,
        /// That place, if there is one.
        place: String,
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
    /// A service that keeps logins refused, or could not be reached.
    #[error("could not {verb} the login {location}: {source}")]
    Service {
        /// What was tried.
        verb: &'static str,
        /// On which login.
        location: String,
        /// Whether the same may succeed later, with nothing changed.
        is_transient: bool,
        /// What it says, with what to do.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A login that is not encrypted.
    #[error(
        "{location} is not of type SecureString, so that whoever lists parameters reads it (delete it, and log in again: spotify-etl login --save {location})"
    )]
    InTheClear {
        /// Which.
        location: String,
    },
    /// Something else than a login.
    #[error(
        "{location} holds no login that this program can read: {problem} (take it away, and log in: {})", login_command(.location)
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

impl CredentialError {
    /// Whether the same may succeed later, with nothing changed.
    pub fn is_transient(&self) -> bool {
        matches!(self, CredentialError::Service { is_transient: true, .. })
    }
}
