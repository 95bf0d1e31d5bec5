//! Extraction against a server that speaks the Web API: what is asked, what is landed, and what is
//! said when Spotify refuses. Time is made up: waits take none.

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use spotify_etl::{
    config::Limits,
    document::PlaylistId,
    pipeline::{
        PipelineError, Selection,
        extract::{Condition, Extract, Extraction},
        playlists::ListedPlaylist,
        report::{Action, ExtractReport, ExtractStatus},
    },
    spotify::{
        Account, Clock, CredentialError, CredentialSource, Credentials, Given, Kept, Login,
        LoginFile, LoginPlace, SLIM_FIELDS, Settings, Spotify, source,
    },
};
use time::OffsetDateTime;

use crate::{
    support::{NOW, Nobody, PLUGINS, Place, transform, wait},
    web_api::{CLIENT_ID, CLIENT_SECRET, Mode, Reply, WebApi, entry},
};

const ID: &str = "3cEYpjA9oz9GiPac4AsH4n";

/// A clock that others turn.
struct Time {
    now: Mutex<OffsetDateTime>,
    slept: Mutex<Vec<f64>>,
}

#[async_trait]
impl Clock for Time {
    fn now(&self) -> OffsetDateTime {
        *self.now.lock().unwrap()
    }

    async fn sleep(&self, duration: Duration) {
        *self.now.lock().unwrap() += duration;
        self.slept.lock().unwrap().push(duration.as_secs_f64());
    }
}

/// A server, a store, and somebody who is logged in.
struct Desk {
    api: WebApi,
    place: Place,
    clock: Arc<Time>,
    given: Given,
    limits: Limits,
    fields: Option<String>,
}

impl Desk {
    fn new(mode: Mode) -> Self {
        let api = WebApi::new(mode);
        let place = Place::new();
        let clock = Arc::new(Time { now: Mutex::new(NOW), slept: Mutex::default() });
        let given = Given {
            client_id: Some(CLIENT_ID.to_owned()),
            client_secret: Some(SecretString::from(CLIENT_SECRET)),
            refresh_token: None,
            login: None,
            flow: None,
        };
        let mut desk = Desk { api, place, clock, given, limits: Limits::default(), fields: None };
        if mode == Mode::Development {
            desk.given.refresh_token = Some(SecretString::from(desk.api.consent(false)));
        }
        desk
    }

    /// Somebody who logged in without the app's secret, so that refresh tokens are good once.
    fn logged_in() -> Self {
        let mut desk = Self::new(Mode::Development);
        let file = LoginFile::new(&desk.place.path("login/login.json"));
        let login = Login {
            client_id: CLIENT_ID.to_owned(),
            client_secret: None,
            refresh_token: Some(SecretString::from(desk.api.consent(true))),
            scopes: Vec::new(),
            consented_at: Some(NOW),
            account: Some(Account { id: "somebody".to_owned(), name: None }),
        };
        wait(file.prepare()).unwrap();
        wait(file.keep(&login)).unwrap();
        desk.given = Given {
            client_id: None,
            client_secret: None,
            refresh_token: None,
            login: Some(Arc::new(file)),
            flow: None,
        };
        desk
    }

    fn kept_token(&self) -> String {
        let login = wait(self.given.login.as_ref().unwrap().login()).unwrap().unwrap();
        login.refresh_token.unwrap().expose_secret().to_owned()
    }

    fn settings(&self) -> Settings {
        Settings {
            api_url: self.api.api_url(),
            accounts_url: self.api.accounts_url(),
            page_entries: 50,
            market: None,
            fields: self.fields.clone(),
            limits: self.limits.clone(),
        }
    }

    fn spotify(&self) -> Spotify {
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as Arc<dyn Clock>;
        Spotify::new(self.settings(), source(self.given.clone()).unwrap(), clock).unwrap()
    }

    fn try_extract(&self, ids: &[&str], condition: Condition) -> Result<Extraction, PipelineError> {
        let playlists: Vec<ListedPlaylist> = ids
            .iter()
            .map(|id| ListedPlaylist { id: PlaylistId::from_text(id).unwrap(), label: None })
            .collect();
        let spotify = self.spotify();
        let extract = Extract {
            store: &self.place.store,
            spotify: &spotify,
            condition,
            scheduled_at: None,
            limits: self.limits.clone(),
            now: self.clock.now(),
            until: None,
            progress: &Nobody,
        };
        wait(extract.run(&playlists))
    }

    /// The one playlist.
    fn extract(&self) -> ExtractReport {
        self.try_extract(&[ID], Condition::Always).unwrap().extracts.remove(0)
    }

    fn pass(&self, days: i64) {
        *self.clock.now.lock().unwrap() += time::Duration::days(days);
    }

    fn slept(&self) -> Vec<f64> {
        std::mem::take(&mut *self.clock.slept.lock().unwrap())
    }

    fn landed(&self) -> Vec<String> {
        let files = self.place.files().into_keys();
        files.filter(|key| key.starts_with("raw_data/")).collect()
    }

    #[track_caller]
    fn fails(&self, parts: &[&str]) -> ExtractReport {
        let report = self.extract();
        let message = report.problem.as_ref().map(ToString::to_string).unwrap_or_default();
        for part in parts {
            assert!(message.contains(part), "`{part}` in {message}");
        }
        assert_eq!((report.status, self.landed()), (ExtractStatus::Failed, Vec::new()));
        report
    }
}

fn items() -> String {
    format!("/v1/playlists/{ID}/items")
}

fn metadata() -> String {
    format!("/v1/playlists/{ID}")
}

#[test]
fn a_playlist_lands_whole_byte_for_byte_with_no_request_too_many() {
    let desk = Desk::new(Mode::Development);
    desk.api.playlist(ID, 120);
    let report = desk.extract();
    assert_eq!((report.status, report.problem), (ExtractStatus::Landed, None));
    assert_eq!((report.entries, report.pages, report.requests), (Some(120), Some(3), 4));
    let page = |offset| format!("playlists/{ID}/items@{offset}");
    assert_eq!(
        desk.api.paths(),
        [
            "api/token",
            &format!("playlists/{ID}"),
            &format!("playlists/{ID}/items"),
            &page(50),
            &page(100)
        ]
    );
    let asked = desk.api.asked();
    assert_eq!(
        asked[1].query["fields"],
        "id,name,owner(id,display_name),snapshot_id,tracks.total,items.total"
    );
    assert_eq!(asked[1].query.len(), 1);
    assert_eq!(asked[2].query["limit"], "50");
    assert_eq!(asked[2].query["additional_types"], "track,episode");
    assert_eq!(asked[2].query.len(), 2);

    let key = desk.place.only("raw_data/to_process/", ".json");
    let text = desk.place.read(&key);
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["playlist_name"], format!("Playlist {ID}"));
    assert_eq!(document["playlist_owner"], "Some Body");
    assert_eq!(document["snapshot_id"], "AAA2");
    assert_eq!(document["extracted_at"], "2026-07-06T06:00:30Z");
    assert_eq!((&document["complete"], &document["market"]), (&json!(true), &Value::Null));
    let (_, pages) = text.split_once("\"pages\":[\n").unwrap();
    assert_eq!(pages, format!("{}\n]}}\n", desk.api.pages().join(",\n")));

    let transformed =
        wait(transform(&desk.place.store, &Selection::Waiting, &desk.limits)).unwrap();
    let rows: BTreeMap<_, _> = transformed.documents[0]
        .tables
        .iter()
        .map(|table| (table.table.as_str(), table.rows))
        .collect();
    assert_eq!((rows["song"], rows["album"], rows["snapshot"]), (120, 120, 1));
}

#[test]
fn apps_with_extended_quota_need_no_user_and_their_entries_land_as_they_are() {
    let desk = Desk::new(Mode::Extended);
    desk.api.playlist(ID, 51);
    assert_eq!(desk.extract().problem, None);
    let text = desk.place.read(&desk.place.only("raw_data/to_process/", ".json"));
    assert!(text.contains("\"track\":{") && text.contains("available_markets"));
    assert_eq!(desk.api.asked()[0].form["grant_type"], "client_credentials");
    assert_eq!(desk.api.paths().len(), 4);
}

#[test]
fn the_older_address_is_asked_only_where_it_is_the_one_that_works() {
    let desk = Desk::new(Mode::Older);
    desk.api.playlist(ID, 51);
    let report = desk.extract();
    assert_eq!((report.problem, report.entries), (None, Some(51)));
    let older = format!("playlists/{ID}/tracks");
    assert_eq!(
        desk.api.paths()[2..],
        [format!("playlists/{ID}/items"), older.clone(), format!("{older}@50")]
    );
}

#[test]
fn every_refusal_says_what_happened_why_and_what_to_do() {
    const PREMIUM: &str = "Active premium subscription required for the owner of the app. When the subscription status changes, it can take a few hours before requests are allowed again.";
    const LISTED: &str =
        "Check settings on developer.spotify.com/dashboard, the user may not be registered.";
    for (at, reply, parts) in [
        (
            metadata(),
            Reply::error(404, "Resource not found"),
            &["finds no playlist", "404 `Resource not found`", "spotify-etl login"][..],
        ),
        (
            metadata(),
            Reply::text(403, PREMIUM),
            &["`Active premium", "needs Spotify Premium", "wait some hours"],
        ),
        (metadata(), Reply::text(403, LISTED), &["`Check settings", "User Management"]),
        (
            metadata(),
            Reply::error(403, "Insufficient client scope"),
            &["`Insufficient client scope`", "log in again"],
        ),
        (
            metadata(),
            Reply::error(400, "Invalid base62 id"),
            &["400 `Invalid base62 id`", "compare the address"],
        ),
        (metadata(), Reply::text(400, ""), &["400 without a word"]),
        (
            metadata(),
            Reply::text(302, "<html>Sign in to the network</html>"),
            &["302 `a page of HTML`"],
        ),
        (metadata(), Reply::text(200, ""), &["it is empty", "/v1/playlists/"]),
        (metadata(), Reply::text(200, "<!doctype html><html>"), &["a page of HTML"]),
        (metadata(), Reply::text(200, "{\"id\": \"x"), &["breaks off after 9 bytes"]),
        (
            items(),
            Reply::error(403, "Forbidden"),
            &["refuses playlist", "403 `Forbidden`", "February 2026", "copy the songs"],
        ),
        (items(), Reply::error(403, "Insufficient client scope"), &["log in again"]),
        (items(), Reply::error(400, "Invalid limit"), &["`Invalid limit`", "50 at most"]),
        (items(), Reply::text(200, ""), &["it is empty"]),
        (items(), Reply::text(200, "Too many requests"), &["not JSON"]),
        (items(), Reply::text(200, "{\"total\":1,\"next\":null}"), &["without `items`"]),
        (items(), Reply::text(200, "{\"items\":[],\"next\":null}"), &["without `total`"]),
        (
            items(),
            Reply::text(200, "{\"error\":{\"status\":404,\"message\":\"Gone\"}}"),
            &["`Gone`"],
        ),
        (items(), Reply::text(200, "[]"), &["another JSON than expected"]),
    ] {
        let desk = Desk::new(Mode::Development);
        desk.api.playlist(ID, 3);
        desk.api.reply(&at, [reply]);
        let report = desk.fails(parts);
        assert!(report.requests <= 3, "{parts:?}: {}", report.requests);
        assert_eq!(desk.slept(), [0.0; 0]);
    }
}

#[test]
fn spotify_s_own_playlists_are_explained() {
    const EDITORIAL: &str = "37i9dQZEVXbIPWwFssbupI";
    let desk = Desk::new(Mode::Development);
    for replies in [None, Some(Reply::error(403, "Forbidden"))] {
        desk.api.reply(&format!("/v1/playlists/{EDITORIAL}"), replies);
        let report = desk.try_extract(&[EDITORIAL], Condition::Always).unwrap().extracts.remove(0);
        let message = report.problem.unwrap().message;
        for part in ["Spotify's own playlists", "2024-11-27", "copy its songs", "extended quota"] {
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(report.requests, 1);
    }
}

#[test]
fn an_app_alone_learns_that_entries_are_for_users() {
    let mut desk = Desk::new(Mode::Development);
    desk.given.refresh_token = None;
    desk.api.playlist(ID, 3);
    let report = desk.fails(&["`Valid user authentication required`", "spotify-etl login"]);
    assert_eq!((report.requests, report.problem.unwrap().action), (3, Action::Setup));
    assert_eq!(desk.api.paths().iter().filter(|path| *path == "api/token").count(), 1);
}

#[test]
fn failures_that_pass_are_waited_for() {
    let five = [
        (Reply::text(500, "oops"), 0.5..=1.0),
        (Reply::text(503, ""), 1.0..=2.0),
        (Reply::wait(429, 7, "Too many requests"), 7.0..=7.0),
        (Reply::Closed, 4.0..=8.0),
    ];
    let desk = Desk::new(Mode::Development);
    desk.api.playlist(ID, 3);
    desk.api.reply(&items(), five.iter().map(|(reply, _)| reply.clone()));
    assert_eq!(desk.extract().problem, None);
    let slept = desk.slept();
    assert_eq!(slept.len(), five.len());
    for (slept, (_, expected)) in slept.iter().zip(&five) {
        assert!(expected.contains(slept), "{slept} in {expected:?}");
    }
    let desk = Desk::new(Mode::Development);
    desk.api.playlist(ID, 3);
    desk.api.reply(&items(), [Reply::Cut("{\"items\":[".to_owned())]);
    assert_eq!(desk.extract().problem, None);
}

#[test]
fn failures_that_stay_are_given_up() {
    let desk = Desk::new(Mode::Development);
    desk.api.playlist(ID, 3);
    desk.api.reply(&items(), vec![Reply::text(502, "Bad gateway"); 9]);
    let report = desk.fails(&["asked for, 5 times", "502 `Bad gateway`"]);
    assert_eq!((report.requests, report.problem.unwrap().action), (6, Action::Retry));
    assert_eq!(desk.slept().len(), 4);

    let mut desk = Desk::new(Mode::Development);
    desk.limits.request_attempts = 2;
    desk.api.playlist(ID, 3);
    desk.api.reply(&items(), vec![Reply::Closed; 9]);
    desk.fails(&["could not be asked, 2 times", "check the network"]);

    // An answer that comes drop by drop is none, however long each drop may take.
    let mut slow = Desk::new(Mode::Development);
    slow.limits.request_seconds = 1;
    slow.limits.request_attempts = 1;
    slow.api.playlist(ID, 3);
    slow.api.reply(&items(), [Reply::Drip("{\"items\":[],\"total\":0,\"next\":null}".to_owned())]);
    slow.fails(&["could not be asked, once", "no answer in time"]);

    desk.limits.request_seconds = 1;
    let silent = Desk { limits: desk.limits.clone(), ..Desk::new(Mode::Development) };
    silent.api.playlist(ID, 3);
    silent.api.reply(&items(), vec![Reply::Silence(Duration::from_secs(3)); 2]);
    silent.fails(&["no answer in time", "--limit request_seconds"]);
}

#[test]
fn a_long_wait_is_refused_at_once_naming_when_it_ends() {
    const QUOTA: &str =
        r#"{"error":{"status":429,"message":"Too many requests","reason":"QUOTA_EXCEEDED"}}"#;
    for (seconds, body, parts) in [
        (
            48925,
            QUOTA,
            &[
                "quota of this app's developer",
                "2026-07-06 19:35:55 UTC",
                "13 h 35 min",
                "`Too many requests: QUOTA_EXCEEDED`",
            ][..],
        ),
        (
            61,
            "Too many requests",
            &[
                "no more requests until 2026-07-06 06:01:31 UTC",
                "1 min 1 s",
                "429 `Too many requests`",
            ],
        ),
    ] {
        let desk = Desk::new(Mode::Development);
        desk.api.playlist(ID, 3);
        desk.api.playlist("other", 3);
        desk.api.reply(&metadata(), [Reply::wait(429, seconds, body)]);
        let report = desk.fails(parts);
        assert_eq!((report.requests, desk.slept()), (1, Vec::new()));
        assert_eq!(report.problem.unwrap().action, Action::Retry);
    }
    // No time of the year 33,000, and none without an end.
    let desk = Desk::new(Mode::Development);
    desk.api.playlist(ID, 3);
    desk.api.reply(&metadata(), [Reply::wait(429, 999_999_999_999, "Too many requests")]);
    desk.fails(&["no more requests until 2027-07-07", "8784 h from now"]);
    let desk = Desk::new(Mode::Development);
    desk.api.playlist(ID, 3);
    desk.api.reply(&metadata(), [Reply::text(429, QUOTA)]);
    desk.fails(&["quota of this app's developer is used up: it answers 429", "tomorrow"]);
    let date = vec![("retry-after", "Mon, 06 Jul 2026 06:00:50 GMT".to_owned())];
    let desk = Desk::new(Mode::Development);
    desk.api.playlist(ID, 3);
    desk.api.reply(&metadata(), [Reply::Is(429, date, String::new()), Reply::wait(429, 0, "")]);
    assert_eq!(desk.extract().problem, None);
    assert_eq!(desk.slept(), [20.0, 1.0]);
    let desk = Desk::new(Mode::Development);
    desk.api.playlist(ID, 3);
    desk.api.reply(&metadata(), [Reply::wait(503, 9999, "maintenance")]);
    desk.fails(&["until 2026-07-06 08:47:09 UTC", "503 `maintenance`"]);
    // Nor does a shorter wait end a longer one.
    let desk = Desk::new(Mode::Development);
    for (id, seconds) in [("one", 5000), ("two", 2)] {
        desk.api.playlist(id, 60);
        desk.api.reply(&format!("/v1/playlists/{id}"), [Reply::wait(429, seconds, QUOTA)]);
    }
    let extracts = desk.try_extract(&["one", "two"], Condition::Always).unwrap().extracts;
    assert!(extracts.iter().all(|extract| extract.problem.is_some()));
    // Who is told to wait tells the others of the same run.
    let desk = Desk::new(Mode::Development);
    let ids = ["one", "two", "three", "four", "five"];
    for id in ids {
        desk.api.playlist(id, 60);
        desk.api.reply(&format!("/v1/playlists/{id}"), [Reply::wait(429, 5000, QUOTA)]);
    }
    let extracts = desk.try_extract(&ids, Condition::Always).unwrap().extracts;
    assert!(extracts.iter().all(|extract| extract.problem.is_some()));
    assert!(extracts[3..].iter().all(|extract| extract.requests == 0));
}

#[test]
fn waits_have_a_total() {
    let mut desk = Desk::new(Mode::Development);
    desk.limits.retry_total_seconds = 100;
    desk.api.playlist(ID, 3);
    desk.api.reply(&items(), vec![Reply::wait(429, 40, "Too many requests"); 5]);
    desk.fails(&["more than 100 s in all", "retry_total_seconds"]);
    assert_eq!(desk.slept(), [40.0, 40.0]);

    let mut desk = Desk::new(Mode::Development);
    desk.limits.playlist_seconds = 30;
    desk.api.playlist(ID, 3);
    desk.api.reply(&items(), [Reply::wait(429, 40, "Too many requests")]);
    desk.fails(&["can't be read within 30 s", "playlist_seconds"]);
}

#[test]
fn a_token_that_is_refused_is_replaced_once() {
    let desk = Desk::new(Mode::Development);
    desk.api.playlist(ID, 3);
    desk.api.reply(&metadata(), [Reply::error(401, "Access token missing")]);
    assert_eq!(desk.extract().problem, None);
    let tokens = |desk: &Desk| desk.api.paths().iter().filter(|path| *path == "api/token").count();
    assert_eq!(tokens(&desk), 2);

    let desk = Desk::new(Mode::Development);
    desk.api.playlist(ID, 3);
    desk.api.reply(&items(), vec![Reply::error(401, "The access token expired"); 9]);
    desk.fails(&["and the new one too", "`The access token expired`"]);
    assert_eq!(tokens(&desk), 2);

    // Its hour is over: that is no refusal, and the replacement is still to be had.
    let mut desk = Desk::new(Mode::Development);
    desk.limits.retry_wait_seconds = 7200;
    desk.limits.retry_total_seconds = 7200;
    desk.limits.playlist_seconds = 7200;
    desk.api.playlist(ID, 3);
    desk.api.reply(&metadata(), [Reply::wait(429, 3600, "Too many requests")]);
    desk.api.reply(&items(), [Reply::error(401, "Access token missing")]);
    assert_eq!(desk.extract().problem, None);
    assert_eq!(tokens(&desk), 3);

    // A replacement that failed is no replacement.
    let desk = Desk::new(Mode::Development);
    for id in ["one", "two"] {
        desk.api.playlist(id, 3);
        let refused = Reply::error(401, "Access token missing");
        desk.api.reply(&format!("/v1/playlists/{id}"), [refused]);
    }
    let spotify = desk.spotify();
    wait(spotify.authorize()).unwrap();
    let quota = r#"{"error":{"reason":"QUOTA_EXCEEDED"}}"#;
    desk.api.reply("/accounts/api/token", [Reply::text(429, quota)]);
    let id = |id| PlaylistId::from_text(id).unwrap();
    let mut budget = spotify.budget();
    let error = wait(spotify.metadata(&id("one"), &mut budget)).unwrap_err();
    assert!(error.to_string().contains("no access token: the quota"), "{error}");
    assert!(wait(spotify.metadata(&id("two"), &mut budget)).is_ok());
}

#[test]
fn a_refresh_token_that_is_good_once_is_replaced_in_the_file_before_it_is_used() {
    let desk = Desk::logged_in();
    desk.api.playlist(ID, 3);
    for _ in 0..3 {
        let before = desk.kept_token();
        assert_eq!(desk.extract().problem, None);
        assert_ne!(desk.kept_token(), before);
        assert_eq!(Some(desk.kept_token()), desk.api.refresh_token());
        desk.pass(7);
    }
}

/// A place that takes its time to be written to, and can't be for some times.
#[derive(Debug)]
struct HardToWrite {
    file: LoginFile,
    failures: AtomicUsize,
    pause: Duration,
}

#[async_trait]
impl LoginPlace for HardToWrite {
    fn name(&self) -> String {
        self.file.name()
    }

    fn may_have_one(&self) -> bool {
        true
    }

    async fn login(&self) -> Result<Option<Login>, CredentialError> {
        self.file.login().await
    }

    async fn prepare(&self) -> Result<(), CredentialError> {
        Ok(())
    }

    async fn keep(&self, login: &Login) -> Result<(), CredentialError> {
        tokio::time::sleep(self.pause).await;
        let left = self.failures.load(Ordering::SeqCst);
        self.failures.store(left.saturating_sub(1), Ordering::SeqCst);
        if left > 0 { Err(CredentialError::NotKept) } else { self.file.keep(login).await }
    }

    async fn forget(&self) -> Result<bool, CredentialError> {
        self.file.forget().await
    }
}

impl HardToWrite {
    fn of(desk: &Desk, failures: usize, pause: Duration) -> Self {
        let file = LoginFile::new(&desk.place.path("login/login.json"));
        HardToWrite { file, failures: AtomicUsize::new(failures), pause }
    }
}

#[test]
fn of_several_refresh_tokens_that_could_not_be_kept_the_last_is_kept_when_that_is_possible_again() {
    for failures in 1..5 {
        let mut desk = Desk::logged_in();
        desk.given.login = Some(Arc::new(HardToWrite::of(&desk, failures, Duration::ZERO)));
        let spotify = desk.spotify();
        for _ in 0..3 {
            wait(spotify.authorize()).unwrap();
            desk.pass(2);
        }
        assert_eq!(wait(spotify.problem()).is_some(), failures == 4);
        assert!(wait(spotify.problem()).is_none());
        assert_eq!(Some(desk.kept_token()), desk.api.refresh_token());
    }
}

#[test]
fn a_refresh_token_is_kept_though_nobody_waits_for_it_any_more() {
    let mut desk = Desk::logged_in();
    let before = desk.kept_token();
    let place = HardToWrite::of(&desk, 0, Duration::from_millis(400));
    desk.given.login = Some(Arc::new(place));
    let spotify = desk.spotify();
    wait(async {
        let impatient = tokio::time::timeout(Duration::from_millis(200), spotify.authorize());
        assert!(impatient.await.is_err());
        tokio::time::sleep(Duration::from_millis(600)).await;
    });
    assert_ne!(desk.kept_token(), before);
    assert_eq!(Some(desk.kept_token()), desk.api.refresh_token());
}

/// A file that was read just before another run replaced what is in it.
struct ReadTooEarly {
    kept: Kept,
    stale: Mutex<Option<Credentials>>,
}

#[async_trait]
impl CredentialSource for ReadTooEarly {
    fn name(&self) -> String {
        self.kept.name()
    }

    async fn read(&self) -> Result<Credentials, CredentialError> {
        let stale = self.stale.lock().unwrap().take();
        match stale {
            Some(stale) => Ok(stale),
            None => self.kept.read().await,
        }
    }

    async fn rotated(&self, old: &SecretString, new: &SecretString) -> Result<(), CredentialError> {
        self.kept.rotated(old, new).await
    }
}

#[test]
fn a_refresh_token_that_another_run_used_up_is_looked_for_again() {
    let desk = Desk::logged_in();
    desk.api.playlist(ID, 3);
    let kept = Kept::new(desk.given.login.clone().unwrap(), None);
    let stale = Mutex::new(Some(wait(kept.read()).unwrap()));
    assert_eq!(desk.extract().problem, None);
    let clock: Arc<dyn Clock> = Arc::clone(&desk.clock) as Arc<dyn Clock>;
    let source = Arc::new(ReadTooEarly { kept, stale });
    let spotify = Spotify::new(desk.settings(), source, clock).unwrap();
    wait(spotify.authorize()).unwrap();
    assert_eq!(Some(desk.kept_token()), desk.api.refresh_token());
}

#[test]
fn a_login_that_spotify_refuses_is_never_deleted() {
    for description in ["Refresh token expired", "Refresh token revoked"] {
        let desk = Desk::logged_in();
        let kept = fs::read(desk.place.path("login/login.json")).unwrap();
        let body = json!({ "error": "invalid_grant", "error_description": description });
        desk.api.reply("/accounts/api/token", [Reply::text(400, &body.to_string())]);
        let error = desk.try_extract(&[ID], Condition::Always).unwrap_err();
        assert!(matches!(error, PipelineError::Token(_)), "{error}");
        let message = error.to_string();
        for part in
            [description, "login.json", "six months", "spotify-etl login", "nothing was deleted"]
        {
            assert!(message.contains(part), "`{part}` in {message}");
        }
        assert_eq!(fs::read(desk.place.path("login/login.json")).unwrap(), kept);
        assert_eq!(desk.api.paths(), ["api/token"]);
    }
}

#[test]
fn without_a_token_nothing_is_tried() {
    let client = json!({ "error": "invalid_client", "error_description": "Invalid client secret" });
    for (reply, parts) in [
        (
            Reply::text(400, &client.to_string()),
            &["doesn't accept the app", "Invalid client secret", "SPOTIFY_CLIENT_SECRET"][..],
        ),
        (Reply::text(400, ""), &["refuses the credentials", "400 without a word"]),
        (Reply::text(200, "{}"), &["without `access_token`"]),
        (Reply::text(200, "<html>"), &["a page of HTML"]),
        (Reply::text(200, "{\"access_token\":\"x\",\"token_type\":\"mac\"}"), &["another type"]),
        (Reply::wait(429, 3600, "Too many requests"), &["no more requests until"]),
    ] {
        let desk = Desk::new(Mode::Extended);
        desk.api.reply("/accounts/api/token", [reply]);
        let message = desk.try_extract(&[ID], Condition::Always).unwrap_err().to_string();
        for part in parts.iter().chain(&["no access token"]) {
            assert!(message.contains(part), "`{part}` in {message}");
        }
        assert_eq!((desk.api.paths(), desk.landed()), (vec!["api/token".to_owned()], Vec::new()));
    }
}

#[test]
fn a_new_refresh_token_that_can_t_be_kept_fails_the_run_and_loses_no_data() {
    let mut desk = Desk::new(Mode::Development);
    desk.given.refresh_token = Some(SecretString::from(desk.api.consent(true)));
    desk.given.client_secret = None;
    desk.api.playlist(ID, 3);
    let done = desk.try_extract(&[ID], Condition::Always).unwrap();
    assert_eq!(done.extracts[0].problem, None);
    assert_eq!(done.problems.len(), 1);
    assert!(done.problems[0].message.contains("SPOTIFY_REFRESH_TOKEN"), "{:?}", done.problems);

    // In the same run the new one is known all the same.
    desk.given.refresh_token = Some(SecretString::from(desk.api.consent(true)));
    desk.api.reply(&metadata(), [Reply::error(401, "Access token missing")]);
    desk.pass(1);
    assert_eq!(desk.try_extract(&[ID], Condition::Always).unwrap().extracts[0].problem, None);
}

#[test]
fn a_playlist_that_changes_while_it_is_read_is_read_once_more() {
    let desk = Desk::new(Mode::Development);
    desk.api.playlist(ID, 99);
    desk.api.grow_after(ID, 1);
    let report = desk.extract();
    assert_eq!((report.problem, report.entries), (None, Some(100)));
    let document = desk.place.read_json(&desk.place.only("raw_data/to_process/", ".json"));
    assert_eq!(document["snapshot_id"], "AAA2+");
    assert_eq!(report.snapshot_id.as_deref(), Some("AAA2+"));

    let page = |total: u64, count: usize| {
        let items = vec![entry(1, Mode::Development); count];
        let page = json!({ "items": items, "total": total, "next": null });
        Reply::text(200, &page.to_string())
    };
    let desk = Desk::new(Mode::Development);
    desk.api.playlist(ID, 3);
    desk.api.reply(&items(), [page(3, 2), page(4, 3)]);
    let report =
        desk.fails(&["could not be read whole, twice", "3 entries came, and its total is 4"]);
    assert_eq!(report.requests, 4);
    let desk = Desk::new(Mode::Development);
    desk.api.playlist(ID, 3);
    desk.api.reply(&items(), [page(1, 2), page(1, 2)]);
    desk.fails(&["2 entries came, and its total is 1"]);
}

#[test]
fn a_token_goes_nowhere_but_to_the_api() {
    let elsewhere = WebApi::new(Mode::Development);
    for next in [
        format!("http://{}/v1/playlists/{ID}/items?offset=50", elsewhere.address),
        format!("http://127.0.0.1@{}/x", elsewhere.address),
        "https://example.com/v1/playlists".to_owned(),
        "//example.com/x".to_owned(),
        "file:///etc/passwd".to_owned(),
        // On the right host, and about something else.
        format!("{}/playlists/another/items?offset=1", elsewhere.api_url()),
        "/api/token".to_owned(),
    ] {
        let desk = Desk::new(Mode::Development);
        let page = json!({ "items": [{}], "total": 2, "next": next });
        desk.api.playlist(ID, 2);
        desk.api.reply(&items(), [Reply::text(200, &page.to_string())]);
        desk.fails(&["not this playlist's on 127.0.0.1", &next, "nothing was sent there"]);
        assert_eq!(elsewhere.asked().len(), 0);
    }
    // A page that names the real host is asked of the configured one.
    let desk = Desk::new(Mode::Development);
    desk.api.playlist(ID, 2);
    let next = format!("https://api.spotify.com/v1/playlists/{ID}/items?offset=1&limit=50");
    let page = json!({ "items": [entry(1, Mode::Development)], "total": 2, "next": next });
    desk.api.reply(&items(), [Reply::text(200, &page.to_string())]);
    assert_eq!(desk.extract().entries, Some(2));
    // Redirects lead nowhere either.
    let desk = Desk::new(Mode::Development);
    let location = format!("http://{}/v1/me", elsewhere.address);
    desk.api.reply(&metadata(), [Reply::Is(307, vec![("location", location)], String::new())]);
    desk.fails(&["307 without a word"]);
    assert_eq!(elsewhere.asked().len(), 0);
}

#[test]
fn pages_in_a_circle_and_beyond_the_limits_are_refused() {
    let desk = Desk::new(Mode::Development);
    desk.api.playlist(ID, 3);
    let next = format!("{}?offset=50&limit=50", items());
    let page = json!({ "items": [{}], "total": 9, "next": next });
    desk.api.reply(&items(), vec![Reply::text(200, &page.to_string()); 2]);
    desk.fails(&["was read already"]);

    for (name, value, parts) in [
        ("playlist_pages", 2, &["more than 2 pages", "playlist_pages"][..]),
        ("document_bytes", 100_000, &["97.7 KiB", "document_bytes", "--fields slim"]),
    ] {
        let mut desk = Desk::new(Mode::Development);
        desk.api.playlist(ID, 130);
        desk.limits.set(&format!("{name}={value}").parse().unwrap());
        desk.fails(parts);
    }
}

#[test]
fn if_changed_lands_what_changed_and_always_lands_all() {
    let desk = Desk::new(Mode::Development);
    desk.api.playlist(ID, 3);
    let go = |condition| desk.try_extract(&[ID], condition).unwrap().extracts.remove(0);
    assert_eq!(go(Condition::IfChanged).status, ExtractStatus::Landed);
    desk.pass(7);
    for _ in 0..2 {
        desk.api.forget_requests();
        let report = go(Condition::IfChanged);
        assert_eq!((report.status, report.requests), (ExtractStatus::Unchanged, 1));
        assert!(report.document.unwrap().contains("20260706T060030Z"));
        // The same if its tables are stored.
        wait(transform(&desk.place.store, &Selection::Waiting, &desk.limits)).unwrap();
    }
    assert_eq!(go(Condition::Always).status, ExtractStatus::Landed);
    assert_eq!(desk.landed().len(), 2);
    desk.pass(7);
    let slim = Desk { fields: Some(SLIM_FIELDS.to_owned()), ..desk };
    let go = |condition| slim.try_extract(&[ID], condition).unwrap().extracts.remove(0);
    assert_eq!(go(Condition::IfChanged).status, ExtractStatus::Landed);
    assert_eq!(go(Condition::IfChanged).status, ExtractStatus::Unchanged);
    // The description knows no albums without images.
    slim.api.forgive();
    let desk = Desk { fields: None, ..slim };
    let go = |condition| desk.try_extract(&[ID], condition).unwrap().extracts.remove(0);
    desk.pass(7);
    desk.api.playlist(ID, 4);
    assert_eq!(go(Condition::IfChanged).status, ExtractStatus::Landed);
}

#[test]
fn if_changed_compares_with_what_would_be_landed() {
    let desk = Desk::new(Mode::Development);
    desk.api.playlist(ID, 60);
    let first_page = json!({
        "id": ID, "snapshot_id": "AAA2",
        "items": { "items": [entry(1, Mode::Development)], "total": 60 },
    });
    let key = "raw_data/to_process/imported_2026-07-01_06-00-00.json";
    desk.place.write(key, first_page.to_string().as_bytes());
    wait(transform(&desk.place.store, &Selection::Waiting, &desk.limits)).unwrap();
    let report = desk.try_extract(&[ID], Condition::IfChanged).unwrap().extracts.remove(0);
    assert_eq!(report.status, ExtractStatus::Landed);
}

#[test]
fn the_older_address_s_own_failure_is_told() {
    let desk = Desk::new(Mode::Older);
    desk.api.playlist(ID, 3);
    let older = format!("/v1/playlists/{ID}/tracks");
    desk.api.reply(&older, [Reply::wait(429, 5000, "Too many requests")]);
    desk.fails(&["no more requests until"]);
}

#[test]
fn equal_snapshots_are_noticed() {
    let desk = Desk::new(Mode::Development);
    desk.api.playlist(ID, 3);
    let warnings: Vec<Vec<String>> = (0..4)
        .map(|_| {
            let warnings = desk.extract().warnings;
            desk.pass(7);
            warnings
        })
        .collect();
    assert_eq!(warnings[..2], [Vec::<String>::new(), Vec::new()]);
    assert!(warnings[2][0].contains("its last 3 snapshots are the same, since 2026-07-06"));
    assert!(warnings[3][0].contains("refresh the copy"));
    desk.api.playlist(ID, 4);
    assert_eq!(desk.extract().warnings, Vec::<String>::new());
}

#[test]
fn one_playlist_that_fails_stops_no_other() {
    let desk = Desk::new(Mode::Development);
    let ids = ["one", "two", "three", "four", "five"];
    for id in ids.into_iter().filter(|id| *id != "two") {
        desk.api.playlist(id, 60);
    }
    let extracts = desk.try_extract(&ids, Condition::Always).unwrap().extracts;
    let failed: Vec<&str> = extracts
        .iter()
        .filter(|extract| extract.problem.is_some())
        .map(|extract| extract.playlist_id.as_str())
        .collect();
    assert_eq!((failed, desk.landed().len()), (vec!["two"], 4));
}

#[test]
fn the_same_second_and_pages_are_the_same_document() {
    let desk = Desk::new(Mode::Development);
    desk.api.playlist(ID, 3);
    assert_eq!(desk.extract().status, ExtractStatus::Landed);
    assert_eq!(desk.extract().status, ExtractStatus::Waiting);
    wait(transform(&desk.place.store, &Selection::Waiting, &desk.limits)).unwrap();
    assert_eq!(desk.extract().status, ExtractStatus::Processed);
    assert_eq!(desk.landed().len(), 1);
}

#[test]
fn the_slim_filter_gives_the_same_tables_from_half_the_bytes() {
    let tables = |fields: Option<&str>, mode| {
        let mut desk = Desk::new(mode);
        desk.fields = fields.map(str::to_owned);
        let mut entries: Vec<Value> = (1..=60).map(|number| entry(number, mode)).collect();
        let key = if mode == Mode::Development { "item" } else { "track" };
        entries[3][key] = Value::Null;
        entries[4][key]["type"] = json!("episode");
        entries[5]["is_local"] = json!(true);
        desk.api.playlist_of(ID, entries);
        // What is null or else against the description is so on purpose.
        let report = desk.extract();
        desk.api.forgive();
        assert_eq!(report.problem, None);
        let done = wait(transform(&desk.place.store, &Selection::Waiting, &desk.limits)).unwrap();
        assert_eq!(done.documents[0].skipped.len(), 3);
        let rows = |text: String| {
            let rows: Vec<String> =
                text.lines().map(|line| line.split_once(',').unwrap().1.to_owned()).collect();
            rows
        };
        let files = desk.place.files().into_keys().filter(|key| key.ends_with(".csv"));
        let tables: Vec<Vec<String>> = files.map(|key| rows(desk.place.read(&key))).collect();
        (tables, report.bytes.unwrap())
    };
    for (mode, percent_max) in [(Mode::Development, 70), (Mode::Extended, 45)] {
        let (whole, whole_bytes) = tables(None, mode);
        let (slim, slim_bytes) = tables(Some(SLIM_FIELDS), mode);
        assert_eq!(whole.len(), PLUGINS.len() + 1);
        assert_eq!(slim, whole);
        assert!(slim_bytes * 100 < whole_bytes * percent_max, "{slim_bytes} of {whole_bytes}");
    }
}

#[test]
fn a_filter_that_hides_further_pages_is_found_out() {
    let mut desk = Desk::new(Mode::Extended);
    desk.fields = Some("total,items(track(id,type))".to_owned());
    desk.api.playlist(ID, 3);
    // A page that knows nothing but itself.
    let page = json!({ "total": 1, "items": [{ "track": { "id": "1", "type": "track" } }] });
    let replies = || [Reply::text(200, &page.to_string())];
    for _ in 0..2 {
        desk.api.reply(&format!("/v1/playlists/{ID}/items"), replies());
    }
    desk.fails(&["1 entries came, and its total is 3"]);
    desk.api.forgive();
}

#[test]
fn a_clock_that_is_set_wrong_is_told_by_spotify_s() {
    let dated = |date: &str, more: &[(&'static str, &str)]| {
        let body = json!({ "name": "A", "snapshot_id": "S", "owner": { "id": "o" } });
        let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let headers = [("date", date.to_owned())].into_iter().chain(more).collect();
        Reply::Is(200, headers, body.to_string())
    };
    let path = format!("/v1/playlists/{ID}");
    // This machine's clock says 2026-07-06 06:00:30.
    for (date, more, is_wrong) in [
        ("Sun, 06 Jul 2059 06:00:00 GMT", &[][..], true),
        ("Sat, 04 Jul 2026 06:00:00 GMT", &[], true),
        ("Tue, 07 Jul 2026 06:00:31 GMT", &[], true),
        ("Tue, 07 Jul 2026 05:00:00 GMT", &[], false),
        ("Sun, 05 Jul 2026 07:00:00 GMT", &[], false),
        // A cache had it for two days.
        ("Sat, 04 Jul 2026 06:00:30 GMT", &[("age", "172800")], false),
        ("yesterday", &[], false),
    ] {
        let desk = Desk::new(Mode::Extended);
        desk.api.playlist(ID, 3);
        desk.api.reply(&path, [dated(date, more)]);
        if is_wrong {
            let says =
                "the clock of this machine says 2026-07-06 06:00:30 UTC, and Spotify's says 20";
            let report = desk.fails(&[says, "set the clock"]);
            assert_eq!(report.problem.unwrap().action, Action::Setup);
        } else {
            assert_eq!(desk.extract().status, ExtractStatus::Landed, "{date}");
        }
        desk.api.forgive();
    }
}
