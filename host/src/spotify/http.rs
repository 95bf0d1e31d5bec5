//! One request and its answer: time-outs, waits, second attempts, and where a token may go.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rand::RngExt;
use reqwest::{Client, Response, Url, header, redirect::Policy};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use super::{
    Clock,
    error::{Said, SpotifyError, moment},
    user_agent,
};
use crate::config::Limits;

/// The first wait after a failure; each following one is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
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
#[derive(Debug)]
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
        /// The name and password of the sender.
        basic: Option<(&'a str, &'a SecretString)>,
    },
}

/// An answer that is neither a failure of Spotify's nor one to wait for.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, unpacked.
    pub body: Vec<u8>,
    what: String,
}

impl Answer {
    /// Whether it is what was asked for.
    pub fn is_success(&self) -> bool {
        self.status == 200
    }

    /// Its words, without the secret that was sent.
    pub fn said(&self, secret: &SecretString) -> Said {
        Said::read(self.status, &self.body, &[secret])
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
            Category::Data => format!("another JSON than expected ({error})"),
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
    Wait { asked: Option<Duration>, said: Said },
    Failed(reqwest::Error),
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

    /// The address that Spotify names, if it is on this service. What it names on its own host is
    /// asked of the configured one, which stands in for it.
    pub fn own(&self, address: &str) -> Result<Url, SpotifyError> {
        let elsewhere = || SpotifyError::Elsewhere {
            host: self.host(),
            next: address.chars().take(200).collect(),
        };
        let url = self.base.join(address).map_err(|_| elsewhere())?;
        if url.origin() == self.base.origin() && url.username().is_empty() {
            return Ok(url);
        }
        let official = Url::parse(super::API_URL).map_err(|_| elsewhere())?;
        let below = url.path().strip_prefix(official.path());
        match below {
            Some(path) if url.origin() == official.origin() && path.starts_with('/') => {
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
            attempts += 1;
            budget.requests += 1;
            let last = attempts >= self.limits.request_attempts;
            let (asked, said) = match self.attempt(url.clone(), method, bytes_max).await? {
                Attempt::Answered(answer) => return Ok(answer),
                Attempt::Wait { asked, said } => (asked, said),
                Attempt::Failed(source) if last => {
                    return Err(SpotifyError::Unreachable { host: self.host(), attempts, source });
                }
                Attempt::Failed(source) => {
                    tracing::debug!("no answer: {source}");
                    let words = if source.is_timeout() { "time-out" } else { "no connection" };
                    (None, Said { status: 0, words: words.to_owned() })
                }
            };
            // Spread, so that those who failed together don't come back together.
            let spread = backoff.mul_f64(rand_share());
            let wait = asked.unwrap_or(spread);
            if said.status == 429 {
                let until = self.clock.now() + wait;
                *self.rest() = Some(Rest { until, said: said.clone() });
            }
            if wait.as_secs_f64() > self.limits.retry_wait_seconds as f64 {
                return Err(self.too_long(wait, said));
            }
            if last {
                return Err(match said.status {
                    429 => self.too_long(wait, said),
                    _ => SpotifyError::Unavailable { attempts, said },
                });
            }
            self.wait(wait, &said, budget).await?;
            backoff *= 2;
        }
    }

    /// If somebody was told to wait, all wait.
    async fn wait_with_the_others(&self, budget: &mut Budget) -> Result<(), SpotifyError> {
        let Some(Rest { until, said }) = self.rest().clone() else { return Ok(()) };
        let Ok(wait) = Duration::try_from(until - self.clock.now()) else { return Ok(()) };
        if wait.is_zero() {
            return Ok(());
        }
        if wait.as_secs_f64() > self.limits.retry_wait_seconds as f64 {
            return Err(self.too_long(wait, said));
        }
        self.wait(wait, &said, budget).await
    }

    async fn wait(
        &self,
        wait: Duration,
        said: &Said,
        budget: &mut Budget,
    ) -> Result<(), SpotifyError> {
        let Limits { retry_total_seconds, playlist_seconds, .. } = self.limits;
        let passed = Duration::try_from(self.clock.now() - budget.started).unwrap_or_default();
        if (budget.waited + wait).as_secs_f64() > retry_total_seconds as f64 {
            let said = said.clone();
            return Err(SpotifyError::WaitedTooLong { seconds: retry_total_seconds, said });
        }
        if (passed + wait).as_secs_f64() > playlist_seconds as f64 {
            return Err(SpotifyError::TooSlow { seconds: playlist_seconds });
        }
        let host = self.host();
        match said.status {
            0 => tracing::warn!("{host}: {}; again in {:.1} s", said.words, wait.as_secs_f64()),
            _ => tracing::warn!("{host}: {said}; again in {:.1} s", wait.as_secs_f64()),
        }
        budget.waited += wait;
        self.clock.sleep(wait).await;
        Ok(())
    }

    /// Whether a playlist has taken too long already.
    pub fn check_time(&self, budget: &Budget) -> Result<(), SpotifyError> {
        let seconds = self.limits.playlist_seconds;
        let passed = (self.clock.now() - budget.started).as_seconds_f64();
        if passed > seconds as f64 { Err(SpotifyError::TooSlow { seconds }) } else { Ok(()) }
    }

    fn too_long(&self, wait: Duration, said: Said) -> SpotifyError {
        let until = self.clock.now() + wait;
        tracing::debug!("told to wait until {}", moment(until));
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
        bytes_max: u64,
    ) -> Result<Attempt, SpotifyError> {
        // Without the query, which may hold what nobody should read.
        let path = url.path().to_owned();
        let (request, secrets) = match method {
            Method::Get { token } => {
                (self.client.get(url).bearer_auth(token.expose_secret()), vec![token])
            }
            Method::Post { form, basic } => {
                let request = self.client.post(url).form(form);
                match basic {
                    Some((name, password)) => {
                        let request = request.basic_auth(name, Some(password.expose_secret()));
                        (request, vec![password])
                    }
                    None => (request, Vec::new()),
                }
            }
        };
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Ok(Attempt::Failed(error.without_url())),
        };
        let status = response.status().as_u16();
        tracing::debug!("{path}: {status}");
        let asked = self.asked_wait(&response);
        let max = if status == 200 { bytes_max } else { REFUSAL_BYTES_MAX };
        let body = match body(response, max).await {
            Ok(body) => body,
            Err(error) => return Ok(Attempt::Failed(error.without_url())),
        };
        let what = format!("`{}{path}`", self.host());
        Ok(match status {
            429 | 500.. => Attempt::Wait { asked, said: Said::read(status, &body, &secrets) },
            _ => Attempt::Answered(Answer { status, body, what }),
        })
    }

    /// How long the answer asks to wait: seconds, or a date.
    fn asked_wait(&self, response: &Response) -> Option<Duration> {
        let text = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse::<f64>() {
            return Duration::try_from_secs_f64(seconds).ok();
        }
        let format = &time::format_description::well_known::Rfc2822;
        let until = OffsetDateTime::parse(&text.replace("GMT", "+0000"), format).ok()?;
        Duration::try_from(until - self.clock.now()).ok()
    }
}

/// The body, unpacked: one byte more than the limit if it is larger.
async fn body(mut response: Response, max: u64) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = (max + 1).saturating_sub(body.len() as u64);
        body.extend(chunk.iter().take(usize::try_from(room).unwrap_or(usize::MAX)));
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
