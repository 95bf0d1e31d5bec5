//! What can go wrong between here and Spotify: what happened, why, in Spotify's own words, and what
//! somebody can do about it.

use std::{error::Error, fmt, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use time::{OffsetDateTime, macros::format_description};

use super::{credentials::Flow, token::TokenError};
use crate::{config::Bytes, document::PlaylistId};

/// What the ids of Spotify's own playlists begin with.
const EDITORIAL: &str = "37i9dQZ";
/// Spotify's tokens have some hundred characters, its secrets 32. What is much shorter is no secret, and
/// would be found in honest words.
const SECRET_BYTES_MIN: usize = 8;
/// How much of an answer is quoted.
const WORDS_MAX: usize = 300;

/// Whether a playlist is one of Spotify's own: charts, and what it makes for each listener. Apps
/// without extended quota are not shown these since 2024-11-27.
pub fn is_editorial(id: &PlaylistId) -> bool {
    id.as_str().starts_with(EDITORIAL)
}

/// A refusal in Spotify's own words.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// The HTTP status.
    pub status: u16,
    /// Its words; empty if there were none.
    pub words: String,
}

impl Said {
    /// Finds the words in an answer, whatever its form: the Web API's error object, the accounts
    /// service's, plain text, a page of HTML, or nothing. Secrets that come back are taken out.
    pub fn read(status: u16, body: &[u8], secrets: &[SecretString]) -> Self {
        let text = String::from_utf8_lossy(body);
        let words = match serde_json::from_str::<Value>(&text) {
            Ok(value) => words_of(&value),
            Err(_) if text.trim_start().starts_with('<') => "a page of HTML".to_owned(),
            Err(_) => text.into_owned(),
        };
        Said { status, words: redacted(&words, secrets) }
    }

    fn says(&self, part: &str) -> bool {
        self.words.to_ascii_lowercase().contains(part)
    }

    /// Whether an app's token was refused because a user's is needed: no new token mends that.
    pub fn wants_a_user(&self) -> bool {
        self.status == 401 && self.says("valid user authentication")
    }

    /// Whether the day's quota is used up, not just the last half minute's.
    pub fn is_quota(&self) -> bool {
        self.says("quota_exceeded")
    }

    /// Whether a new token would be refused as well.
    pub fn stays_whatever_the_token(&self) -> bool {
        self.clone().of_the_app().is_ok()
    }

    /// Whether the app or its user is refused, whatever is asked for.
    fn of_the_app(self) -> Result<SpotifyError, Self> {
        match self.status {
            403 if self.says("premium") => Ok(SpotifyError::Premium { said: self }),
            403 if self.says("may not be registered") || self.says("user not registered") => {
                Ok(SpotifyError::NotRegistered { said: self })
            }
            401 | 403 if self.says("scope") => Ok(SpotifyError::Scope { said: self }),
            _ => Err(self),
        }
    }

    /// Whether another address for the same entries may answer differently.
    pub fn may_differ_elsewhere(&self) -> bool {
        let of_the_app = self.clone().of_the_app().is_ok();
        self.wants_a_user() || (matches!(self.status, 403 | 404 | 405 | 410) && !of_the_app)
    }

    /// What the refusal of a playlist means.
    pub fn about(self, id: &PlaylistId) -> SpotifyError {
        let said = match self.of_the_app() {
            Ok(error) => return error,
            Err(said) => said,
        };
        let id = id.clone();
        match said.status {
            _ if said.wants_a_user() => SpotifyError::AppToken { id, said },
            403 | 404 if is_editorial(&id) => SpotifyError::Editorial { id, said },
            404 => SpotifyError::NotFound { id, said },
            403 => SpotifyError::NotYours { id, said },
            400 => SpotifyError::BadRequest { id, said },
            _ => SpotifyError::Other { said },
        }
    }

    /// What a refusal means that is about no playlist.
    pub fn in_general(self) -> SpotifyError {
        self.of_the_app().unwrap_or_else(|said| SpotifyError::Other { said })
    }
}

fn words_of(value: &Value) -> String {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let error = &value["error"];
    let message = text(&error["message"]).or_else(|| text(&value["message"]));
    let reason = text(&error["reason"]);
    let parts = match (text(error), text(&value["error_description"])) {
        (Some(name), description) => vec![Some(name), description],
        (None, _) => vec![message, reason],
    };
    let parts: Vec<String> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    match (parts.is_empty(), value) {
        (true, Value::String(text)) => text.clone(),
        (true, Value::Null) => String::new(),
        (true, other) => other.to_string(),
        (false, _) => parts.join(": "),
    }
}

/// Text without secrets of at least so many bytes.
pub fn without(text: &str, secrets: &[SecretString], bytes_min: usize) -> String {
    let secrets = secrets.iter().map(ExposeSecret::expose_secret);
    let secrets = secrets.filter(|text| text.len() >= bytes_min);
    secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "[secret]"))
}

/// Text from elsewhere as it can be shown: without secrets, in one line, and not too long.
pub fn redacted(text: &str, secrets: &[SecretString]) -> String {
    let text = without(text, secrets, SECRET_BYTES_MIN);
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((cut, _)) = text.char_indices().nth(WORDS_MAX) {
        text.truncate(cut);
        text.push('…');
    }
    text
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status, self.words.as_str()) {
            (status, "") => write!(f, "it answers {status} without a word"),
            (status, words) => write!(f, "it answers {status} `{words}`"),
        }
    }
}

/// Why Spotify could not be asked, or what it refused.
#[derive(Debug, thiserror::Error)]
pub enum SpotifyError {
    /// No token to be had, after one was.
    #[error(transparent)]
    Token(Box<TokenError>),
    /// A playlist that Spotify makes itself.
    #[error(
        "Spotify doesn't show playlist `{id}` to this app: {said}. Ids that begin with {EDITORIAL} are Spotify's own playlists, charts among them, which it closed to apps on 2024-11-27 (copy its songs into a playlist of your own: open it in Spotify, select all songs, add them to a new playlist; then `spotify-etl login`, and extract the copy. Only apps with extended quota still read the original)"
    )]
    Editorial {
        /// Which.
        id: PlaylistId,
        /// In its words.
        said: Said,
    },
    /// No such playlist, or none that this account may see.
    #[error(
        "Spotify finds no playlist `{id}`: {said} ({}compare the address; a private playlist is shown to its owner and collaborators alone: log in as one of them with `spotify-etl login`)",
        length_hint(.id)
    )]
    NotFound {
        /// Which.
        id: PlaylistId,
        /// In its words.
        said: Said,
    },
    /// Somebody else's playlist.
    #[error(
        "Spotify refuses playlist `{id}`: {said}. Since February 2026 an app in development mode reads only playlists that its user owns or collaborates on (log in as the owner with `spotify-etl login`, become a collaborator, or copy the songs into a playlist of your own and extract that)"
    )]
    NotYours {
        /// Which.
        id: PlaylistId,
        /// In its words.
        said: Said,
    },
    /// The app's owner doesn't pay.
    #[error(
        "Spotify refuses this app: {said}. Since February 2026 the owner of an app in development mode needs Spotify Premium (subscribe with the account that owns the app, wait some hours, and run again)"
    )]
    Premium {
        /// In its words.
        said: Said,
    },
    /// The user is not on the app's list.
    #[error(
        "Spotify refuses this account: {said}. An app in development mode serves only the accounts that its owner listed, at most 5 (add it under User Management of the app on developer.spotify.com/dashboard, or log in with another account: spotify-etl login)"
    )]
    NotRegistered {
        /// In its words.
        said: Said,
    },
    /// The user didn't agree to it.
    #[error(
        "the login doesn't cover this: {said} (log in again and agree to what is asked for: spotify-etl login)"
    )]
    Scope {
        /// In its words.
        said: Said,
    },
    /// An app's token where a user's is needed.
    #[error(
        "Spotify shows the entries of playlist `{id}` to users only, and this is an app's token: {said} (log in: spotify-etl login; only apps with extended quota read playlists without a user)"
    )]
    AppToken {
        /// Which.
        id: PlaylistId,
        /// In its words.
        said: Said,
    },
    /// A second token was refused, too.
    #[error(
        "Spotify refuses the access token, and the new one too: {said} ({}look at the app on developer.spotify.com/dashboard)",
        match .flow { Flow::User => "log in again: spotify-etl login; if that doesn't help, ", Flow::App => "" }
    )]
    TokenRefused {
        /// Whose token.
        flow: Flow,
        /// In its words.
        said: Said,
    },
    /// No id.
    #[error("Spotify doesn't take `{id}` for a playlist's id: {said} ({}compare the address)", length_hint(.id))]
    BadId {
        /// What was taken for one.
        id: PlaylistId,
        /// In its words.
        said: Said,
    },
    /// Something about the request.
    #[error(
        "Spotify doesn't take the request for playlist `{id}`: {said} ({}check --page-size (50 at most), --market (two letters) and --fields, if they were given)",
        length_hint(.id)
    )]
    BadRequest {
        /// Which.
        id: PlaylistId,
        /// In its words.
        said: Said,
    },
    /// Anything else.
    #[error(
        "Spotify doesn't do what it was asked for: {said} (run the same command again later; if it goes on, look at the app on developer.spotify.com/dashboard)"
    )]
    Other {
        /// In its words.
        said: Said,
    },
    /// Asked to wait longer than one wants to sit there.
    #[error(
        "Spotify takes no more requests until {}, {} from now: {said} (run the same command again after that; --limit retry_wait_seconds=... sits longer waits out)",
        moment(*.until), span(*.wait)
    )]
    RateLimited {
        /// When it ends.
        until: OffsetDateTime,
        /// How long that is from now.
        wait: Duration,
        /// In its words.
        said: Said,
    },
    /// The developer account's quota is used up.
    #[error(
        "the quota of this app's developer is used up until {}, {} from now: {said}. Since July 2026 all apps of a developer share one (run the same command again after that, and extract fewer playlists, or less often)",
        moment(*.until), span(*.wait)
    )]
    Quota {
        /// When it ends.
        until: OffsetDateTime,
        /// How long that is from now.
        wait: Duration,
        /// In its words.
        said: Said,
    },
    /// The same, and nobody knows until when.
    #[error(
        "the quota of this app's developer is used up: {said}. Since July 2026 all apps of a developer share one, counted over a day (run the same command again tomorrow, and extract fewer playlists, or less often)"
    )]
    QuotaWithoutEnd {
        /// In its words.
        said: Said,
    },
    /// Failures that go on.
    #[error(
        "Spotify did not do what it was asked for, {}: {said} (run the same command again later; --limit request_attempts=... tries more often)",
        times(*.attempts)
    )]
    Unavailable {
        /// How often it was asked.
        attempts: u64,
        /// In its words.
        said: Said,
    },
    /// A clock that is set wrong.
    #[error(
        "the clock of this machine says {}, and Spotify's says {}: snapshots would get a wrong time (set the clock of this machine, then run the same command again)",
        moment(*.here), moment(*.there)
    )]
    Clock {
        /// The time on this machine.
        here: OffsetDateTime,
        /// The time of Spotify's answer.
        there: OffsetDateTime,
    },
    /// No answer.
    #[error("{host} could not be asked, {}: {} ({})", times(*.attempts), causes(.source), advice(.source))]
    Unreachable {
        /// Who.
        host: String,
        /// How often it was tried.
        attempts: u64,
        /// What the network says.
        source: reqwest::Error,
    },
    /// Waits that add up.
    #[error(
        "waiting for Spotify would take more than {seconds} s in all: {cause} (run the same command again later, or raise it with --limit retry_total_seconds=...)"
    )]
    WaitedTooLong {
        /// The limit.
        seconds: u64,
        /// What there is to wait for.
        cause: String,
    },
    /// A playlist that takes too long.
    #[error(
        "it can't be read within {seconds} s{cause} (run the same command again, or raise it with --limit playlist_seconds=...)"
    )]
    TooSlow {
        /// The limit.
        seconds: u64,
        /// What there is to wait for, after a colon; or nothing.
        cause: String,
    },
    /// An answer that is none.
    #[error(
        "Spotify's answer can't be used: it is {problem}, for {what} (run the same command again; if it goes on, the API may have changed: use a newer spotify-etl)"
    )]
    Unusable {
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Over the limit.
    #[error(
        "playlist `{id}` is larger than the limit of {} for a document (raise it with --limit document_bytes=..., or ask for less with --fields slim)",
        Bytes(*.max)
    )]
    TooLarge {
        /// Which.
        id: PlaylistId,
        /// The limit.
        max: u64,
    },
    /// Over the limit.
    #[error("playlist `{id}` has more than {max} pages (raise it with --limit playlist_pages=...)")]
    TooManyPages {
        /// Which.
        id: PlaylistId,
        /// The limit.
        max: u64,
    },
    /// A next page that is somewhere else.
    #[error(
        "Spotify's answer names a next page that is not this playlist's on {host}: `{next}`; nothing was sent there (run the same command again; if it goes on, something between here and Spotify changes its answers)"
    )]
    Elsewhere {
        /// Where the API is.
        host: String,
        /// The address.
        next: String,
    },
    /// A next page that came before.
    #[error(
        "Spotify's answer names a next page that was read already: `{next}` (run the same command again)"
    )]
    Circle {
        /// The address.
        next: String,
    },
    /// A playlist that can't be read whole.
    #[error(
        "playlist `{id}` could not be read whole, twice: {why}; nothing was landed (run the same command again when nobody is changing it)"
    )]
    Incomplete {
        /// Which.
        id: PlaylistId,
        /// The second time.
        why: String,
    },
    /// A base address that tokens must not go to.
    #[error("{url} can't be an address of Spotify's: {problem}")]
    Address {
        /// Which.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// No TLS.
    #[error(
        "secure connections are not possible here: {} (install the system's certificates, such as Debian's ca-certificates, or name a file of them with SSL_CERT_FILE)",
        causes(.source)
    )]
    Tls {
        /// What is missing.
        source: reqwest::Error,
    },
}

impl From<TokenError> for SpotifyError {
    fn from(error: TokenError) -> Self {
        SpotifyError::Token(Box::new(error))
    }
}

impl SpotifyError {
    /// Whether the same command may succeed later, with nothing changed.
    pub fn is_transient(&self) -> bool {
        match self {
            SpotifyError::Token(error) => error.is_transient(),
            SpotifyError::RateLimited { .. }
            | SpotifyError::Quota { .. }
            | SpotifyError::QuotaWithoutEnd { .. }
            | SpotifyError::Unavailable { .. }
            | SpotifyError::Unreachable { .. }
            | SpotifyError::WaitedTooLong { .. }
            | SpotifyError::TooSlow { .. }
            | SpotifyError::Unusable { .. }
            | SpotifyError::Circle { .. }
            | SpotifyError::Incomplete { .. }
            | SpotifyError::Other { .. } => true,
            _ => false,
        }
    }
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

fn length_hint(id: &PlaylistId) -> String {
    match id.as_str() {
        id if id.len() == 22 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            String::new()
        }
        id => format!(
            "a playlist's id is 22 letters and digits, and this has {}; labels are what `spotify-etl playlist list` shows; ",
            id.chars().count()
        ),
    }
}

/// What the network says, without the address that the sentence names already.
fn causes(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it gave no answer in time".to_owned();
    }
    let mut deepest: &dyn Error = error;
    let mut found = Vec::new();
    while let Some(source) = deepest.source() {
        let text = source.to_string();
        found.retain(|earlier: &String| !text.contains(earlier.as_str()));
        if !found.iter().any(|earlier: &String| earlier.contains(&text)) {
            found.push(text);
        }
        deepest = source;
    }
    if found.is_empty() { error.to_string() } else { found.join(": ") }
}

fn advice(error: &reqwest::Error) -> &'static str {
    let certificate = causes(error).to_lowercase().contains("certificate");
    match certificate {
        _ if error.is_timeout() => {
            "run the same command again, or allow more time with --limit request_seconds=..."
        }
        true => {
            "if a proxy of yours opens secure connections, name its certificate with SSL_CERT_FILE"
        }
        false => "check the network; proxies are taken from HTTPS_PROXY and NO_PROXY",
    }
}

/// A moment as people read it: `2026-11-23 04:05:06 UTC`.
pub fn moment(moment: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    moment.to_offset(time::UtcOffset::UTC).format(format).unwrap_or_default()
}

fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, 0) => format!("{minutes} min"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, 0, _) => format!("{hours} h"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}
