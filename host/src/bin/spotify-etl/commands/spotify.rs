//! The commands that ask Spotify.

use std::{
    fs,
    io::{BufRead as _, Read as _, Write as _},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use secrecy::SecretString;
use spotify_etl::{
    config,
    doctor::{Doctor, Finding, Health, LOGIN_DAYS_LOW},
    document::PlaylistId,
    pipeline::{
        PipelineError, Selection,
        extract::{Condition, Extract, Extraction},
        playlists::{self, ListedPlaylist, PlaylistsError},
        report::{Action, Problem},
    },
    remedy::quoted,
    spotify::{
        Application, Clock, Consent, CredentialError, CredentialSource, Given, Login, LoginError,
        LoginFile, LoginPlace, Settings, Spotify, Url, listen, log_in, login_command, source,
    },
    status::LoginStatus,
};
use time::OffsetDateTime;

use super::{Access, Session, Work, now};
use crate::{
    args::{ExtractArgs, LoginArgs, Place, PlaylistCommand, SpotifyArgs, TransformArgs},
    progress::Bar,
    render,
};

/// How somebody consents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Browser {
    /// In the browser that is opened.
    Opened,
    /// In one that they open themselves, on this machine.
    Theirs,
    /// In one on another machine.
    Elsewhere,
}

impl Browser {
    /// What the flags say.
    pub fn of(paste: bool, no_browser: bool) -> Self {
        match (paste, no_browser) {
            (true, _) => Browser::Elsewhere,
            (false, true) => Browser::Theirs,
            (false, false) => Browser::Opened,
        }
    }
}

/// An address that somebody pastes.
const ADDRESS_BYTES_MAX: u64 = 16 * 1024;
/// So many lines that are no such address.
const PASTES_MAX: usize = 5;

struct SystemClock {
    started_at: OffsetDateTime,
    started: Instant,
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> OffsetDateTime {
        // Not set back or forward by anybody while the program runs.
        self.started_at + self.started.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// Where a login is or will be kept.
pub fn login_place(args: &LoginArgs) -> Option<Arc<dyn LoginPlace>> {
    let named = args.credentials.as_ref().filter(|place| !place.0.name().is_empty());
    if let Some(place) = named {
        return Some(Arc::clone(&place.0));
    }
    let path = config::config_folder()?.join("login.json");
    Some(Arc::new(LoginFile::new(&path)))
}

impl Session {
    pub(super) async fn run(
        &self,
        playlists: &[String],
        extract: &ExtractArgs,
        spotify: &SpotifyArgs,
        options: &TransformArgs,
    ) -> Result<u8> {
        let transform = self.transformer(options);
        transform.require_plugins().await?;
        let work = self.land(playlists, extract, spotify).await?;
        self.transform_and_finish(&transform, Selection::Waiting, work).await
    }

    pub(super) async fn extract(
        &self,
        playlists: &[String],
        extract: &ExtractArgs,
        spotify: &SpotifyArgs,
    ) -> Result<u8> {
        let work = self.land(playlists, extract, spotify).await?;
        self.finish("extract", work).await
    }

    async fn land(
        &self,
        names: &[String],
        args: &ExtractArgs,
        spotify: &SpotifyArgs,
    ) -> Result<Work> {
        let playlists = self.named(names).await?;
        if playlists.is_empty() {
            let store = quoted(&self.common.store.to_string());
            bail!(
                "no playlist to extract: name one (an id, a spotify: URI or an open.spotify.com address), or list those of this store (spotify-etl playlist add --store {store} ADDRESS); files are brought in with `spotify-etl run --from`"
            );
        }
        let source = credentials(spotify)?;
        let login = self.login_behind(source.as_ref(), &spotify.login).await;
        let settings = self.settings(spotify, Some(args));
        let spotify = Spotify::new(settings, source, self.clock())?;
        let condition = if args.if_changed { Condition::IfChanged } else { Condition::Always };
        let extract = Extract {
            store: self.store(),
            spotify: &spotify,
            condition,
            scheduled_at: None,
            limits: self.limits.clone(),
            now: self.now,
            until: None,
            progress: &Bar,
        };
        let warnings = login.iter().flat_map(login_warnings).collect();
        Ok(match extract.run(&playlists).await {
            Ok(Extraction { extracts, problems }) => {
                Work { extracts, problems, warnings, ..Work::default() }
            }
            // Worth a report, for whoever looks later at what an unattended run did.
            Err(PipelineError::Token(error)) => Work {
                problems: vec![Problem::new(Action::Setup, error)],
                warnings,
                access: Access::None,
                ..Work::default()
            },
            Err(error) => return Err(error.into()),
        })
    }

    /// The login, if it is what the credentials are.
    async fn login_behind(
        &self,
        source: &dyn CredentialSource,
        args: &LoginArgs,
    ) -> Option<LoginStatus> {
        let place = login_place(args).filter(|place| place.name() == source.name())?;
        LoginStatus::of(place.as_ref(), self.now).await.ok()?
    }

    /// The playlists that are meant by names, each once; all of the list if none is named.
    async fn named(&self, names: &[String]) -> Result<Vec<ListedPlaylist>> {
        let list = match playlists::playlists(self.store()).await {
            // What is named in full needs no list.
            Err(error @ PlaylistsError::Damaged { .. }) if !names.is_empty() => {
                tracing::warn!("labels are not known: {error}");
                Vec::new()
            }
            list => list?,
        };
        playlists::meant(list, names, playlist_id)
    }

    fn clock(&self) -> Arc<SystemClock> {
        Arc::new(SystemClock { started_at: self.now, started: self.started })
    }

    fn settings(&self, spotify: &SpotifyArgs, extract: Option<&ExtractArgs>) -> Settings {
        Settings {
            api_url: spotify.api_url.clone(),
            accounts_url: spotify.accounts_url.clone(),
            page_entries: extract.map_or(50, |extract| extract.page_size),
            market: extract.and_then(|extract| extract.market.clone()),
            fields: extract.and_then(|extract| extract.fields.clone()),
            limits: self.limits.clone(),
        }
    }

    pub(super) async fn playlist(&self, command: PlaylistCommand) -> Result<u8> {
        self.require_store()?;
        let store = quoted(&self.common.store.to_string());
        match command {
            PlaylistCommand::Add { playlist, label } => {
                let label = label.map(|label| label.trim().to_owned());
                if label
                    .as_ref()
                    .is_some_and(|label| label.is_empty() || label.contains(char::is_control))
                {
                    bail!("a label is a word or some, in one line");
                }
                let listed = ListedPlaylist { id: playlist_id(&playlist)?, label };
                let label = listed.label.as_deref();
                let addition = playlists::add(self.store(), &listed.id, label, self.now).await?;
                let report = serde_json::json!({
                    "playlist_id": listed.id, "label": listed.label, "status": addition,
                });
                self.print(&report, || render::added(&listed, addition, &store))?;
            }
            PlaylistCommand::List => {
                let list = playlists::playlists(self.store()).await?;
                let report: Vec<_> = list.iter().map(as_json).collect();
                self.print(&report, || render::listed(&list, &store))?;
            }
            PlaylistCommand::Remove { name } => {
                let removed = playlists::remove(self.store(), &name).await?;
                self.print(&as_json(&removed), || {
                    format!("{} is off the list; what was landed of it stays", removed.id)
                })?;
            }
        }
        Ok(0)
    }

    pub(super) async fn login(
        &self,
        args: &SpotifyArgs,
        save: Option<Place>,
        redirect_uri: &Url,
        browser: Browser,
    ) -> Result<u8> {
        let (usual, is_moved) = (login_place(&args.login), save.is_some());
        let place = save.map(|place| place.0).or_else(|| usual.clone()).context(
            "no place for the login: neither HOME nor XDG_CONFIG_HOME is set (name a file with --credentials)",
        )?;
        let reads_input =
            args.client_secret_file.as_ref().is_some_and(|path| path.as_os_str() == "-");
        if reads_input && browser == Browser::Elsewhere {
            bail!(
                "the secret and the address can't both come from standard input (put the secret into a file)"
            );
        }
        place.prepare().await?;
        // Who moves to another place may mean the same app.
        let known = match place.login().await? {
            None => match usual {
                Some(usual) => usual.login().await?,
                None => None,
            },
            known => known,
        };
        let app = application(args, known)?;
        let settings = self.settings(args, None);
        let (listener, redirect_uri) = match browser {
            // Nobody listens, so any port will do.
            Browser::Elsewhere => (None, with_port(redirect_uri)),
            _ => {
                let (listener, redirect_uri) = listen(redirect_uri).await?;
                (Some(listener), redirect_uri)
            }
        };
        let consent = Consent::new(&settings, &app, &redirect_uri)?;
        let how = render::login(consent.address.as_str(), browser == Browser::Elsewhere);
        writeln!(std::io::stderr(), "{how}")?;
        if browser == Browser::Opened && config::can_open_pages() {
            let address = consent.address.to_string();
            // Some browsers stay, and a missing one is no error: the address was shown.
            std::thread::spawn(move || open_page(&address));
        }
        let code = match &listener {
            Some(listener) => {
                let seconds = self.limits.login_seconds;
                tokio::time::timeout(Duration::from_secs(seconds), consent.answer(listener))
                    .await
                    .unwrap_or(Err(LoginError::TooLate { seconds }))?
            }
            None => pasted(&consent)?,
        };
        let login = log_in(&settings, &app, &consent, &code, self.clock()).await?;
        place.keep(&login).await?;
        let status = LoginStatus::of(place.as_ref(), now()).await?;
        let status = status.with_context(|| format!("the login is not in {}", place.name()))?;
        self.print(&status, || {
            let mut text = render::logged_in(&status);
            if is_moved && app.client_secret.is_none() {
                text.push_str(render::ROTATES);
            }
            text + "next: spotify-etl doctor PLAYLIST"
        })?;
        Ok(0)
    }

    pub(super) async fn login_status(&self, args: &LoginArgs) -> Result<u8> {
        let place = login_place(args).context("neither HOME nor XDG_CONFIG_HOME is set")?;
        let location = place.name();
        let Some(status) = LoginStatus::of(place.as_ref(), self.now).await? else {
            let report = serde_json::json!({ "location": location, "account": null });
            self.print(&report, || {
                let again = login_command(&location);
                format!("nobody is logged in: there is no {location}\n      {again} --client-id ID")
            })?;
            return Ok(1);
        };
        self.print(&status, || render::logged_in(&status))?;
        Ok(u8::from(status.days_left.is_some_and(|days| days < 0)))
    }

    pub(super) async fn logout(&self, args: &LoginArgs) -> Result<u8> {
        let place = login_place(args).context("neither HOME nor XDG_CONFIG_HOME is set")?;
        let forgotten = place.forget().await?;
        let location = place.name();
        let report = serde_json::json!({ "location": location, "forgotten": forgotten });
        self.print(&report, || match forgotten {
            true => format!(
                "{location} is deleted; to take the app's access away as well, see spotify.com/account/apps"
            ),
            false => format!("nobody was logged in: there is no {location}"),
        })?;
        Ok(0)
    }

    pub(super) async fn doctor(&self, names: &[String], args: &SpotifyArgs) -> Result<u8> {
        let playlists = self.named(names).await.map_err(|error| format!("{error:#}"));
        let source = credentials(args);
        let login = match (&source, login_place(&args.login)) {
            (Ok(source), Some(place)) if source.name() == place.name() => {
                LoginStatus::of(place.as_ref(), self.now).await.transpose()
            }
            _ => None,
        };
        let settings = self.settings(args, None);
        let spotify = source.and_then(|source| {
            let place = source.name();
            Ok((Spotify::new(settings, source, self.clock())?, place))
        });
        let doctor = Doctor {
            store: self.store(),
            plugins: self.plugins(),
            shelf: &self.shelf,
            spotify: match &spotify {
                Ok((spotify, place)) => Ok((spotify, place.clone())),
                Err(error) => Err(format!("{error:#}")),
            },
            login,
            playlists,
            now: self.now,
            run_id: self.run_id.clone(),
        };
        let mut findings: Vec<Finding> = Vec::new();
        let mut printed = Ok(());
        doctor
            .examine(&mut |finding| {
                if !self.common.json && printed.is_ok() {
                    printed = render::data(&render::finding(&finding));
                }
                findings.push(finding);
            })
            .await;
        printed.context("could not write to standard output")?;
        if self.common.json {
            render::json(&serde_json::to_string_pretty(&findings)?)?;
        }
        Ok(u8::from(findings.iter().any(|finding| finding.health == Health::Bad)))
    }
}

/// Warns of a login that soon ends, and of one that other users of this machine can read.
fn login_warnings(login: &LoginStatus) -> Vec<String> {
    let location = &login.location;
    let ends_soon = login.days_left.is_some_and(|days| days <= LOGIN_DAYS_LOW);
    let ends = login.ends().filter(|_| ends_soon);
    let again = login_command(location);
    let ends = ends.map(|ends| format!("the login in {location} {ends} (log in again: {again})"));
    let open = login.open_to_others.then(|| {
        let path = quoted(location);
        format!("other users of this machine can read the login in {location} (chmod 600 {path})")
    });
    ends.into_iter().chain(open).collect()
}

fn as_json(listed: &ListedPlaylist) -> serde_json::Value {
    serde_json::json!({ "playlist_id": listed.id, "label": listed.label })
}

/// A playlist as somebody names it to be asked for: nothing is made up of what is none.
fn playlist_id(text: &str) -> Result<PlaylistId> {
    let is_address = text.contains(['/', ':']);
    match PlaylistId::from_reference(text) {
        Some(id) if is_address || id.as_str() == text.trim() => Ok(id),
        _ if Path::new(text).exists() => {
            bail!(
                "`{text}` is a file, not a playlist of Spotify's (bring it in: spotify-etl run --from {text})"
            )
        }
        _ if text.contains("spotify.link") => {
            bail!(
                "`{text}` is a short link (open it in a browser, and give the address it leads to)"
            )
        }
        _ => bail!(
            "`{text}` is no playlist, nor a label of the list (give an id, spotify:playlist:ID or https://open.spotify.com/playlist/ID; `spotify-etl playlist list` shows labels)"
        ),
    }
}

fn credentials(args: &SpotifyArgs) -> Result<Arc<dyn CredentialSource>> {
    let given = Given {
        client_id: client_id(args),
        client_secret: client_secret(args)?,
        refresh_token: config::secret("SPOTIFY_REFRESH_TOKEN"),
        login: login_place(&args.login),
        flow: args.auth,
    };
    Ok(source(given)?)
}

fn client_id(args: &SpotifyArgs) -> Option<String> {
    args.client_id.as_deref().map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned)
}

fn client_secret(args: &SpotifyArgs) -> Result<Option<SecretString>> {
    let Some(path) = &args.client_secret_file else {
        return Ok(config::secret("SPOTIFY_CLIENT_SECRET"));
    };
    let text = if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(path)
    };
    let text =
        text.with_context(|| format!("could not read the secret in `{}`", path.display()))?;
    let secret = text.trim();
    if secret.is_empty() {
        bail!("there is no secret in `{}`", path.display());
    }
    Ok(Some(SecretString::from(secret.to_owned())))
}

/// The app to log in to: the one that is named, else the one of the last login.
fn application(args: &SpotifyArgs, known: Option<Login>) -> Result<Application> {
    let client_secret = client_secret(args)?;
    match (client_id(args), known) {
        (Some(client_id), Some(login)) if login.client_id != client_id => {
            Ok(Application { client_id, client_secret })
        }
        (_, Some(login)) => Ok(Application {
            client_id: login.client_id,
            client_secret: client_secret.or(login.client_secret),
        }),
        (Some(client_id), None) => Ok(Application { client_id, client_secret }),
        (None, None) => Err(CredentialError::NoClientId.into()),
    }
}

/// The address with the port that a listener would have had.
fn with_port(redirect_uri: &Url) -> Url {
    const PORT: u16 = 8888;
    let mut uri = redirect_uri.clone();
    if uri.scheme() == "http" && uri.port().is_none() {
        let _ = uri.set_port(Some(PORT));
    }
    uri
}

/// The consent in the address that somebody pastes, who may miss it once or twice.
fn pasted(consent: &Consent) -> Result<SecretString> {
    let mut problem = None;
    for _ in 0..PASTES_MAX {
        let mut line = Vec::new();
        std::io::stdin().lock().take(ADDRESS_BYTES_MAX).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            break;
        }
        let line = String::from_utf8_lossy(&line);
        if line.trim().is_empty() {
            continue;
        }
        match consent.pasted(&line) {
            Err(error @ LoginError::Pasted) => {
                writeln!(std::io::stderr(), "{error}")?;
                problem = Some(error);
            }
            answer => return Ok(answer?),
        }
    }
    match problem {
        Some(error) => Err(error.into()),
        None => bail!("nothing was pasted (log in again: spotify-etl login --paste)"),
    }
}

fn open_page(address: &str) {
    let mut options = webbrowser::BrowserOptions::new();
    options.with_suppress_output(true);
    let opened =
        webbrowser::open_browser_with_options(webbrowser::Browser::Default, address, &options);
    if let Err(error) = opened {
        tracing::debug!("no browser could be opened: {error}");
    }
}
