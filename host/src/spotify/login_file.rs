//! A login in a file.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use secrecy::ExposeSecret;

use super::{
    credentials::{CredentialError, Turn},
    kept::{Author, Login, LoginPlace},
};

/// What is wrong with folders, devices, pipes.
const NO_FILE: &str = "not even a file";

/// A file with a login, for its owner's eyes only.
#[derive(Clone, Debug)]
pub struct LoginFile {
    path: PathBuf,
}

impl LoginFile {
    /// The login that is or will be there.
    pub fn new(path: &Path) -> Self {
        LoginFile { path: path.to_owned() }
    }

    fn read(&self) -> Result<Option<Login>, CredentialError> {
        let location = self.name();
        // Reading from what is no file may take for ever.
        if fs::metadata(&self.path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(CredentialError::SomethingElse { location, problem: NO_FILE.to_owned() });
        }
        let bytes = match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(self.error("read"))?,
        };
        let login = Login::from_json(&bytes, Author::Program);
        login.map(Some).map_err(|problem| CredentialError::Damaged { location, problem })
    }

    fn error(&self, verb: &'static str) -> impl FnOnce(io::Error) -> CredentialError {
        let location = self.name();
        move |source| CredentialError::Io { verb, location, source }
    }

    /// The file that is meant: a link stays one, and what it leads to is changed.
    fn target(&self) -> PathBuf {
        let linked = fs::read_link(&self.path).ok();
        let linked =
            linked.map(|to| self.path.parent().map_or(to.clone(), |folder| folder.join(&to)));
        fs::canonicalize(&self.path).ok().or(linked).unwrap_or_else(|| self.path.clone())
    }

    /// Fails if there is something that is no login.
    fn require_login(&self) -> Result<(), CredentialError> {
        match fs::metadata(&self.path) {
            Ok(metadata) if metadata.is_file() && metadata.len() == 0 => Ok(()),
            Ok(metadata) if metadata.is_file() => match self.read() {
                Err(CredentialError::Damaged { location, problem }) => {
                    Err(CredentialError::SomethingElse { location, problem })
                }
                _ => Ok(()),
            },
            Ok(_) => Err(CredentialError::SomethingElse {
                location: self.name(),
                problem: NO_FILE.to_owned(),
            }),
            Err(_) => Ok(()),
        }
    }

    /// Waits for the right to replace it.
    async fn lock(&self) -> io::Result<fs::File> {
        let mut path = self.target().into_os_string();
        path.push(".lock");
        let locked = tokio::task::spawn_blocking(move || {
            let file = fs::File::create(path)?;
            file.lock()?;
            Ok(file)
        });
        locked.await.unwrap_or_else(|panic| Err(io::Error::other(panic)))
    }

    fn write(&self, login: &Login) -> io::Result<()> {
        let path = self.target();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        // Such a file is made readable by its owner alone.
        let mut file = tempfile::Builder::new().prefix(".login-").tempfile_in(folder)?;
        file.write_all(login.to_json().expose_secret().as_bytes())?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        // The name is in the folder, which keeps it.
        fs::File::open(folder)?.sync_all()
    }
}

#[async_trait]
impl LoginPlace for LoginFile {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn may_have_one(&self) -> bool {
        self.path.exists()
    }

    async fn login(&self) -> Result<Option<Login>, CredentialError> {
        self.read()
    }

    async fn prepare(&self) -> Result<(), CredentialError> {
        self.require_login()?;
        let path = self.target();
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(self.error("write"))?;
        }
        self.lock().await.map_err(self.error("write"))?;
        Ok(())
    }

    async fn keep(&self, login: &Login) -> Result<(), CredentialError> {
        self.write(login).map_err(self.error("write"))
    }

    async fn forget(&self) -> Result<bool, CredentialError> {
        self.require_login()?;
        match fs::remove_file(self.target()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(self.error("delete")(source)),
        }
    }

    async fn turn(&self) -> Result<Turn, CredentialError> {
        match self.lock().await {
            Ok(file) => Ok(Turn(Some(file))),
            // With the app's secret there will be no new one to keep.
            Err(_) if self.read()?.is_some_and(|login| login.client_secret.is_some()) => {
                Ok(Turn::default())
            }
            Err(source) => Err(self.error("replace")(source)),
        }
    }

    #[cfg(unix)]
    fn is_open_to_others(&self) -> bool {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(&self.path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
    }
}
