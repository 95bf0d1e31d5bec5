//! One request and its answer: time-outs, waits, second attempts, and where a token may go.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rand::RngExt;
use reqwest::{Client, Response, Url, header, redirect::Policy};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use super::{
    Clock,
    error::{Said, SpotifyError, redacted, without},
    user_agent,
};
use crate::config::Limits;

/// The first wait after a failure; each following one is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Who asks to wait for no time at all has to be asked less often all the same.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
/// No service means a longer wait than a year.
const LONGEST_WAIT: Duration = Duration::from_secs(366 * 86400);
/// Spotify's tokens are longer.
const TOKEN_BYTES_MIN: usize = 24;
/// How much of a refusal is read.
const REFUSAL_BYTES_MAX: u64 = 64 * 1024;
/// How long a connection may take to be made.
const CONNECT_SECONDS_MAX: u64 = 10;

/// A client as the system has it set up: its certificates and those of `SSL_CERT_FILE`, the proxies
/// of the environment. It follows no redirects, which the API has none of.
///
/// # Errors
///
/// If no secure connection is possible.
pub fn client(limits: &Limits) -> Result<Client, SpotifyError> {
    // Another one may be installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let connect_seconds = limits.request_seconds.min(CONNECT_SECONDS_MAX);
    Client::builder()
        .user_agent(user_agent())
        .redirect(Policy::none())
        .connect_timeout(Duration::from_secs(connect_seconds))
        .timeout(Duration::from_secs(limits.request_seconds))
        .build()
        .map_err(|source| SpotifyError::Tls { source })
}

/// What is left of the time and the patience for what belongs together.
#[derive(Clone, Debug)]
pub struct Budget {
    started: OffsetDateTime,
    waited: Duration,
    /// How many requests were made.
    pub requests: u32,
}

impl Budget {
    /// A whole one.
    pub fn new(now: OffsetDateTime) -> Self {
        Budget { started: now, waited: Duration::ZERO, requests: 0 }
    }
}

/// What is done at an address.
#[derive(Clone, Copy)]
pub enum Method<'a> {
    /// Something is read.
    Get {
        /// By whom.
        token: &'a SecretString,
    },
    /// A form is sent.
    Post {
        /// Its fields.
        form: &'a [(&'a str, &'a str)],
        /// Those of its fields that nobody should see.
        secrets: &'a [&'a SecretString],
        /// The name and password of the sender.
        basic: Option<(&'a str, &'a SecretString)>,
    },
}

impl Method<'_> {
    /// What is sent and must not come back to anybody's eyes, in each spelling it may come in.
    fn secrets(&self) -> Vec<SecretString> {
        let plain: Vec<&str> = match self {
            Method::Get { token } => vec![token.expose_secret()],
            Method::Post { secrets, basic, .. } => secrets
                .iter()
                .copied()
                .chain(basic.map(|(_, password)| password))
                .map(ExposeSecret::expose_secret)
                .collect(),
        };
        let header = match self {
            Method::Post { basic: Some((name, password)), .. } => {
                Some(STANDARD.encode(format!("{name}:{}", password.expose_secret())))
            }
            _ => None,
        };
        let encoded = |text: &str| {
            let url = Url::parse_with_params("form:", [("", text)]).ok();
            let query = url.as_ref().and_then(Url::query).unwrap_or_default();
            query.trim_start_matches('=').to_owned()
        };
        let spelled = plain.iter().flat_map(|text| [(*text).to_owned(), encoded(text)]);
        let mut all: Vec<String> = spelled.chain(header).collect();
        // One within another must not break it up.
        all.sort_by_key(|text| std::cmp::Reverse(text.len()));
        all.dedup();
        all.into_iter().map(SecretString::from).collect()
    }
}

/// An answer that is neither a failure of Spotify's nor one to wait for.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, unpacked.
    pub body: Vec<u8>,
    /// The time at which it was sent, by the service's clock, if it says.
    pub sent_at: Option<OffsetDateTime>,
    what: String,
    secrets: Vec<SecretString>,
}

impl Answer {
    /// Whether it is what was asked for.
    pub fn is_success(&self) -> bool {
        self.status == 200
    }

    /// Its words, without the secrets that were sent.
    pub fn said(&self) -> Said {
        Said::read(self.status, &self.body, &self.secrets)
    }

    /// Text of it without the secrets that were sent, which no honest answer holds.
    pub fn clean(&self, text: &str) -> String {
        // A short one would be found in honest names.
        without(text, &self.secrets, TOKEN_BYTES_MIN)
    }

    /// A part of it that can be shown: without the secrets that were sent, and not too long.
    pub fn shown(&self, text: &str) -> String {
        redacted(text, &self.secrets)
    }

    /// The body as text, without BOM and outer white space.
    ///
    /// # Errors
    ///
    /// If it is empty or not UTF-8.
    pub fn text(&self) -> Result<&str, SpotifyError> {
        let bytes = self.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.body);
        let text = str::from_utf8(bytes).map_err(|_| self.unusable("not UTF-8"))?;
        let text = text.trim_matches([' ', '\t', '\r', '\n']);
        if text.is_empty() { Err(self.unusable("empty")) } else { Ok(text) }
    }

    /// The body as JSON.
    ///
    /// # Errors
    ///
    /// If it is none, or another.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, SpotifyError> {
        serde_json::from_str(self.text()?).map_err(|error| self.not_json(&error))
    }

    /// That the body is not the JSON it should be.
    pub fn not_json(&self, error: &serde_json::Error) -> SpotifyError {
        use serde_json::error::Category;
        let shown = String::from_utf8_lossy(&self.body);
        let kind = match error.classify() {
            _ if shown.trim_start().starts_with('<') => "a page of HTML".to_owned(),
            Category::Data => {
                format!("another JSON than expected ({})", self.shown(&error.to_string()))
            }
            Category::Eof => format!("JSON that breaks off after {} bytes", self.body.len()),
            _ => format!("not JSON ({error})"),
        };
        self.unusable(&kind)
    }

    /// That the body can't be used.
    pub fn unusable(&self, problem: &str) -> SpotifyError {
        let problem = match self.status {
            200 => problem.to_owned(),
            status => format!("{problem}, with status {status}"),
        };
        SpotifyError::Unusable { what: self.what.clone(), problem }
    }
}

/// When nothing may be asked until, and why.
#[derive(Clone)]
struct Rest {
    until: OffsetDateTime,
    said: Said,
}

/// A service at a base address. What it is asked goes nowhere else.
pub struct Service {
    client: Client,
    base: Url,
    limits: Limits,
    clock: Arc<dyn Clock>,
    rest: Mutex<Option<Rest>>,
}

/// What one attempt came to.
enum Attempt {
    Answered(Answer),
    /// Spotify failed, or asks to wait.
    Refused {
        asked: Option<Duration>,
        said: Said,
    },
    /// There was no answer.
    Failed(reqwest::Error),
}

/// Why a request is made again.
enum Cause {
    Said(Said),
    Silence(&'static str),
}

impl Cause {
    /// Whether Spotify limits how often it is asked.
    fn is_limit(&self) -> bool {
        matches!(self, Cause::Said(said) if said.status == 429)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Said(said) => write!(f, "{said}"),
            Cause::Silence(why) => f.write_str(why),
        }
    }
}

impl Service {
    /// Checks the base address: secrets go over TLS, or stay on this machine.
    pub fn new(
        client: Client,
        base: &Url,
        limits: Limits,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SpotifyError> {
        let bad = |problem| Err(SpotifyError::Address { url: shown(base), problem });
        let is_here = matches!(base.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
        match base.scheme() {
            "https" => {}
            "http" if is_here => {}
            _ => return bad("tokens are sent to https addresses only (or to 127.0.0.1)"),
        }
        if !base.username().is_empty() || base.password().is_some() {
            return bad("it must not hold a name or password");
        }
        if base.query().is_some() || base.fragment().is_some() {
            return bad("it must end with its path");
        }
        Ok(Service { client, base: base.clone(), limits, clock, rest: Mutex::new(None) })
    }

    /// The address of a path below the base.
    pub fn address(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    /// The address that an answer names, if it is on this service and its path holds `part`. What is
    /// named on Spotify's own host is asked of the configured one, which stands in for it.
    pub fn own(&self, answer: &Answer, address: &str, part: &str) -> Result<Url, SpotifyError> {
        let elsewhere =
            || SpotifyError::Elsewhere { host: self.host(), next: answer.shown(address) };
        let url = self.base.join(address).map_err(|_| elsewhere())?;
        let official = Url::parse(super::API_URL).map_err(|_| elsewhere())?;
        let is_named_right = url.username().is_empty() && url.path().contains(part);
        let base = [&self.base, &official].into_iter().find(|base| base.origin() == url.origin());
        let below =
            base.and_then(|base| url.path().strip_prefix(base.path().trim_end_matches('/')));
        match below {
            Some(path) if path.starts_with('/') && is_named_right => {
                let mut own = self.base.clone();
                own.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
                own.set_query(url.query());
                Ok(own)
            }
            _ => Err(elsewhere()),
        }
    }

    fn host(&self) -> String {
        let port = self.base.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}{port}", self.base.host_str().unwrap_or_default())
    }

    /// Asks until there is an answer, or no more sense in asking.
    ///
    /// # Errors
    ///
    /// The failure that was left in the end.
    pub async fn ask(
        &self,
        url: Url,
        method: Method<'_>,
        budget: &mut Budget,
        bytes_max: u64,
    ) -> Result<Answer, SpotifyError> {
        let mut backoff = FIRST_WAIT;
        let mut attempts = 0;
        loop {
            self.wait_with_the_others(budget).await?;
            let left = self.time_left(budget)?;
            attempts += 1;
            budget.requests += 1;
            let is_last = attempts >= self.limits.request_attempts;
            let (asked, cause) = match self.attempt(url.clone(), method, left, bytes_max).await {
                Attempt::Answered(answer) => return Ok(answer),
                Attempt::Refused { asked, said } => {
                    self.rest_for(asked, &said)?;
                    if is_last {
                        return Err(SpotifyError::Unavailable { attempts, said });
                    }
                    (asked, Cause::Said(said))
                }
                Attempt::Failed(source) if is_last || source.is_builder() => {
                    return Err(SpotifyError::Unreachable { host: self.host(), attempts, source });
                }
                Attempt::Failed(source) if source.is_timeout() => {
                    (None, Cause::Silence("no answer in time"))
                }
                Attempt::Failed(_) => {
                    (None, Cause::Silence("no connection, or one that broke off"))
                }
            };
            // Spread, so that those who failed together don't come back together.
            let own = backoff.mul_f64(rand_share()).min(self.longest_wait());
            let wait = match asked {
                Some(asked) if cause.is_limit() => asked.max(SHORTEST_WAIT),
                // Who fails may say for how long, and doesn't always know.
                Some(asked) => asked.max(own).min(self.longest_wait()),
                None => own,
            };
            self.wait(wait, &cause, budget).await?;
            backoff *= 2;
        }
    }

    /// Takes note of a wait that Spotify asks for, for all requests of this run; refuses one that
    /// nobody should sit out.
    fn rest_for(&self, asked: Option<Duration>, said: &Said) -> Result<(), SpotifyError> {
        let until = asked.map(|asked| self.clock.now() + asked);
        if let Some(until) = until.filter(|_| said.status == 429) {
            let mut rest = self.rest();
            // Several are under way at a time, and the longest wait counts.
            if rest.as_ref().is_none_or(|known| known.until < until) {
                *rest = Some(Rest { until, said: said.clone() });
            }
        }
        match asked {
            Some(wait) if wait > self.longest_wait() => Err(self.too_long(wait, said.clone())),
            None if said.status == 429 && said.is_quota() => {
                Err(SpotifyError::QuotaWithoutEnd { said: said.clone() })
            }
            _ => Ok(()),
        }
    }

    /// If somebody was told to wait, all wait.
    async fn wait_with_the_others(&self, budget: &mut Budget) -> Result<(), SpotifyError> {
        loop {
            let Some(Rest { until, said }) = self.rest().clone() else { return Ok(()) };
            let left = Duration::try_from(until - self.clock.now()).unwrap_or_default();
            if left.is_zero() {
                return Ok(());
            }
            if left > self.longest_wait() {
                return Err(self.too_long(left, said));
            }
            self.wait(left, &Cause::Said(said), budget).await?;
        }
    }

    async fn wait(
        &self,
        wait: Duration,
        cause: &Cause,
        budget: &mut Budget,
    ) -> Result<(), SpotifyError> {
        let seconds = self.limits.retry_total_seconds;
        if budget.waited + wait > Duration::from_secs(seconds) {
            return Err(SpotifyError::WaitedTooLong { seconds, cause: cause.to_string() });
        }
        if wait > self.time_left(budget)? {
            let seconds = self.limits.playlist_seconds;
            return Err(SpotifyError::TooSlow { seconds, cause: format!(": {cause}") });
        }
        tracing::warn!("{}: {cause}; again in {:.1} s", self.host(), wait.as_secs_f64());
        budget.waited += wait;
        self.clock.sleep(wait).await;
        Ok(())
    }

    /// What is left of the time for a playlist.
    fn time_left(&self, budget: &Budget) -> Result<Duration, SpotifyError> {
        let seconds = self.limits.playlist_seconds;
        let passed = Duration::try_from(self.clock.now() - budget.started).unwrap_or_default();
        Duration::from_secs(seconds)
            .checked_sub(passed)
            .filter(|left| !left.is_zero())
            .ok_or(SpotifyError::TooSlow { seconds, cause: String::new() })
    }

    fn longest_wait(&self) -> Duration {
        Duration::from_secs(self.limits.retry_wait_seconds)
    }

    fn too_long(&self, wait: Duration, said: Said) -> SpotifyError {
        let until = self.clock.now() + wait;
        if said.is_quota() {
            SpotifyError::Quota { until, wait, said }
        } else {
            SpotifyError::RateLimited { until, wait, said }
        }
    }

    fn rest(&self) -> std::sync::MutexGuard<'_, Option<Rest>> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn attempt(
        &self,
        url: Url,
        method: Method<'_>,
        time_left: Duration,
        bytes_max: u64,
    ) -> Attempt {
        // Without the query, which may hold what nobody should read.
        let path = url.path().to_owned();
        let request = match method {
            Method::Get { token } => self.client.get(url).bearer_auth(token.expose_secret()),
            Method::Post { form, basic, .. } => {
                let request = self.client.post(url).form(form);
                match basic {
                    Some((name, password)) => {
                        request.basic_auth(name, Some(password.expose_secret()))
                    }
                    None => request,
                }
            }
        };
        let time = time_left.min(Duration::from_secs(self.limits.request_seconds));
        let response = match request.timeout(time).send().await {
            Ok(response) => response,
            Err(error) => return Attempt::Failed(error.without_url()),
        };
        let status = response.status().as_u16();
        tracing::debug!("{path}: {status}");
        let asked = self.asked_wait(&response);
        let sent_at = sent_at(&response);
        let max = if status == 200 { bytes_max } else { REFUSAL_BYTES_MAX };
        let body = match body(response, max).await {
            Ok(body) => body,
            Err(error) => return Attempt::Failed(error.without_url()),
        };
        let (what, secrets) = (format!("`{}{path}`", self.host()), method.secrets());
        match status {
            429 | 500.. => Attempt::Refused { asked, said: Said::read(status, &body, &secrets) },
            _ => Attempt::Answered(Answer { status, body, sent_at, what, secrets }),
        }
    }

    /// How long the answer asks to wait: seconds, or a date.
    fn asked_wait(&self, response: &Response) -> Option<Duration> {
        let text = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim();
        let asked = match text.parse::<f64>() {
            Ok(seconds) if seconds > LONGEST_WAIT.as_secs_f64() => LONGEST_WAIT,
            Ok(seconds) => Duration::try_from_secs_f64(seconds).ok()?,
            Err(_) => Duration::try_from(http_date(text)? - self.clock.now()).ok()?,
        };
        Some(asked.min(LONGEST_WAIT))
    }
}

/// Reads a date as HTTP has it: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<OffsetDateTime> {
    let format = &time::format_description::well_known::Rfc2822;
    OffsetDateTime::parse(&text.replace("GMT", "+0000"), format).ok()
}

/// When an answer was sent: what a cache kept is older by what the cache says.
fn sent_at(response: &Response) -> Option<OffsetDateTime> {
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let age = text(header::AGE).and_then(|seconds| seconds.trim().parse::<u32>().ok());
    let age = time::Duration::seconds(age.unwrap_or_default().into());
    http_date(text(header::DATE)?.trim())?.checked_add(age)
}

/// The body, unpacked: one byte more than the limit if it is larger.
async fn body(mut response: Response, max: u64) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = max.saturating_add(1).saturating_sub(body.len() as u64);
        let taken = chunk.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        body.extend_from_slice(&chunk[..taken]);
        if body.len() as u64 > max {
            break;
        }
    }
    Ok(body)
}

/// From a half to a whole.
fn rand_share() -> f64 {
    rand::rng().random_range(0.5..=1.0)
}

/// An address without name and password.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    format!("`{url}`")
}
