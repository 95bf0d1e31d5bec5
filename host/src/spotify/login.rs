//! A user's consent: authorization code with PKCE, over a redirect to this machine.
//!
//! <https://developer.spotify.com/documentation/web-api/tutorials/code-pkce-flow>; what a redirect
//! address may be: <https://developer.spotify.com/documentation/web-api/concepts/redirect_uri>.

use std::{collections::VecDeque, convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http_body_util::Full;
use hyper::{Request, Response, body::Bytes, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use rand::TryRng;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::AbortHandle,
};

use super::{
    Settings,
    error::{Said, SpotifyError},
    http::{self, Answer, Budget, Method, Service},
    kept::{Account, Login},
    token::{self, TokenError},
};
use crate::spotify::Clock;

/// The address to register with the app. Without a port there, any may be used.
pub const REDIRECT_URI: &str = "http://127.0.0.1/callback";
/// How long a browser may take for one request and its answer.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);
/// How large a request may be, in bytes.
const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// How many connections are open at a time. For a further one the oldest is closed, so that slow ones keep
/// nothing out.
const CONNECTIONS_MAX: usize = 64;
/// An account takes some hundred bytes.
pub const ACCOUNT_BYTES_MAX: u64 = 1024 * 1024;
/// What is asked for: private playlists, and those made together.
const SCOPES: &str = "playlist-read-private playlist-read-collaborative";

/// The app that somebody logs in to.
#[derive(Clone, Debug)]
pub struct Application {
    /// Its client id.
    pub client_id: String,
    /// Its secret; without one PKCE alone proves who asks.
    pub client_secret: Option<SecretString>,
}

/// A login that somebody is asked to consent to.
pub struct Consent {
    /// The address to open in a browser.
    pub address: Url,
    redirect_uri: String,
    state: String,
    verifier: SecretString,
}

/// Listens where the redirect leads: at its port, or at any that is free if it has none.
///
/// # Errors
///
/// If the address is none of this machine's, or its port is taken.
pub async fn listen(redirect_uri: &Url) -> Result<(TcpListener, Url), LoginError> {
    let bad = || LoginError::Redirect { uri: redirect_uri.to_string() };
    let host = match redirect_uri.host_str() {
        Some("127.0.0.1") => "127.0.0.1",
        Some("[::1]") => "::1",
        _ => return Err(bad()),
    };
    let is_plain = redirect_uri.query().is_none() && redirect_uri.fragment().is_none();
    if redirect_uri.scheme() != "http" || !is_plain {
        return Err(bad());
    }
    let address =
        SocketAddr::new(host.parse().map_err(|_| bad())?, redirect_uri.port().unwrap_or(0));
    let taken = |source| LoginError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(taken)?;
    let port = listener.local_addr().map_err(taken)?.port();
    let mut uri = redirect_uri.clone();
    uri.set_port(Some(port)).map_err(|()| bad())?;
    Ok((listener, uri))
}

impl Consent {
    /// Prepares one, with secrets of its own.
    ///
    /// # Errors
    ///
    /// If the system has no random numbers.
    pub fn new(
        settings: &Settings,
        app: &Application,
        redirect_uri: &Url,
    ) -> Result<Self, LoginError> {
        let (state, verifier) = (random_text()?, random_text()?);
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
        let mut address = settings.accounts_url.clone();
        if let Ok(mut path) = address.path_segments_mut() {
            path.pop_if_empty().push("authorize");
        }
        address
            .query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &app.client_id)
            .append_pair("scope", SCOPES)
            .append_pair("redirect_uri", redirect_uri.as_str())
            .append_pair("state", &state)
            .append_pair("code_challenge_method", "S256")
            .append_pair("code_challenge", &challenge);
        let redirect_uri = redirect_uri.to_string();
        Ok(Consent { address, redirect_uri, state, verifier: SecretString::from(verifier) })
    }

    /// Waits for the browser to come back with an answer to this login. Any page in a browser can send requests
    /// here, so other requests end nothing: they get an error page.
    ///
    /// # Errors
    ///
    /// If Spotify's answer to this login is no consent.
    pub async fn answer(&self, listener: &TcpListener) -> Result<SecretString, LoginError> {
        let (sender, mut received) = mpsc::channel(1);
        let expected = Arc::new(Expected {
            redirect_uri: self.redirect_uri.clone(),
            state: self.state.clone(),
        });
        let serve = async {
            let mut open: VecDeque<AbortHandle> = VecDeque::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                open.retain(|connection| !connection.is_finished());
                if open.len() >= CONNECTIONS_MAX
                    && let Some(oldest) = open.pop_front()
                {
                    oldest.abort();
                }
                let connection = converse(stream, Arc::clone(&expected), sender.clone());
                open.push_back(tokio::spawn(connection).abort_handle());
            }
        };
        tokio::select! {
            never = serve => never,
            answer = received.recv() => answer.unwrap_or(Err(LoginError::NoAnswer)),
        }
    }

    /// Reads the address that a browser was sent to, as somebody pasted it.
    ///
    /// # Errors
    ///
    /// If it holds something else than a consent to this login.
    pub fn pasted(&self, address: &str) -> Result<SecretString, LoginError> {
        let address = address.trim_matches(|c: char| c.is_whitespace() || "\"'<>".contains(c));
        let url = Url::parse(address).map_err(|_| LoginError::Pasted)?;
        let base = Url::parse(&self.redirect_uri).map_err(|_| LoginError::Pasted)?;
        if url.origin() != base.origin() || url.path() != base.path() {
            return Err(LoginError::Pasted);
        }
        code(&url, &self.state).unwrap_or(Err(LoginError::Pasted))
    }
}

/// What an answer to this login looks like.
struct Expected {
    redirect_uri: String,
    state: String,
}

/// Where the answer to this login goes.
type Answers = mpsc::Sender<Result<SecretString, LoginError>>;

/// Answers one connection.
async fn converse(stream: TcpStream, expected: Arc<Expected>, sender: Answers) {
    let service = service_fn(|request: Request<Incoming>| {
        let answered = redirected(&expected, &request);
        let sender = sender.clone();
        async move { Ok::<_, Infallible>(respond(answered, &sender)) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(REQUEST_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // Whatever becomes of one connection, others are waited for.
    let _ = tokio::time::timeout(REQUEST_TIME_MAX, connection).await;
}

/// The code in the address that a request was made to; none if it is about something else.
fn redirected(
    expected: &Expected,
    request: &Request<Incoming>,
) -> Option<Result<SecretString, LoginError>> {
    let base = Url::parse(&expected.redirect_uri).ok()?;
    let url = base.join(&request.uri().to_string()).ok()?;
    if url.path() != base.path() || request.method() != hyper::Method::GET {
        return None;
    }
    code(&url, &expected.state)
}

fn code(url: &Url, state: &str) -> Option<Result<SecretString, LoginError>> {
    let value = |name: &str| {
        url.query_pairs().find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
    };
    let (code, error) = (value("code").filter(|code| !code.is_empty()), value("error"));
    if code.is_none() && error.is_none() {
        return None;
    }
    if value("state").as_deref() != Some(state) {
        return Some(Err(LoginError::State));
    }
    Some(match (code, error) {
        (_, Some(error)) => Err(LoginError::Denied { error }),
        (Some(code), None) => Ok(SecretString::from(code)),
        (None, None) => Err(LoginError::NoAnswer),
    })
}

fn respond(
    answered: Option<Result<SecretString, LoginError>>,
    sender: &Answers,
) -> Response<Full<Bytes>> {
    let (status, text) = match &answered {
        Some(Ok(_)) => (200, "Spotify agrees. Close this page: the terminal says the rest."),
        Some(Err(LoginError::State)) => (
            400,
            "This answers another login and was ignored. This login still waits for its answer.",
        ),
        Some(Err(_)) => (400, "This didn't work. The terminal says why."),
        None => (404, "Nothing here."),
    };
    match answered {
        None => {}
        Some(Err(LoginError::State)) => {
            tracing::debug!(
                "an answer to another login was ignored: its `state` is a different one"
            );
        }
        Some(answered) => {
            // Only the first counts.
            let _ = sender.try_send(answered);
        }
    }
    let page =
        format!("<!doctype html><meta charset=\"utf-8\"><title>spotify-etl</title><p>{text}</p>\n");
    let mut response = Response::new(Full::new(Bytes::from(page)));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert("content-type", hyper::header::HeaderValue::from_static("text/html"));
    response
}

/// Takes a consent to a login: the tokens, and whose they are.
///
/// # Errors
///
/// If Spotify doesn't accept the code, or gives no token to keep.
pub async fn log_in(
    settings: &Settings,
    app: &Application,
    consent: &Consent,
    code: &SecretString,
    clock: Arc<dyn Clock>,
) -> Result<Login, LoginError> {
    let client = http::client(&settings.limits)?;
    let service =
        |url: &Url| Service::new(client.clone(), url, settings.limits.clone(), Arc::clone(&clock));
    let (accounts, api) = (service(&settings.accounts_url)?, service(&settings.api_url)?);
    let now: OffsetDateTime = clock.now();
    let mut budget = Budget::new(now);
    let mut form = vec![
        ("grant_type", "authorization_code"),
        ("code", code.expose_secret()),
        ("redirect_uri", consent.redirect_uri.as_str()),
        ("code_verifier", consent.verifier.expose_secret()),
    ];
    let Application { client_id, client_secret } = app.clone();
    let basic = client_secret.as_ref().map(|secret| (client_id.as_str(), secret));
    if basic.is_none() {
        form.push(("client_id", &client_id));
    }
    let secrets = [code, &consent.verifier];
    let answer = token::post(&accounts, &form, &secrets, basic, &mut budget).await?;
    let tokens = match token::read(&answer, "this login") {
        Err(TokenError::Grant { said, .. }) => return Err(LoginError::Code { said }),
        read => read?,
    };
    let refresh_token = tokens.refresh_token.ok_or(LoginError::NoRefreshToken)?;
    let method = Method::Get { token: &tokens.access_token };
    let answer = api.ask(api.address(&["me"]), method, &mut budget, ACCOUNT_BYTES_MAX).await?;
    let scopes = tokens.scopes.unwrap_or_else(|| SCOPES.to_owned());
    for scope in SCOPES.split(' ').filter(|scope| !scopes.split(' ').any(|given| given == *scope)) {
        tracing::warn!("Spotify did not grant `{scope}`: some of your playlists can't be read");
    }
    Ok(Login {
        account: Some(account(&answer)?),
        scopes: scopes.split_whitespace().map(str::to_owned).collect(),
        consented_at: Some(now),
        refresh_token: Some(refresh_token),
        client_id,
        client_secret,
    })
}

/// Reads whose account it is.
pub fn account(answer: &Answer) -> Result<Account, SpotifyError> {
    if !answer.is_success() {
        return Err(answer.said().in_general());
    }
    let body: Value = answer.json()?;
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    let id = text("id").ok_or_else(|| answer.unusable("an account without `id`"))?;
    Ok(Account { id, name: text("display_name") })
}

/// 43 characters that nobody guesses, as PKCE has its verifiers.
fn random_text() -> Result<String, LoginError> {
    let mut bytes = [0; 32];
    rand::rngs::SysRng.try_fill_bytes(&mut bytes).map_err(|_| LoginError::Random)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Why nobody is logged in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// An address that the browser would not come back with.
    #[error(
        "`{uri}` can't be the redirect address: Spotify sends browsers back to this machine only at http://127.0.0.1/... or http://[::1]/... (register {REDIRECT_URI} with the app; a port is not needed)"
    )]
    Redirect {
        /// Which.
        uri: String,
    },
    /// The port is taken.
    #[error(
        "could not listen on {address}: {source} (leave the port out of --redirect-uri, and any free one is used)"
    )]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// No random numbers.
    #[error("the system has no random numbers for a login (try again)")]
    Random,
    /// Somebody else's answer.
    #[error(
        "the browser came back with an answer to another login: its `state` is a different one; nothing was kept (log in again, with this login's page only)"
    )]
    State,
    /// The user said no, or the app is set up otherwise.
    #[error("Spotify did not log in: `{error}` ({})", denied(.error))]
    Denied {
        /// In its words.
        error: String,
    },
    /// Nobody came.
    #[error(
        "nobody consented within {seconds} s (log in again; --limit login_seconds=... waits longer, and --paste is for a browser on another machine)"
    )]
    TooLate {
        /// The limit.
        seconds: u64,
    },
    /// The listener ended.
    #[error("the browser did not come back (log in again)")]
    NoAnswer,
    /// Something else was pasted.
    #[error(
        "that is not the address that the browser was sent to: it begins with http://127.0.0.1 and has `code=` in it (log in again, consent, and copy the whole address from the browser's address bar, though it shows an error there)"
    )]
    Pasted,
    /// A consent that is no good any more.
    #[error(
        "Spotify does not accept the consent: {said} (log in again, and agree within some minutes; if it is about the redirect address, compare that with the app's on developer.spotify.com/dashboard)"
    )]
    Code {
        /// In its words.
        said: Said,
    },
    /// Nothing to keep.
    #[error(
        "Spotify gave no refresh token, so there is nothing to keep (look at the app on developer.spotify.com/dashboard: it must use the Web API)"
    )]
    NoRefreshToken,
    /// No token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// No answer.
    #[error(transparent)]
    Spotify(#[from] SpotifyError),
}

fn denied(error: &str) -> &'static str {
    match error {
        "access_denied" => "log in again, and agree to it in the browser",
        _ => "compare the app's settings on developer.spotify.com/dashboard, then log in again",
    }
}
