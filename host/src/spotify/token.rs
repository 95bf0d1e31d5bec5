//! Access tokens: got when the first is needed, kept for the run, replaced once if refused.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use time::OffsetDateTime;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{
    Clock,
    credentials::{CredentialError, CredentialSource, Credentials, Flow, Grant},
    error::{Said, SpotifyError},
    http::{Answer, Budget, Method, Service},
    kept::login_command,
};

/// A token's answer is a few hundred bytes.
const BYTES_MAX: u64 = 64 * 1024;
/// A token is not used in its last moments.
const SECONDS_BEFORE_ITS_END: i64 = 60;
/// How long a token lasts if Spotify doesn't say; it says 3600.
const SECONDS_OF_A_TOKEN: i64 = 3600;

/// What the API takes for an hour.
#[derive(Clone)]
pub struct AccessToken {
    /// The token.
    pub secret: SecretString,
    /// Whether it speaks for a user.
    pub flow: Flow,
    ends: OffsetDateTime,
}

/// Where access tokens come from.
pub struct Tokens {
    source: Arc<dyn CredentialSource>,
    accounts: Service,
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    token: Option<AccessToken>,
    /// A token was refused before its end, and replaced.
    replaced: bool,
    /// A refresh token that took the place of another, and could not be kept.
    unkept: Option<Rotation>,
}

impl Tokens {
    pub fn new(
        source: Arc<dyn CredentialSource>,
        accounts: Service,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Tokens { source, accounts, clock, state: Arc::default() }
    }

    /// A token: the one there is, or the first, or the next if that one's time is up.
    pub async fn get(self: &Arc<Self>, budget: &mut Budget) -> Result<AccessToken, TokenError> {
        let state = Arc::clone(&self.state).lock_owned().await;
        if let Some(token) = &state.token
            && !self.is_over(token)
        {
            return Ok(token.clone());
        }
        self.next(state, budget).await
    }

    /// A token in place of one that was refused; none if that was done before.
    pub async fn renew(
        self: &Arc<Self>,
        refused: &AccessToken,
        budget: &mut Budget,
    ) -> Result<Option<AccessToken>, TokenError> {
        let mut state = Arc::clone(&self.state).lock_owned().await;
        if let Some(token) = &state.token
            && token.secret.expose_secret() != refused.secret.expose_secret()
        {
            // Somebody else was quicker.
            return Ok(Some(token.clone()));
        }
        let was_over = self.is_over(refused);
        if state.replaced && !was_over {
            return Ok(None);
        }
        state.token = None;
        let token = self.next(state, budget).await?;
        self.state.lock().await.replaced |= !was_over;
        Ok(Some(token))
    }

    /// Why a new refresh token could not be kept, if one couldn't.
    pub async fn problem(&self) -> Option<CredentialError> {
        let mut state = self.state.lock().await;
        let Rotation { old, new } = state.unkept.as_ref()?;
        let problem = self.source.rotated(old, new).await.err();
        if problem.is_none() {
            state.unkept = None;
        }
        problem
    }

    fn is_over(&self, token: &AccessToken) -> bool {
        self.clock.now() >= token.ends
    }

    /// Gets a new token. Spotify ends the refresh token that was used with its answer, so nobody may
    /// stop listening between that and the new one being kept: whoever waits may be gone by then.
    async fn next(
        self: &Arc<Self>,
        state: OwnedMutexGuard<State>,
        budget: &mut Budget,
    ) -> Result<AccessToken, TokenError> {
        let (tokens, mut own) = (Arc::clone(self), budget.clone());
        let renewed = tokio::spawn(async move {
            let mut state = state;
            (tokens.renewed(&mut state, &mut own).await, own)
        });
        let (token, spent) = match renewed.await {
            Ok(renewed) => renewed,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        *budget = spent;
        token
    }

    async fn renewed(
        &self,
        state: &mut State,
        budget: &mut Budget,
    ) -> Result<AccessToken, TokenError> {
        // Of two runs with one login, one waits until the other has kept its new refresh token.
        let _turn = self.source.turn().await?;
        let credentials = self.read(state).await?;
        let answer = match self.ask(&credentials, budget).await {
            // Another machine may have used the refresh token up, and kept the new one.
            Err(TokenError::Grant { place, said }) => {
                let again = self.read(state).await?;
                if again.refresh_token() == credentials.refresh_token() {
                    return Err(TokenError::Grant { place, said });
                }
                self.ask(&again, budget).await?
            }
            answer => answer?,
        };
        if let Some(Rotation { old, new }) = answer.rotated {
            // Where the last one could not be kept, the one before it still is.
            let old = state.unkept.take().map_or(old, |unkept| unkept.old);
            if let Err(error) = self.source.rotated(&old, &new).await {
                // The access token is good, so this run goes on, and knows the new one.
                tracing::debug!("{error}");
                state.unkept = Some(Rotation { old, new });
            }
        }
        state.token = Some(answer.token.clone());
        Ok(answer.token)
    }

    /// The credentials; with the refresh token that this run got and could not keep, if any.
    async fn read(&self, state: &State) -> Result<Credentials, TokenError> {
        let mut credentials = self.source.read().await?;
        if let (Grant::User { refresh_token }, Some(Rotation { old, new })) =
            (&mut credentials.grant, &state.unkept)
            && refresh_token.expose_secret() == old.expose_secret()
        {
            *refresh_token = new.clone();
        }
        Ok(credentials)
    }

    async fn ask(
        &self,
        credentials: &Credentials,
        budget: &mut Budget,
    ) -> Result<Granted, TokenError> {
        let mut form = match &credentials.grant {
            Grant::App => vec![("grant_type", "client_credentials")],
            Grant::User { refresh_token } => vec![
                ("grant_type", "refresh_token"),
                ("refresh_token", refresh_token.expose_secret()),
            ],
        };
        let Credentials { client_id, client_secret, .. } = credentials;
        let basic = client_secret.as_ref().map(|secret| (client_id.as_str(), secret));
        if basic.is_none() {
            form.push(("client_id", client_id));
        }
        let secrets: Vec<&SecretString> = credentials.refresh_token_secret().into_iter().collect();
        let answer = post(&self.accounts, &form, &secrets, basic, budget).await?;
        let tokens = read(&answer, &self.source.name())?;
        let token = AccessToken {
            secret: tokens.access_token,
            flow: credentials.flow(),
            ends: self.clock.now()
                + time::Duration::seconds(
                    tokens
                        .seconds
                        .min(SECONDS_OF_A_TOKEN * 24)
                        .saturating_sub(SECONDS_BEFORE_ITS_END)
                        .max(SECONDS_BEFORE_ITS_END),
                ),
        };
        // None means that the old one stays good.
        let rotated = match (credentials.refresh_token_secret(), tokens.refresh_token) {
            (Some(old), Some(new)) if old.expose_secret() != new.expose_secret() => {
                Some(Rotation { old: old.clone(), new })
            }
            _ => None,
        };
        Ok(Granted { token, rotated })
    }
}

struct Granted {
    token: AccessToken,
    rotated: Option<Rotation>,
}

/// The refresh token that was used, and the one that takes its place.
struct Rotation {
    old: SecretString,
    new: SecretString,
}

/// What the accounts service gives.
pub struct NewTokens {
    /// For the API.
    pub access_token: SecretString,
    /// For the next access token.
    pub refresh_token: Option<SecretString>,
    /// How long the access token lasts.
    pub seconds: i64,
    /// What it may do.
    pub scopes: Option<String>,
}

/// Asks the accounts service for tokens.
pub async fn post(
    accounts: &Service,
    form: &[(&str, &str)],
    secrets: &[&SecretString],
    basic: Option<(&str, &SecretString)>,
    budget: &mut Budget,
) -> Result<Answer, TokenError> {
    let url = accounts.address(&["api", "token"]);
    let answer = accounts.ask(url, Method::Post { form, secrets, basic }, budget, BYTES_MAX).await;
    answer.map_err(|error| TokenError::Spotify(Box::new(error)))
}

/// Reads what the accounts service answers. `place` is what has to be mended if it refuses.
pub fn read(answer: &Answer, place: &str) -> Result<NewTokens, TokenError> {
    let place = place.to_owned();
    if !answer.is_success() {
        let said = answer.said();
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        return Err(match body["error"].as_str() {
            Some("invalid_grant") => TokenError::Grant { place, said },
            Some("invalid_client" | "unauthorized_client") => TokenError::Client { place, said },
            _ => TokenError::Refused { place, said },
        });
    }
    let body: Value = answer.json().map_err(|error| TokenError::Spotify(Box::new(error)))?;
    let secret = |name: &str| {
        let text = body[name].as_str().filter(|text| !text.is_empty())?;
        Some(SecretString::from(text.to_owned()))
    };
    let kind = body["token_type"].as_str().unwrap_or("bearer");
    let unusable = |problem: &str| TokenError::Spotify(Box::new(answer.unusable(problem)));
    if !kind.eq_ignore_ascii_case("bearer") {
        return Err(unusable("a token of another type than `bearer`"));
    }
    Ok(NewTokens {
        access_token: secret("access_token").ok_or_else(|| unusable("without `access_token`"))?,
        refresh_token: secret("refresh_token"),
        seconds: body["expires_in"].as_i64().unwrap_or(SECONDS_OF_A_TOKEN),
        scopes: body["scope"].as_str().map(str::to_owned),
    })
}

/// Why there is no access token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The credentials can't be read.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// The accounts service gave no usable answer.
    #[error("no access token: {0}")]
    Spotify(Box<SpotifyError>),
    /// The login is no longer good.
    #[error(
        "no access token: Spotify no longer accepts the login in {place}: {said}. A login ends six months after the consent, when access is removed in the account's settings, and when another program used its refresh token (log in again: {}; nothing was deleted, so if Spotify has an outage, just run again)", login_command(.place)
    )]
    Grant {
        /// Where the login is.
        place: String,
        /// In its words.
        said: Said,
    },
    /// The app is not what it says it is.
    #[error(
        "no access token: Spotify doesn't accept the app in {place}: {said} (compare client id and secret with those of the app on developer.spotify.com/dashboard)"
    )]
    Client {
        /// Where they come from.
        place: String,
        /// In its words.
        said: Said,
    },
    /// Anything else.
    #[error(
        "no access token: Spotify refuses the credentials in {place}: {said} (run the same command again later; if it goes on, log in again: {})", login_command(.place)
    )]
    Refused {
        /// Where they come from.
        place: String,
        /// In its words.
        said: Said,
    },
}

impl TokenError {
    /// Whether the same command may succeed later, with nothing changed.
    pub fn is_transient(&self) -> bool {
        match self {
            TokenError::Spotify(error) => error.is_transient(),
            TokenError::Refused { .. } => true,
            TokenError::Credentials(error) => error.is_transient(),
            TokenError::Grant { .. } | TokenError::Client { .. } => false,
        }
    }
}
