//! The commands that ask Spotify, as processes: a login by a scripted browser, extraction, doctor;
//! and that no secret is left anywhere.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, ChildStderr, Command, Stdio},
};

use serde_json::{Value, json};
use spotify_etl::spotify::Url;

use crate::{
    aws,
    desk::{Desk, Said, said, text},
    support::{Site, files_below},
    web_api::{ACCOUNT, CLIENT_ID, CLIENT_SECRET, Mode, Reply, WebApi},
};

const ID: &str = "3cEYpjA9oz9GiPac4AsH4n";

/// Somebody with an app, in front of a screen.
struct Person {
    desk: Desk,
    api: WebApi,
}

impl Person {
    fn new(mode: Mode) -> Self {
        let person = Person { desk: Desk::new(), api: WebApi::new(mode) };
        person.api.playlist(ID, 60);
        person
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.desk.command(arguments);
        command
            .env("HOME", self.desk.folder.path())
            .envs(aws::environment())
            .env("SPOTIFY_API_URL", self.api.api_url().as_str())
            .env("SPOTIFY_ACCOUNTS_URL", self.api.accounts_url().as_str());
        command
    }

    fn say(&self, arguments: &[&str]) -> Said {
        said(self.command(arguments).output().unwrap())
    }

    fn say_as_app(&self, arguments: &[&str]) -> Said {
        let mut command = self.command(arguments);
        command.env("SPOTIFY_CLIENT_ID", CLIENT_ID).env("SPOTIFY_CLIENT_SECRET", CLIENT_SECRET);
        said(command.output().unwrap())
    }

    /// Begins a login, and says where the browser should go.
    fn begin_login(&self, arguments: &[&str]) -> (Login, Url) {
        let mut command = self.command(&[&["login"], arguments].concat());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut login = command.spawn().unwrap();
        let mut said = BufReader::new(login.stderr.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("  http") {
            line.clear();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "no address was shown");
        }
        let address = Url::parse(line.trim()).unwrap();
        (Login { process: login, said }, address)
    }

    fn log_in(&self, arguments: &[&str]) -> Said {
        let (login, address) = self.begin_login(&[arguments, &["--no-browser"]].concat());
        let (status, back, _) = visit(&address);
        assert_eq!(status, 302);
        let (status, _, page) = visit(&back.unwrap());
        assert_eq!(status, 200, "{page}");
        assert!(page.contains("Spotify agrees"));
        login.end()
    }

    fn login_file(&self) -> std::path::PathBuf {
        self.desk.path(".config/spotify-etl/login.json")
    }
}

/// A login that waits for somebody to consent.
struct Login {
    process: Child,
    said: BufReader<ChildStderr>,
}

impl Login {
    fn end(mut self) -> Said {
        let mut err = String::new();
        self.said.read_to_string(&mut err).unwrap();
        let Said { status, out, .. } = said(self.process.wait_with_output().unwrap());
        Said { status, out, err }
    }
}

/// What a browser gets at an address: the status, where it is sent on, and the page.
fn visit(url: &Url) -> (u16, Option<Url>, String) {
    let address = (url.host_str().unwrap(), url.port().unwrap());
    let mut stream = TcpStream::connect(address).unwrap();
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = format!("{}{query}", url.path());
    let host = url.host_str().unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, page) = answer.split_once("\r\n\r\n").unwrap();
    let location = head.lines().find_map(|line| line.strip_prefix("location: "));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, location.map(|location| Url::parse(location).unwrap()), page.to_owned())
}

#[test]
fn from_an_app_to_a_weekly_run() {
    let person = Person::new(Mode::Development);
    let login = person.log_in(&["--client-id", CLIENT_ID]);
    login.ends(0, &[&format!("logged in as {ACCOUNT} (somebody)"), "login.json", "days left"]);
    person.say(&["login", "--status"]).ends(0, &[ACCOUNT, CLIENT_ID, "playlist-read-private"]);

    let address = format!("https://open.spotify.com/playlist/{ID}?si=0123456789abcdef");
    let added = person.say(&["playlist", "add", &address, "--label", "france"]);
    added.ends(0, &[ID, "(france)", "is on the list now"]);
    person.say(&["playlist", "add", ID]).ends(0, &["was on the list already"]);
    person.say(&["playlist", "list"]).ends(0, &[ID, "france"]);
    person.say(&["doctor"]).ends(
        0,
        &[
            "✓ store: ./data/",
            "✓ plugins: album 0.1.0",
            "✓ credentials: Some Body",
            "✓ token: for Some Body",
            "(france): Playlist 3cEYpjA9oz9GiPac4AsH4n of Some Body: 60 entries, readable",
        ],
    );

    let run = person.say(&["run"]);
    run.ends(0, &["60 entries in 2 pages, landed", "song         60 rows", "all done"]);
    assert_eq!(person.desk.count("raw_data/processed/"), 1);
    assert_eq!(person.desk.count("raw_data/to_process/"), 0);
    person.say(&["run", "france", "--if-changed"]).ends(0, &["unchanged since it was landed last"]);
    person.say(&["extract", &format!("spotify:playlist:{ID}")]).ends(0, &["landed", "done in"]);
    person.say(&["status"]).ends(0, &["login of Some Body", "days of consent left"]);

    person.say(&["playlist", "remove", "france"]).ends(0, &["off the list"]);
    person.say(&["run"]).ends(2, &["no playlist to extract", "playlist add"]);
    person.say(&["logout"]).ends(0, &["is deleted", "spotify.com/account/apps"]);
    person.say(&["logout"]).ends(0, &["nobody was logged in"]);
    person.say(&["login", "--status"]).ends(1, &["nobody is logged in", "spotify-etl login"]);
    person.say(&["extract", ID]).ends(2, &["no credentials", "spotify-etl login --client-id ID"]);
}

#[test]
fn a_login_is_for_its_owner_s_eyes_only_and_the_next_one_needs_no_app() {
    let person = Person::new(Mode::Development);
    let secret = person.desk.write("secret", CLIENT_SECRET.as_bytes());
    let login = person.log_in(&["--client-id", CLIENT_ID, "--client-secret-file", text(&secret)]);
    login.ends(0, &["logged in as"]);
    let file = person.login_file();
    let kept: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(kept["client_secret"], CLIENT_SECRET);
    assert_eq!(kept["refresh_token"], json!(person.api.refresh_token()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        person.say(&["login", "--status"]).ends(0, &["others may read it", "chmod 600"]);
        let warning = "! other users of this machine can read the login in";
        person.say(&["extract", ID]).ends(0, &[warning, "chmod 600", "done"]);
        person.say(&["run", ID]).ends(0, &[warning, "all done"]);
    }
    // The app and its secret are in the file, so that nobody has to look them up again.
    person.log_in(&["--client-id", CLIENT_ID]).ends(0, &["logged in as"]);
    person.log_in(&[]).ends(0, &["logged in as"]);
    let token = person.api.asked().into_iter().rev().find(|asked| asked.path.ends_with("/token"));
    assert!(token.unwrap().authorization.unwrap().starts_with("Basic "));
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    }
    person.say(&["extract", ID]).ends(0, &["60 entries"]);
    let other = person.say(&["extract", ID, "--client-id", "another"]);
    other.ends(2, &["is for app", "`another`", "--auth app"]);
}

#[test]
fn a_consent_given_at_a_desk_is_kept_for_the_function() {
    let Some(_) = Site::bucket() else { return };
    let person = Person::new(Mode::Development);
    person.log_in(&["--client-id", CLIENT_ID]).ends(0, &["login.json"]);
    for place in ["ssm:/spotify-etl/desk/login", "secretsmanager:spotify-etl-desk"] {
        // The app is the one of the login at the desk.
        let saved = person.log_in(&["--save", place]);
        saved.ends(0, &["logged in as", place, "whatever else uses this login ends"]);
        person.say(&["login", "--status", "--credentials", place]).ends(0, &[ACCOUNT, place]);
        person.say(&["extract", ID, "--credentials", place]).ends(0, &["60 entries"]);
        person.say(&["doctor", "--credentials", place]).ends(0, &[&format!("in {place}")]);
        person.say(&["logout", "--credentials", place]).ends(0, &[place, "is deleted"]);
        let again = format!("spotify-etl login --save {place} --client-id ID");
        person.say(&["login", "--status", "--credentials", place]).ends(1, &[&again]);
    }
    person.say(&["login", "--save", "ssm:"]).ends(2, &["names no parameter"]);
}

#[test]
fn what_is_no_login_is_neither_replaced_nor_deleted() {
    let person = Person::new(Mode::Development);
    let notes = person.desk.write("notes.txt", b"precious");
    for arguments in [
        &["login", "--client-id", CLIENT_ID, "--no-browser"][..],
        &["logout"],
        &["login", "--client-id", CLIENT_ID, "--paste"],
    ] {
        let said = person.say(&[arguments, &["--credentials", text(&notes)]].concat());
        said.ends(2, &["notes.txt is there, and is no login", "left alone"]);
    }
    assert_eq!(fs::read(&notes).unwrap(), b"precious");
    person.say(&["logout", "--credentials", "data"]).ends(2, &["not even a file"]);
}

#[test]
fn runs_that_share_a_login_take_turns() {
    let person = Person::new(Mode::Development);
    person.log_in(&["--client-id", CLIENT_ID]).ends(0, &[]);
    for _ in 0..3 {
        let runs: Vec<Child> = (0..4)
            .map(|_| {
                let mut run = person.command(&["extract", ID]);
                run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        for run in runs {
            said(run.wait_with_output().unwrap()).ends(0, &["60 entries"]);
        }
    }
    let kept: Value = serde_json::from_slice(&fs::read(person.login_file()).unwrap()).unwrap();
    assert_eq!(kept["refresh_token"], json!(person.api.refresh_token()));
}

#[test]
fn only_the_answer_to_this_login_is_taken() {
    for (query, says) in [
        ("code=CODE&state=another", "answers another login"),
        ("error=access_denied&state=another", "answers another login"),
        ("error=access_denied", "answers another login"),
        ("code=CODE", "answers another login"),
    ] {
        let person = Person::new(Mode::Development);
        let (login, address) = person.begin_login(&["--client-id", CLIENT_ID, "--no-browser"]);
        let (_, redirect) = address.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap();
        assert!(redirect.starts_with("http://127.0.0.1:") && redirect.ends_with("/callback"));
        let base = Url::parse(&redirect).unwrap();
        assert_eq!(visit(&base.join("/favicon.ico").unwrap()).0, 404);
        assert_eq!(visit(&base).0, 404);
        // Any page in the browser can send this, and more than once: the login goes on waiting.
        for _ in 0..3 {
            let (status, _, page) = visit(&base.join(&format!("?{query}")).unwrap());
            assert_eq!((status, page.contains(says)), (400, true), "{page}");
        }
        assert!(!person.login_file().exists());
        assert_eq!(visit(&visit(&address).1.unwrap()).0, 200);
        login.end().ends(0, &["logged in as"]);
    }
    let person = Person::new(Mode::Development);
    let (login, address) = person.begin_login(&["--client-id", CLIENT_ID, "--no-browser"]);
    let value = |wanted: &str| {
        let found = address.query_pairs().find(|(name, _)| name == wanted);
        found.unwrap().1.into_owned()
    };
    let mut denied = Url::parse(&value("redirect_uri")).unwrap();
    denied
        .query_pairs_mut()
        .append_pair("error", "access_denied")
        .append_pair("state", &value("state"));
    assert_eq!(visit(&denied).0, 400);
    login.end().ends(2, &["`access_denied`", "agree to it"]);
}

#[test]
fn requests_that_are_odd_or_slow_do_not_keep_the_answer_out() {
    let person = Person::new(Mode::Development);
    let (login, address) = person.begin_login(&["--client-id", CLIENT_ID, "--no-browser"]);
    let (_, redirect) = address.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap();
    let base = Url::parse(&redirect).unwrap();
    let connect = || TcpStream::connect((base.host_str().unwrap(), base.port().unwrap())).unwrap();
    // More than are served at a time, and none of them ever ends its request.
    let slow: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = connect();
            write!(stream, "GET /callback HTTP/1.1\r\nx: ").unwrap();
            stream
        })
        .collect();
    for request in [
        b"\x16\x03\x01 not HTTP\r\n\r\n".to_vec(),
        b"POST /callback?code=a HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n".to_vec(),
        [&b"GET / HTTP/1.1\r\nx: "[..], &[b'a'; 500_000]].concat(),
        format!("GET /callback?code={} HTTP/1.1\r\n\r\n", "a".repeat(500_000)).into_bytes(),
    ] {
        let mut stream = connect();
        // It may be closed before all of it is sent.
        let _ = stream.write_all(&request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 200"));
    }
    assert_eq!(visit(&visit(&address).1.unwrap()).0, 200);
    login.end().ends(0, &["logged in as"]);
    drop(slow);
}

#[test]
fn an_address_can_be_pasted_where_there_is_no_browser() {
    for (paste, status, says) in [
        (true, 0, "logged in as Some Body"),
        (false, 2, "not the address that the browser was sent to"),
    ] {
        let person = Person::new(Mode::Development);
        let (mut login, address) = person.begin_login(&["--client-id", CLIENT_ID, "--paste"]);
        let (_, back, _) = visit(&address);
        let line = if paste { back.unwrap().to_string() } else { "CODE".to_owned() };
        login.process.stdin.take().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
        login.end().ends(status, &[says]);
    }
    let person = Person::new(Mode::Development);
    let late = person.say(&[
        "login",
        "--client-id",
        CLIENT_ID,
        "--no-browser",
        "--limit",
        "login_seconds=1",
    ]);
    late.ends(2, &["nobody consented within 1 s", "--paste"]);
    let bad = ["login", "--client-id", CLIENT_ID, "--redirect-uri", "http://localhost/callback"];
    person.say(&bad).ends(2, &["`http://localhost/callback`", "http://127.0.0.1"]);
    person.say(&["login"]).ends(2, &["no client id", "redirect address"]);
}

#[cfg(unix)]
#[test]
fn the_browser_is_opened() {
    use std::os::unix::fs::PermissionsExt as _;
    let person = Person::new(Mode::Development);
    let seen = person.desk.path("seen");
    let script = format!("#!/bin/sh\necho \"$1\" > {}\n", text(&seen));
    let browser = person.desk.write("browser", script.as_bytes());
    fs::set_permissions(&browser, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = person.command(&["login", "--client-id", CLIENT_ID]);
    command.env("BROWSER", &browser).env("PATH", "/usr/bin:/bin");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut login = command.spawn().unwrap();
    for _ in 0..1000 {
        std::thread::sleep(std::time::Duration::from_millis(10));
        if fs::read_to_string(&seen).is_ok_and(|line| line.ends_with('\n')) {
            break;
        }
    }
    let Ok(address) = fs::read_to_string(&seen) else {
        login.kill().unwrap();
        panic!("no browser within 10 s: {}", said(login.wait_with_output().unwrap()).err);
    };
    visit(&visit(&Url::parse(address.trim()).unwrap()).1.unwrap());
    said(login.wait_with_output().unwrap()).ends(0, &["logged in as"]);
}

#[test]
fn no_secret_is_left_anywhere() {
    let person = Person::new(Mode::Development);
    let login = person.log_in(&["--client-id", CLIENT_ID, "--log", "debug", "--json"]);
    login.ends(0, &[]);
    let mut written = login.out + &login.err;
    // Whatever the services throw back.
    let metadata = format!("/v1/playlists/{ID}");
    person.api.reply(&metadata, vec![Reply::error(403, "Invalid access token: {given}"); 3]);
    let next = json!({ "items": [], "total": 1, "next": "http://127.0.0.1:1/?{given}" });
    let items = format!("{metadata}/items");
    person.api.reply(
        &items,
        [Reply::text(200, &next.to_string()), Reply::text(200, "{\"error\":\"{given}\"}")],
    );
    for path in ["/v1/me", "/accounts/api/token"] {
        person.api.reply(path, [Reply::text(500, "{given} {form}")]);
    }
    for arguments in [
        &["run", ID, "--log", "debug"][..],
        &["run", ID, "--log", "debug", "--json"],
        &["extract", ID],
        &["extract", ID],
        &["doctor", ID, "--log", "debug"],
        &["status", "--json"],
        &["runs", "last", "--json"],
    ] {
        let Said { out, err, .. } = person.say(arguments);
        written += &(out + &err);
    }
    let refused = json!({ "error": "invalid_grant", "error_description": format!("bad {}", person.api.refresh_token().unwrap()) });
    person.api.reply("/accounts/api/token", [Reply::text(400, &refused.to_string())]);
    let Said { out, err, status } = person.say(&["extract", ID, "--log", "debug"]);
    assert_eq!(status, 2);
    assert!(out.contains("[secret]"), "{out}");
    written += &(out + &err);
    let refused =
        json!({ "error": "invalid_client", "error_description": format!("bad {CLIENT_SECRET}") });
    person.api.reply("/accounts/api/token", [Reply::text(400, &refused.to_string())]);
    let Said { out, err, .. } =
        person.say_as_app(&["extract", ID, "--log", "debug", "--auth", "app"]);
    written += &(out + &err);
    person.say(&["run", ID]).ends(0, &["landed"]);
    assert!(written.contains("[secret]"));
    assert!(!written.contains("S3CR3T"), "{written}");
    for entry in fs::read_dir(person.desk.path("data/runs")).unwrap() {
        let report = fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!report.contains("S3CR3T"), "{report}");
    }
    for (key, bytes) in files_below(person.desk.folder.path()) {
        let is_login = key == ".config/spotify-etl/login.json";
        let found = bytes.windows(6).any(|window| window == b"S3CR3T");
        assert_eq!(found, is_login, "{key}");
    }
}

#[test]
fn what_fails_is_in_the_exit_status_and_in_the_json() {
    let person = Person::new(Mode::Extended);
    let mixed = person.say_as_app(&["run", ID, "37i9dQZEVXbIPWwFssbupI", "--json"]);
    mixed.ends(1, &[]);
    let report = mixed.json();
    assert_eq!(report["extracts"][0]["status"], "landed");
    assert_eq!(report["extracts"][1]["status"], "failed");
    assert!(report["extracts"][1]["problem"]["message"].as_str().unwrap().contains("2024-11-27"));
    assert_eq!(report["documents"][0]["status"], "stored");
    person.say(&["runs", "last"]).ends(0, &["37i9dQZEVXbIPWwFssbupI", "Spotify's own playlists"]);

    let wrong = person.desk.write("song.json", b"[]");
    for (arguments, says) in [
        (&["run", text(&wrong)][..], "bring it in: spotify-etl run --from"),
        (&["run", "my list"], "is no playlist, nor a label"),
        (&["extract", "https://open.spotify.com/album/4aawyAB9vmqN3uQ7FjRGTy"], "is no playlist"),
        (&["extract", "https://spotify.link/abc"], "short link"),
        (&["run", ID, "--from", "song.json"], "cannot be used with"),
        (&["run", "--playlist", ID], "--from names none"),
        (&["run", ID, "--market", "France"], "two letters"),
        (&["run", ID, "--store", "s3a://bucket"], "neither a folder nor a bucket"),
        (&["run", ID, "--store", "s3:bucket"], "neither a folder nor a bucket"),
        (&["run", ID, "--page-size", "0"], "1..=100"),
        (&["run", ID, "--fields", "items(added_at)"], "name items, total and next"),
        (&["run", ID, "--api-url", "http://api.spotify.com/v1"], "https addresses only"),
        (&["run", ID, "--auth", "nobody"], "neither `user` nor `app`"),
        (&["run", ID, "--auth", "user"], "no login in"),
    ] {
        let said = person.say_as_app(arguments);
        said.ends(2, &[says]);
    }
    person.desk.write("data/playlists.json", b"{\"playlists\": [{\"id\": 3}]}");
    for arguments in [&["run"][..], &["playlist", "list"], &["playlist", "add", ID]] {
        person.say_as_app(arguments).ends(2, &["playlists.json is not a list", "line 1"]);
    }
    let by_hand = format!(
        "{{\"playlists\": [{{\"id\": \"https://open.spotify.com/playlist/{ID}?si=1\", \"since\": 2019}}]}}"
    );
    person.desk.write("data/playlists.json", by_hand.as_bytes());
    person.say_as_app(&["extract"]).ends(0, &["60 entries"]);
    person.say(&["playlist", "add", "another", "--label", "x"]).ends(0, &[]);
    let list = fs::read_to_string(person.desk.path("data/playlists.json")).unwrap();
    assert!(list.contains("\"since\": 2019") && list.contains("\"label\": \"x\""), "{list}");
}

#[test]
fn doctor_says_what_is_wrong_and_goes_on() {
    let person = Person::new(Mode::Development);
    let doctor = person.say_as_app(&["doctor", ID, "--store", "nothing", "--json"]);
    doctor.ends(1, &[]);
    let found: Vec<(String, String)> = doctor
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| {
            let text = |name: &str| finding[name].as_str().unwrap().to_owned();
            (text("subject"), text("health"))
        })
        .collect();
    let playlist = format!("playlist {ID}");
    let expected = [
        ("store", "bad"),
        ("plugins", "bad"),
        ("credentials", "good"),
        ("token", "good"),
        (playlist.as_str(), "bad"),
    ];
    let expected: Vec<_> =
        expected.map(|(subject, health)| (subject.to_owned(), health.to_owned())).into();
    assert_eq!(found, expected);
    assert!(!person.desk.path("nothing").exists());
    let before = person.desk.keys();
    person.say(&["doctor"]).ends(1, &["✓ store", "✗ credentials", "- token"]);
    assert_eq!(person.desk.keys(), before);
}

#[test]
fn proxies_and_certificates_of_the_environment_are_obeyed() {
    let person = Person::new(Mode::Extended);
    let app = |command: &mut Command| {
        command.env("SPOTIFY_CLIENT_ID", CLIENT_ID).env("SPOTIFY_CLIENT_SECRET", CLIENT_SECRET);
        said(command.output().unwrap())
    };
    // Nobody is at port 1: the proxy answers in its place.
    let nobody = "http://127.0.0.1:1/v1";
    let proxy = format!("http://{}", person.api.address);
    let mut command = person.command(&["extract", ID, "--api-url", nobody]);
    person.api.reply(
        &format!("/v1/playlists/{ID}/items"),
        [Reply::text(200, "{\"items\":[],\"total\":0,\"next\":null}")],
    );
    app(command.env("HTTP_PROXY", &proxy)).ends(0, &["0 entries"]);
    let mut command =
        person.command(&["extract", ID, "--api-url", nobody, "--limit", "request_attempts=1"]);
    app(command.env("HTTP_PROXY", &proxy).env("NO_PROXY", "127.0.0.1"))
        .ends(1, &["could not be asked", "NO_PROXY"]);

    let (secure, certificate) = WebApi::with_tls(Mode::Extended);
    secure.playlist(ID, 3);
    let trusted = person.desk.write("trusted.pem", certificate.as_bytes());
    let asking_it = || {
        let mut command = person.command(&["extract", ID, "--limit", "request_attempts=1"]);
        command
            .env("SPOTIFY_API_URL", secure.api_url().as_str())
            .env("SPOTIFY_ACCOUNTS_URL", secure.accounts_url().as_str());
        command
    };
    app(&mut asking_it()).ends(2, &["no access token", "certificate", "SSL_CERT_FILE"]);
    app(asking_it().env("SSL_CERT_FILE", &trusted)).ends(0, &["3 entries"]);
}
