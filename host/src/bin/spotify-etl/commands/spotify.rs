//! The commands that ask Spotify.

use std::{
    fs,
    io::{BufRead as _, Read as _, Write as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use secrecy::SecretString;
use spotify_etl::{
    config,
    doctor::{Doctor, Finding, Health},
    document::PlaylistId,
    pipeline::{
        Selection,
        extract::{Condition, Extract, Extraction},
        playlists::{self, ListedPlaylist},
        report::Empty,
    },
    spotify::{
        Application, Clock, Consent, CredentialError, CredentialSource, Given, LoginError,
        LoginFile, Settings, Spotify, Url, listen, log_in, source,
    },
    status::LoginStatus,
};
use time::OffsetDateTime;

use super::{Session, Work, now};
use crate::{
    args::{ExtractArgs, LoginArgs, PlaylistCommand, SpotifyArgs, TransformArgs},
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

struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> OffsetDateTime {
        now()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// The file that a login is or will be kept in.
pub fn login_file(args: &LoginArgs) -> Option<LoginFile> {
    let path = args.credentials.clone().filter(|path| !path.as_os_str().is_empty());
    let path = path.or_else(|| Some(config::config_folder()?.join("login.json")))?;
    Some(LoginFile::new(&path))
}

impl Session {
    pub(super) async fn run(
        &self,
        playlists: &[String],
        extract: &ExtractArgs,
        spotify: &SpotifyArgs,
        options: &TransformArgs,
    ) -> Result<u8> {
        let transform = self.transformer();
        transform.require_plugins().await?;
        let Extraction { extracts, problems } = self.land(playlists, extract, spotify).await?;
        let work = Work { extracts, problems, ..Work::default() };
        self.transform_and_finish(&transform, Selection::Waiting, work, options).await
    }

    pub(super) async fn extract(
        &self,
        playlists: &[String],
        extract: &ExtractArgs,
        spotify: &SpotifyArgs,
    ) -> Result<u8> {
        let Extraction { extracts, problems } = self.land(playlists, extract, spotify).await?;
        let work = Work { extracts, problems, ..Work::default() };
        self.finish("extract", work, Empty::Allowed).await
    }

    async fn land(
        &self,
        names: &[String],
        args: &ExtractArgs,
        spotify: &SpotifyArgs,
    ) -> Result<Extraction> {
        let playlists = self.named(names).await?;
        if playlists.is_empty() {
            let store = render::quoted(&self.common.store.display().to_string());
            bail!(
                "no playlist to extract: name one (an id, a spotify: URI or an open.spotify.com address), or list those of this store (spotify-etl playlist add --store {store} ADDRESS); files are brought in with `spotify-etl run --from`"
            );
        }
        let source = credentials(spotify)?;
        let settings = self.settings(spotify, Some(args));
        let spotify = Spotify::new(settings, source, Arc::new(SystemClock))?;
        let condition = if args.if_changed { Condition::IfChanged } else { Condition::Always };
        let extract = Extract {
            store: &self.store,
            spotify: &spotify,
            condition,
            limits: self.limits.clone(),
            now: self.now,
            progress: &Bar,
        };
        Ok(extract.run(&playlists).await?)
    }

    /// The playlists that are meant by names, each once; all of the list if none is named.
    async fn named(&self, names: &[String]) -> Result<Vec<ListedPlaylist>> {
        let list = playlists::playlists(&self.store).await?;
        if names.is_empty() {
            return Ok(list);
        }
        let mut found: Vec<ListedPlaylist> = Vec::new();
        for name in names {
            let mut meant: Vec<_> = playlists::named(&list, name).into_iter().cloned().collect();
            if meant.is_empty() {
                meant.push(ListedPlaylist { id: playlist_id(name)?, label: None });
            }
            meant.retain(|one| found.iter().all(|other| other.id != one.id));
            found.extend(meant);
        }
        Ok(found)
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
        let store = render::quoted(&self.common.store.display().to_string());
        match command {
            PlaylistCommand::Add { playlist, label } => {
                let listed = ListedPlaylist { id: playlist_id(&playlist)?, label };
                let label = listed.label.as_deref();
                let addition = playlists::add(&self.store, &listed.id, label, self.now).await?;
                let report = serde_json::json!({
                    "playlist_id": listed.id, "label": listed.label, "status": addition,
                });
                self.print(&report, || render::added(&listed, addition, &store))?;
            }
            PlaylistCommand::List => {
                let list = playlists::playlists(&self.store).await?;
                let report: Vec<_> = list.iter().map(as_json).collect();
                self.print(&report, || render::listed(&list, &store))?;
            }
            PlaylistCommand::Remove { name } => {
                let removed = playlists::remove(&self.store, &name).await?;
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
        redirect_uri: &Url,
        browser: Browser,
    ) -> Result<u8> {
        let file = login_file(&args.login).context(
            "no place for the login: neither HOME nor XDG_CONFIG_HOME is set (name a file with --credentials)",
        )?;
        let app = application(args, &file)?;
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
            tokio::task::spawn_blocking(move || open_page(&address));
        }
        let code = match &listener {
            Some(listener) => {
                let seconds = self.limits.login_seconds;
                tokio::time::timeout(Duration::from_secs(seconds), consent.answer(listener))
                    .await
                    .unwrap_or(Err(LoginError::TooLate { seconds }))?
            }
            None => {
                let mut line = String::new();
                std::io::stdin().lock().read_line(&mut line)?;
                consent.pasted(&line)?
            }
        };
        let login = log_in(&settings, &app, &consent, &code, Arc::new(SystemClock)).await?;
        file.keep(&login)?;
        let status = LoginStatus::of(&file, now())?;
        self.print(&status, || {
            format!("{}next: spotify-etl doctor PLAYLIST", render::logged_in(&status))
        })?;
        Ok(0)
    }

    pub(super) fn login_status(&self, args: &LoginArgs) -> Result<u8> {
        let file = login_file(args).context("neither HOME nor XDG_CONFIG_HOME is set")?;
        if !file.exists() {
            let report = serde_json::json!({ "location": file.name(), "account": null });
            self.print(&report, || {
                format!(
                    "nobody is logged in: there is no {}\n      spotify-etl login --client-id ID",
                    file.name()
                )
            })?;
            return Ok(1);
        }
        let status = LoginStatus::of(&file, self.now)?;
        self.print(&status, || render::logged_in(&status))?;
        Ok(u8::from(status.days_left < 0))
    }

    pub(super) fn logout(&self, args: &LoginArgs) -> Result<u8> {
        let file = login_file(args).context("neither HOME nor XDG_CONFIG_HOME is set")?;
        let forgotten = file.forget()?;
        let report = serde_json::json!({ "location": file.name(), "forgotten": forgotten });
        self.print(&report, || match forgotten {
            true => format!(
                "{} is deleted; to take the app's access away as well, see spotify.com/account/apps",
                file.name()
            ),
            false => format!("nobody was logged in: there is no {}", file.name()),
        })?;
        Ok(0)
    }

    pub(super) async fn doctor(&self, names: &[String], args: &SpotifyArgs) -> Result<u8> {
        let playlists = self.named(names).await?;
        let source = credentials(args);
        let file = login_file(&args.login);
        let login = match (&source, &file) {
            (Ok(source), Some(file)) if source.name() == file.name() => {
                Some(LoginStatus::of(file, self.now))
            }
            _ => None,
        };
        let settings = self.settings(args, None);
        let spotify = source.and_then(|source| {
            let place = source.name();
            Ok((Spotify::new(settings, source, Arc::new(SystemClock))?, place))
        });
        let doctor = Doctor {
            store: &self.store,
            plugins: self.plugins(),
            cache: self.cache(),
            limits: self.limits.clone(),
            spotify: match &spotify {
                Ok((spotify, place)) => Ok((spotify, place.clone())),
                Err(error) => Err(format!("{error:#}")),
            },
            login,
            playlists,
            now: self.now,
            run_id: self.run_id(),
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

fn as_json(listed: &ListedPlaylist) -> serde_json::Value {
    serde_json::json!({ "playlist_id": listed.id, "label": listed.label })
}

/// A playlist as somebody names it to be asked for: nothing is made up of what is none.
fn playlist_id(text: &str) -> Result<PlaylistId> {
    let is_address = text.contains(['/', ':']);
    match PlaylistId::from_reference(text) {
        Some(id) if is_address || id.as_str() == text => Ok(id),
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
        login_file: login_file(&args.login),
        flow: args.auth,
    };
    Ok(source(given)?)
}

fn client_id(args: &SpotifyArgs) -> Option<String> {
    args.client_id.clone().filter(|id| !id.is_empty())
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
fn application(args: &SpotifyArgs, file: &LoginFile) -> Result<Application> {
    let client_secret = client_secret(args)?;
    if let Some(client_id) = client_id(args) {
        return Ok(Application { client_id, client_secret });
    }
    match file.login() {
        Ok(login) => Ok(Application {
            client_id: login.client_id,
            client_secret: client_secret.or(login.client_secret),
        }),
        Err(_) => Err(CredentialError::NoClientId.into()),
    }
}

/// The address with the port that a listener would have had.
fn with_port(redirect_uri: &Url) -> Url {
    const PORT: u16 = 8888;
    let mut uri = redirect_uri.clone();
    if uri.port().is_none() {
        let _ = uri.set_port(Some(PORT));
    }
    uri
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
