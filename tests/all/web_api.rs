//! A server on this machine that speaks Spotify's Web API and accounts service as their
//! description says: what it answers is held against that description, and so is what it is asked.
//! Any answer can be replaced by another, for all the ways in which Spotify departs from it.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use spotify_etl::spotify::Url;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use crate::support::fixture;

/// The app that the server knows.
pub const CLIENT_ID: &str = "0123456789abcdef0123456789abcdef";
/// Its secret, which must turn up nowhere.
pub const CLIENT_SECRET: &str = "S3CR3T-of-the-app";
/// The account that consents.
pub const ACCOUNT: &str = "Some Body";

/// What Spotify lets an app do.
#[derive(Clone, Copy, PartialEq)]
pub enum Mode {
    /// New apps: `item`, users only, no `/tracks`.
    Development,
    /// Apps with extended quota: `track`, no user needed.
    Extended,
    /// As it was before `/items`: `/tracks` alone.
    Older,
}

/// An answer in place of the one that would be given.
#[derive(Clone)]
pub enum Reply {
    /// With a status, headers, and a body.
    Is(u16, Vec<(&'static str, String)>, String),
    /// The request is taken, and the connection closed.
    Closed,
    /// It says that more will come than does.
    Cut(String),
    /// It comes byte by byte, with a pause between.
    Drip(String),
    /// Nothing comes, for so long.
    Silence(Duration),
}

impl Reply {
    pub fn text(status: u16, body: &str) -> Self {
        Reply::Is(status, Vec::new(), body.to_owned())
    }

    pub fn error(status: u16, message: &str) -> Self {
        let error = json!({ "error": { "status": status, "message": message } });
        Reply::Is(status, Vec::new(), error.to_string())
    }

    pub fn wait(status: u16, seconds: u64, body: &str) -> Self {
        Reply::Is(status, vec![("retry-after", seconds.to_string())], body.to_owned())
    }
}

/// What the server was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub query: HashMap<String, String>,
    pub form: HashMap<String, String>,
    pub authorization: Option<String>,
}

struct Playlist {
    name: String,
    snapshot_id: String,
    entries: Vec<Value>,
    /// Entries that are added once so many pages were given.
    grows_after: Option<usize>,
    pages_given: usize,
}

struct State {
    mode: Mode,
    playlists: HashMap<String, Playlist>,
    replies: HashMap<String, VecDeque<Reply>>,
    asked: Vec<Asked>,
    /// The pages that were sent.
    pages: Vec<String>,
    /// What the description has to say against requests and answers.
    faults: Vec<String>,
    access_tokens: Vec<(String, bool)>,
    refresh_token: Option<String>,
    /// Whether each refresh token is good once.
    rotates: bool,
    challenge: Option<(String, String)>,
    count: usize,
}

/// The server. It ends with its last handle.
pub struct WebApi {
    scheme: &'static str,
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl WebApi {
    pub fn new(mode: Mode) -> Self {
        Self::start(mode, None)
    }

    /// Behind TLS, with a certificate that has to be trusted: its PEM comes with it.
    pub fn with_tls(mode: Mode) -> (Self, String) {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        (Self::start(mode, Some(TlsAcceptor::from(Arc::new(config)))), made.cert.pem())
    }

    fn start(mode: Mode, tls: Option<TlsAcceptor>) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let state = Arc::new(Mutex::new(State {
            mode,
            playlists: HashMap::new(),
            replies: HashMap::new(),
            asked: Vec::new(),
            pages: Vec::new(),
            faults: Vec::new(),
            access_tokens: Vec::new(),
            refresh_token: None,
            rotates: false,
            challenge: None,
            count: 0,
        }));
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = serve(&listener, tls, address, &shared) => {}
                    _ = stopped => {}
                }
            });
        });
        WebApi { scheme, address, state, stop: Some(stop), thread: Some(thread) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn api_url(&self) -> Url {
        Url::parse(&format!("{}://{}/v1", self.scheme, self.address)).unwrap()
    }

    pub fn accounts_url(&self) -> Url {
        Url::parse(&format!("{}://{}/accounts", self.scheme, self.address)).unwrap()
    }

    /// Makes a playlist of so many tracks, named by number.
    pub fn playlist(&self, id: &str, count: usize) {
        let mode = self.state().mode;
        let entries = (1..=count).map(|number| entry(number, mode)).collect();
        self.playlist_of(id, entries);
    }

    pub fn playlist_of(&self, id: &str, entries: Vec<Value>) {
        let mut state = self.state();
        state.count += 1;
        let snapshot_id = format!("AAA{}", state.count);
        let name = format!("Playlist {id}");
        let playlist = Playlist { name, snapshot_id, entries, grows_after: None, pages_given: 0 };
        state.playlists.insert(id.to_owned(), playlist);
    }

    /// A playlist gets one more entry after so many pages were given.
    pub fn grow_after(&self, id: &str, pages: usize) {
        self.state().playlists.get_mut(id).unwrap().grows_after = Some(pages);
    }

    /// What is asked for at a path is answered like this, once each, in this order.
    pub fn reply(&self, path: &str, replies: impl IntoIterator<Item = Reply>) {
        self.state().replies.entry(path.to_owned()).or_default().extend(replies);
    }

    /// Gives a user's refresh token out, good once or for ever.
    pub fn consent(&self, rotates: bool) -> String {
        let mut state = self.state();
        state.rotates = rotates;
        let token = format!("REFRESH-{}-S3CR3T", state.count);
        state.count += 1;
        state.refresh_token = Some(token.clone());
        token
    }

    pub fn refresh_token(&self) -> Option<String> {
        self.state().refresh_token.clone()
    }

    /// What was against the description was meant to be.
    pub fn forgive(&self) {
        self.state().faults.clear();
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }

    /// The paths that were asked for, in order, without the common part.
    pub fn paths(&self) -> Vec<String> {
        let short = |asked: &Asked| {
            let offset = asked.query.get("offset").map(|offset| format!("@{offset}"));
            let path = asked.path.trim_start_matches("/v1/").trim_start_matches("/accounts/");
            format!("{path}{}", offset.unwrap_or_default())
        };
        self.asked().iter().map(short).collect()
    }

    /// The pages that were sent, in order.
    pub fn pages(&self) -> Vec<String> {
        self.state().pages.clone()
    }

    pub fn forget_requests(&self) {
        let mut state = self.state();
        state.asked.clear();
        state.pages.clear();
    }
}

impl Drop for WebApi {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let faults = std::mem::take(&mut self.state().faults);
        if !std::thread::panicking() {
            assert!(faults.is_empty(), "against the API's description: {faults:#?}");
        }
    }
}

/// An entry with a track, as the description has them, for one kind of app.
pub fn entry(number: usize, mode: Mode) -> Value {
    let artist = json!({
        "external_urls": { "spotify": format!("https://open.spotify.com/artist/artist{number}") },
        "href": format!("https://api.spotify.com/v1/artists/artist{number}"),
        "id": format!("artist{number}"), "name": format!("Artist {number}"),
        "type": "artist", "uri": format!("spotify:artist:artist{number}"),
    });
    let mut track = json!({
        "album": {
            "album_type": "album", "artists": [artist],
            "external_urls": { "spotify": format!("https://open.spotify.com/album/album{number}") },
            "href": format!("https://api.spotify.com/v1/albums/album{number}"),
            "id": format!("album{number}"),
            "images": [{ "url": "https://i.scdn.co/image/0", "height": 640, "width": 640 }],
            "name": format!("Album {number}"), "release_date": "1981-12-15",
            "release_date_precision": "day", "total_tracks": 9, "type": "album",
            "uri": format!("spotify:album:album{number}"),
        },
        "artists": [artist], "disc_number": 1, "duration_ms": 180_000 + number, "explicit": false,
        "external_ids": { "isrc": format!("XX0000{number:06}") },
        "external_urls": { "spotify": format!("https://open.spotify.com/track/track{number}") },
        "href": format!("https://api.spotify.com/v1/tracks/track{number}"),
        "id": format!("track{number}"), "is_local": false, "is_playable": true,
        "name": format!("Track {number} – Été"), "track_number": 1, "type": "track",
        "uri": format!("spotify:track:track{number}"),
    });
    let key = if mode == Mode::Development { "item" } else { "track" };
    if mode != Mode::Development {
        track["popularity"] = json!(50);
        let markets: Vec<String> = ('A'..='G')
            .flat_map(|one| ('A'..='Z').map(move |other| format!("{one}{other}")))
            .collect();
        track["available_markets"] = json!(markets);
        track["album"]["available_markets"] = json!(markets);
    }
    json!({
        "added_at": "2026-07-03T08:00:00Z", "is_local": false, "primary_color": null,
        "added_by": {
            "external_urls": { "spotify": "https://open.spotify.com/user/somebody" },
            "href": "https://api.spotify.com/v1/users/somebody", "id": "somebody",
            "type": "user", "uri": "spotify:user:somebody",
        },
        key: track, "video_thumbnail": { "url": null },
    })
}

async fn serve(
    listener: &TcpListener,
    tls: Option<TlsAcceptor>,
    address: SocketAddr,
    state: &Arc<Mutex<State>>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (state, tls) = (Arc::clone(state), tls.clone());
        tokio::spawn(async move {
            if let Some(tls) = tls {
                if let Ok(stream) = tls.accept(stream).await {
                    converse(stream, address, &state).await;
                }
                return;
            }
            // What is said outside of HTTP is said by hand.
            let mut peeked = vec![0; 4096];
            let length = stream.peek(&mut peeked).await.unwrap_or(0);
            let head = String::from_utf8_lossy(&peeked[..length]).into_owned();
            let path = head.split([' ', '?']).nth(1).unwrap_or_default().to_owned();
            match odd_reply(&state, &path) {
                Some(reply) => answer_oddly(stream, reply, &path, &state).await,
                None => converse(stream, address, &state).await,
            }
        });
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    address: SocketAddr,
    state: &Arc<Mutex<State>>,
) {
    let service = service_fn(|request| answer(state, address, request));
    let _ = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        // Clocks of tests are made up. A reply may have the header all the same.
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn lock(state: &Arc<Mutex<State>>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn odd_reply(state: &Arc<Mutex<State>>, path: &str) -> Option<Reply> {
    let mut state = lock(state);
    let replies = state.replies.get_mut(path)?;
    match replies.front()? {
        Reply::Is(..) => None,
        _ => replies.pop_front(),
    }
}

async fn answer_oddly(mut stream: TcpStream, reply: Reply, path: &str, state: &Arc<Mutex<State>>) {
    let asked = Asked {
        method: "GET".to_owned(),
        path: path.to_owned(),
        query: HashMap::new(),
        form: HashMap::new(),
        authorization: None,
    };
    lock(state).asked.push(asked);
    match reply {
        Reply::Cut(body) => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len() + 100);
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(body.as_bytes()).await;
        }
        Reply::Drip(body) => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).await;
            for byte in body.bytes() {
                tokio::time::sleep(Duration::from_millis(200)).await;
                if stream.write_all(&[byte]).await.is_err() {
                    break;
                }
            }
        }
        Reply::Silence(duration) => tokio::time::sleep(duration).await,
        Reply::Closed | Reply::Is(..) => {}
    }
}

async fn answer(
    state: &Arc<Mutex<State>>,
    address: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    // A proxy is asked with whole addresses.
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let url = Url::parse(&format!("http://{address}{path}")).unwrap();
    let pairs = |text: &str| {
        let url = Url::parse(&format!("http://x/?{text}")).unwrap();
        url.query_pairs().into_owned().collect::<HashMap<_, _>>()
    };
    let header =
        |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let asked = Asked {
        method: head.method.to_string(),
        path: url.path().to_owned(),
        query: url.query_pairs().into_owned().collect(),
        form: pairs(&String::from_utf8_lossy(&body)),
        authorization: header("authorization"),
    };
    let mut state = lock(state);
    state.asked.push(asked.clone());
    check_request(&mut state, &asked);
    let scripted = state.replies.get_mut(&asked.path).and_then(VecDeque::pop_front);
    let (status, headers, body) = match scripted {
        Some(Reply::Is(status, headers, body)) => {
            // Some services throw back what they were given.
            let given = asked.authorization.as_deref().unwrap_or_default();
            let form: Vec<&str> = asked.form.values().map(String::as_str).collect();
            (status, headers, body.replace("{given}", given).replace("{form}", &form.join(" ")))
        }
        Some(_) => (500, Vec::new(), String::new()),
        None => by_description(&mut state, address, &asked),
    };
    if status == 200 && (asked.path.ends_with("/items") || asked.path.ends_with("/tracks")) {
        state.pages.push(body.clone());
    }
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(Bytes::from(body))).unwrap())
}

type Plain = (u16, Vec<(&'static str, String)>, String);

fn by_description(state: &mut State, address: SocketAddr, asked: &Asked) -> Plain {
    let parts: Vec<&str> = asked.path.trim_start_matches('/').split('/').collect();
    let (status, body) = match (asked.method.as_str(), parts.as_slice()) {
        ("POST", ["accounts", "api", "token"]) => token(state, asked),
        ("GET", ["accounts", "authorize"]) => return authorize(state, asked),
        ("GET", ["v1", rest @ ..]) => match user_of(state, asked) {
            None => (401, error(401, "The access token expired")),
            Some(is_user) => api(state, address, asked, rest, is_user),
        },
        _ => (404, error(404, "Service not found")),
    };
    let path = match parts.as_slice() {
        ["v1", "me"] => "/me",
        ["v1", "playlists", _] => "/playlists/{playlist_id}",
        ["v1", "playlists", _, "items"] => "/playlists/{playlist_id}/items",
        ["v1", "playlists", _, "tracks"] => "/playlists/{playlist_id}/tracks",
        _ => return (status, Vec::new(), body.to_string()),
    };
    // A filter leaves required members out.
    let is_filtered = asked.query.contains_key("fields");
    check_answer(state, path, status, &body, is_filtered);
    (status, Vec::new(), body.to_string())
}

fn error(status: u16, message: &str) -> Value {
    json!({ "error": { "status": status, "message": message } })
}

/// Whether the token is a user's; none if it is no good.
fn user_of(state: &State, asked: &Asked) -> Option<bool> {
    let token = asked.authorization.as_deref()?.strip_prefix("Bearer ")?;
    let known = state.access_tokens.iter().find(|(known, _)| known == token)?;
    known.1.then(|| token.contains("USER"))
}

fn api(
    state: &mut State,
    address: SocketAddr,
    asked: &Asked,
    path: &[&str],
    is_user: bool,
) -> (u16, Value) {
    let mode = state.mode;
    match path {
        ["me"] if is_user => (
            200,
            json!({
                "display_name": ACCOUNT, "id": "somebody", "type": "user",
                "uri": "spotify:user:somebody",
                "href": "https://api.spotify.com/v1/users/somebody",
                "external_urls": { "spotify": "https://open.spotify.com/user/somebody" },
            }),
        ),
        ["playlists", id] => match state.playlists.get(*id) {
            None => (404, error(404, "Resource not found")),
            Some(playlist) => {
                let whole = json!({
                    "id": id, "name": playlist.name, "snapshot_id": playlist.snapshot_id,
                    "collaborative": false, "type": "playlist",
                    "tracks": { "total": playlist.entries.len() },
                    "items": { "total": playlist.entries.len() },
                    "owner": {
                        "id": "somebody", "display_name": ACCOUNT, "type": "user",
                        "uri": "spotify:user:somebody", "href": "https://api.spotify.com/v1/users/somebody",
                        "external_urls": {},
                    },
                });
                (200, filtered(&whole, asked.query.get("fields")))
            }
        },
        ["playlists", id, address_of @ ("items" | "tracks")] => match (mode, *address_of) {
            (Mode::Development, "tracks") => (403, error(403, "Forbidden")),
            (Mode::Development, _) if !is_user => {
                (401, error(401, "Valid user authentication required"))
            }
            (Mode::Older, "items") => (404, error(404, "Service not found")),
            (_, address_of) => page(state, address, asked, id, address_of),
        },
        _ => (404, error(404, "Service not found")),
    }
}

fn page(
    state: &mut State,
    address: SocketAddr,
    asked: &Asked,
    id: &str,
    address_of: &str,
) -> (u16, Value) {
    let number = |name: &str, default: usize| {
        asked.query.get(name).map_or(default, |text| text.parse().unwrap_or(usize::MAX))
    };
    let (limit, offset) = (number("limit", 20), number("offset", 0));
    let limit_max = if state.mode == Mode::Development { 50 } else { 100 };
    if limit == 0 || limit > limit_max {
        return (400, error(400, "Invalid limit"));
    }
    let mode = state.mode;
    let Some(playlist) = state.playlists.get_mut(id) else {
        return (404, error(404, "Resource not found"));
    };
    if playlist.grows_after == Some(playlist.pages_given) {
        let number = playlist.entries.len() + 1;
        playlist.entries.push(entry(number, mode));
        playlist.snapshot_id.push('+');
    }
    playlist.pages_given += 1;
    let total = playlist.entries.len();
    let url = |offset: usize| {
        let mut url =
            Url::parse(&format!("http://{address}/v1/playlists/{id}/{address_of}")).unwrap();
        let query = asked.query.iter().filter(|(name, _)| *name != "offset" && *name != "limit");
        let mut query: Vec<(String, String)> =
            query.map(|(name, value)| (name.clone(), value.clone())).collect();
        query.push(("offset".to_owned(), offset.to_string()));
        query.push(("limit".to_owned(), limit.to_string()));
        url.query_pairs_mut().extend_pairs(query);
        url.to_string()
    };
    let items: Vec<Value> = playlist.entries.iter().skip(offset).take(limit).cloned().collect();
    let whole = json!({
        "href": url(offset), "items": items, "limit": limit, "offset": offset, "total": total,
        "next": (offset + limit < total).then(|| url(offset + limit)),
        "previous": (offset > 0).then(|| url(offset.saturating_sub(limit))),
    });
    (200, filtered(&whole, asked.query.get("fields")))
}

/// What the parameter `fields` leaves: names, with what is inside them in parentheses or after dots.
pub fn filtered(value: &Value, fields: Option<&String>) -> Value {
    fn names(text: &str) -> Vec<(&str, Option<&str>)> {
        let (mut depth, mut start, mut found) = (0, 0, Vec::new());
        let ends = text.char_indices().chain([(text.len(), ',')]);
        for (at, character) in ends {
            match character {
                '(' => depth += 1,
                ')' => depth -= 1,
                ',' if depth == 0 => {
                    let one = &text[start..at];
                    start = at + 1;
                    found.push(match one.find(['(', '.']) {
                        Some(at) if one[at..].starts_with('(') => {
                            (&one[..at], Some(&one[at + 1..one.len() - 1]))
                        }
                        Some(at) => (&one[..at], Some(&one[at + 1..])),
                        None => (one, None),
                    });
                }
                _ => {}
            }
        }
        found
    }
    fn keep(value: &Value, fields: &str) -> Value {
        match value {
            Value::Array(all) => all.iter().map(|one| keep(one, fields)).collect(),
            Value::Object(members) => names(fields)
                .into_iter()
                .filter_map(|(name, inside)| {
                    let member = members.get(name)?;
                    let kept = inside.map_or_else(|| member.clone(), |inside| keep(member, inside));
                    Some((name.to_owned(), kept))
                })
                .collect(),
            other => other.clone(),
        }
    }
    fields.map_or_else(|| value.clone(), |fields| keep(value, fields))
}

fn token(state: &mut State, asked: &Asked) -> (u16, Value) {
    let refuse = |status, error: &str, description: &str| {
        (status, json!({ "error": error, "error_description": description }))
    };
    let form = |name: &str| asked.form.get(name).map(String::as_str);
    let basic = format!("Basic {}", STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}")));
    let has_secret = asked.authorization.as_deref() == Some(basic.as_str());
    if !has_secret && (asked.authorization.is_some() || form("client_id") != Some(CLIENT_ID)) {
        return refuse(400, "invalid_client", "Invalid client");
    }
    let user = match form("grant_type") {
        Some("client_credentials") if has_secret => false,
        Some("refresh_token") => {
            if state.refresh_token.as_deref() != form("refresh_token") {
                return refuse(400, "invalid_grant", "Refresh token revoked");
            }
            true
        }
        Some("authorization_code") => {
            let verifier = form("code_verifier").unwrap_or_default();
            let Some((challenge, redirect_uri)) = state.challenge.take() else {
                return refuse(400, "invalid_grant", "Invalid authorization code");
            };
            if form("code") != Some("CODE-S3CR3T") || form("redirect_uri") != Some(&redirect_uri) {
                return refuse(400, "invalid_grant", "Invalid authorization code");
            }
            if challenge_of(verifier) != challenge {
                return refuse(400, "invalid_grant", "code_verifier was incorrect");
            }
            state.rotates = !has_secret;
            true
        }
        _ => return refuse(400, "unsupported_grant_type", "grant_type is not supported"),
    };
    state.count += 1;
    let kind = if user { "USER" } else { "APP" };
    let access_token = format!("ACCESS-{kind}-{}-S3CR3T", state.count);
    state.access_tokens.push((access_token.clone(), true));
    let mut answer =
        json!({ "access_token": access_token, "token_type": "Bearer", "expires_in": 3600 });
    if user {
        answer["scope"] = json!("playlist-read-private playlist-read-collaborative");
        if state.rotates || form("grant_type") == Some("authorization_code") {
            let token = format!("REFRESH-{}-S3CR3T", state.count);
            answer["refresh_token"] = json!(token);
            state.refresh_token = Some(token);
        }
    }
    (200, answer)
}

/// As if somebody had agreed at once.
fn authorize(state: &mut State, asked: &Asked) -> Plain {
    let value = |name: &str| asked.query.get(name).map(String::as_str).unwrap_or_default();
    let is_right = value("response_type") == "code"
        && value("client_id") == CLIENT_ID
        && value("code_challenge_method") == "S256"
        && value("scope") == "playlist-read-private playlist-read-collaborative";
    if !is_right {
        return (400, Vec::new(), "INVALID_CLIENT: Invalid redirect URI".to_owned());
    }
    let redirect_uri = value("redirect_uri").to_owned();
    state.challenge = Some((value("code_challenge").to_owned(), redirect_uri.clone()));
    let mut back = Url::parse(&redirect_uri).unwrap();
    back.query_pairs_mut().append_pair("code", "CODE-S3CR3T").append_pair("state", value("state"));
    (302, vec![("location", back.to_string())], String::new())
}

fn description() -> Value {
    let text = std::fs::read_to_string(fixture("spotify_api.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn check_request(state: &mut State, asked: &Asked) {
    let parts: Vec<&str> = asked.path.trim_start_matches('/').split('/').collect();
    let ["v1", "playlists", _, rest @ ..] = parts.as_slice() else { return };
    let path = format!(
        "/playlists/{{playlist_id}}{}{}",
        if rest.is_empty() { "" } else { "/" },
        rest.join("/")
    );
    let description = description();
    let known = &description["paths"][&path]["query"];
    for (name, value) in &asked.query {
        if known.get(name).is_none() {
            state.faults.push(format!("{path} has no parameter `{name}`"));
        }
        if known[name]["type"] == "integer" && value.parse::<u32>().is_err() {
            state.faults.push(format!("{path}: `{name}` is `{value}`"));
        }
    }
}

fn check_answer(state: &mut State, path: &str, status: u16, body: &Value, is_filtered: bool) {
    let description = description();
    let mut schema = match status {
        200 => description["paths"][path]["response"].clone(),
        _ => description["error"].clone(),
    };
    schema["$defs"] = description["$defs"].clone();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for error in validator.iter_errors(body) {
        let words: String = error.to_string().chars().rev().take(80).collect();
        let words: String = words.chars().rev().collect();
        let fault = format!("{path} {status}: {words} at {}", error.instance_path());
        if !(is_filtered && fault.contains("is a required property")) {
            state.faults.push(fault);
        }
    }
}

fn challenge_of(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}
