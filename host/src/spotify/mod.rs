//! Spotify: tokens, requests, pages, and what its refusals mean. What becomes of the pages is not
//! known here.
//!
//! The Web API as it is described by Spotify (<https://developer.spotify.com/documentation/web-api>,
//! with the changes of November 2024, February, March, June and July 2026) and as its users meet it.

mod credentials;
mod error;
mod http;
mod kept;
mod login;
mod login_file;
mod playlist;
mod token;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use time::OffsetDateTime;

pub use credentials::{
    CredentialError, CredentialSource, Credentials, Environment, Flow, Given, Grant, source,
};
pub use error::{Said, SpotifyError, is_editorial};
pub use http::Budget;
pub use kept::{
    Account, Author, Kept, LOGIN_MONTHS, Login, LoginPlace, SECRETS_MANAGER, SSM, login_command,
    login_days_left, login_ends,
};
pub use login::{Application, Consent, LoginError, REDIRECT_URI, listen, log_in};
pub use login_file::LoginFile;
pub use playlist::{Metadata, PageRead, Pages, SLIM_FIELDS};
pub use reqwest::Url;
pub use token::TokenError;

use crate::config::{HOST_VERSION, Limits};
use http::{Method, Service};
use token::Tokens;

/// Where the Web API is.
pub const API_URL: &str = "https://api.spotify.com/v1";
/// Where tokens come from, and people consent.
pub const ACCOUNTS_URL: &str = "https://accounts.spotify.com";

/// What is asked for, and where.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the Web API is: [`API_URL`].
    pub api_url: Url,
    /// Where tokens come from: [`ACCOUNTS_URL`].
    pub accounts_url: Url,
    /// Entries to ask for at a time. The description of `/items` says 50 at most, 20 if not said.
    pub page_entries: u32,
    /// The country whose catalogue is meant, ISO 3166-1 alpha-2. A user's own country wins.
    pub market: Option<String>,
    /// The members to ask for, in the syntax of the parameter `fields`; all if not said.
    pub fields: Option<String>,
    /// The limits.
    pub limits: Limits,
}

/// Where time comes from, and how it is waited for.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The time.
    fn now(&self) -> OffsetDateTime;
    /// Waits.
    async fn sleep(&self, duration: Duration);
}

/// Spotify's Web API, for one app and at most one user.
pub struct Spotify {
    settings: Settings,
    clock: Arc<dyn Clock>,
    api: Service,
    tokens: Arc<Tokens>,
}

impl Spotify {
    /// Gets ready. Nothing is asked for yet.
    ///
    /// # Errors
    ///
    /// If an address can't be trusted with a token, or the system has no usable TLS.
    pub fn new(
        settings: Settings,
        source: Arc<dyn CredentialSource>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SpotifyError> {
        let client = http::client(&settings.limits)?;
        let service = |url: &Url| {
            Service::new(client.clone(), url, settings.limits.clone(), Arc::clone(&clock))
        };
        let (api, accounts) = (service(&settings.api_url)?, service(&settings.accounts_url)?);
        let tokens = Arc::new(Tokens::new(source, accounts, Arc::clone(&clock)));
        Ok(Spotify { settings, clock, api, tokens })
    }

    /// Gets an access token, so that what follows doesn't fail for want of one.
    ///
    /// # Errors
    ///
    /// If there is none to be had.
    pub async fn authorize(&self) -> Result<Flow, TokenError> {
        Ok(self.tokens.get(&mut self.budget()).await?.flow)
    }

    /// The country whose catalogue is asked for.
    pub fn market(&self) -> Option<&str> {
        self.settings.market.as_deref()
    }

    /// The filter that is asked with.
    pub fn fields(&self) -> Option<&str> {
        self.settings.fields.as_deref()
    }

    /// A new budget for what belongs together: one playlist.
    pub fn budget(&self) -> Budget {
        Budget::new(self.clock.now())
    }

    /// What went wrong beside the requests: a new refresh token that could not be kept.
    pub async fn problem(&self) -> Option<CredentialError> {
        self.tokens.problem().await
    }

    /// The account that consented.
    ///
    /// # Errors
    ///
    /// If Spotify doesn't say.
    pub async fn account(&self) -> Result<Account, SpotifyError> {
        let url = self.api.address(&["me"]);
        let answer = self.get(url, &mut self.budget(), login::ACCOUNT_BYTES_MAX).await?;
        login::account(&answer)
    }

    /// Asks the Web API. A token that is refused is replaced once.
    async fn get(
        &self,
        url: Url,
        budget: &mut Budget,
        bytes_max: u64,
    ) -> Result<http::Answer, SpotifyError> {
        let mut token = self.tokens.get(budget).await?;
        loop {
            let method = Method::Get { token: &token.secret };
            let answer = self.api.ask(url.clone(), method, budget, bytes_max).await?;
            if answer.status != 401 {
                return Ok(answer);
            }
            let said = answer.said();
            let is_app_s = token.flow == Flow::App && said.wants_a_user();
            if is_app_s || said.stays_whatever_the_token() {
                return Ok(answer);
            }
            tracing::debug!("the access token was refused: {said}");
            match self.tokens.renew(&token, budget).await? {
                Some(new) => token = new,
                None => return Err(SpotifyError::TokenRefused { flow: token.flow, said }),
            }
        }
    }
}

/// How far apart the clock of this machine and Spotify's may be.
const CLOCKS_APART_MAX: time::Duration = time::Duration::days(1);

impl Spotify {
    /// Compares the clock of this machine with the one that an answer was sent by: a document gets its time
    /// from the former.
    fn check_clock(&self, answer: &http::Answer) -> Result<(), SpotifyError> {
        let (here, Some(there)) = (self.clock.now(), answer.sent_at) else { return Ok(()) };
        if (here - there).abs() > CLOCKS_APART_MAX {
            return Err(SpotifyError::Clock { here, there });
        }
        Ok(())
    }
}

/// The version that Spotify is told.
fn user_agent() -> String {
    format!("spotify-etl/{HOST_VERSION}")
}
