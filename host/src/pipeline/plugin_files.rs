//! The files in a folder of plugins: which are plugins, and which are ignored because of their names. Does not
//! read their content.

use serde::Serialize;

use super::active::PluginPlace;
use crate::{
    layout::{self, Key},
    store::{Listed, StoreError, list_all},
};

/// The files in a folder of plugins.
#[derive(Clone, Debug, Default)]
pub struct PluginFiles {
    /// The files of plugins, by the plugin's name.
    pub plugins: Vec<(String, Listed)>,
    /// The other files.
    pub ignored: IgnoredFiles,
}

/// Files that are not plugins because of their names.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IgnoredFiles {
    /// Where they are.
    #[serde(skip)]
    location: String,
    /// The names of files with the extension `.wasm` in other letters, such as `SONG.WASM`.
    pub misnamed: Vec<String>,
    /// How many other files there are, such as `song.wasm.bak`. Not counted outside of the store, where a folder
    /// may hold what a build leaves.
    pub others: usize,
}

impl PluginFiles {
    /// Sorts the listed files of a place.
    pub fn among(listed: Vec<Listed>, place: PluginPlace<'_>) -> Self {
        let mut files = PluginFiles::default();
        files.ignored.location = place.store.location(place.prefix);
        for listed in listed {
            let Some(rest) = listed.key.strip_prefix(place.prefix) else { continue };
            match format!("{}{rest}", layout::PLUGINS).parse() {
                Ok(Key::Plugin { name }) => files.plugins.push((name, listed)),
                Ok(_) => {}
                Err(()) if rest.contains('/') || rest.starts_with('.') => {}
                Err(()) if rest.to_ascii_lowercase().ends_with(".wasm") => {
                    files.ignored.misnamed.push(rest.to_owned());
                }
                Err(()) => files.ignored.others += usize::from(place.prefix == layout::PLUGINS),
            }
        }
        files
    }
}

impl IgnoredFiles {
    /// Returns a sentence for each misnamed file, and one for all others.
    pub fn warnings(&self) -> Vec<String> {
        let IgnoredFiles { location, misnamed, others } = self;
        let mut warnings: Vec<String> = misnamed.iter().map(|name| self.warning(name)).collect();
        match others {
            0 => {}
            1 => warnings.push(format!(
                "1 other file in {location} is ignored: its name does not end in `.wasm`"
            )),
            count => warnings.push(format!(
                "{count} other files in {location} are ignored: their names do not end in `.wasm`"
            )),
        }
        warnings
    }

    fn warning(&self, name: &str) -> String {
        format!(
            "{}{name} is ignored: the name of a plugin's file ends in `.wasm`, in lower case (rename it to {})",
            self.location,
            name.to_ascii_lowercase()
        )
    }
}

/// Lists the files of a place.
///
/// # Errors
///
/// If the store fails.
pub async fn plugin_files(place: PluginPlace<'_>) -> Result<PluginFiles, StoreError> {
    Ok(PluginFiles::among(list_all(place.store, place.prefix).await?, place))
}
