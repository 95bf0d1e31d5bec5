//! The trait that a plugin implements, and the way over the component boundary.

use crate::{
    bindings::{
        exports::spotify_etl::plugin::transform::Guest,
        spotify_etl::plugin::{log, types as wit},
    },
    containers,
    entries::TRACK_READS,
    table::{Batch, Table},
};

/// A transform: what it fills, and how a document fills it. Export it with [`register!`].
///
/// [`register!`]: crate::register
pub trait Plugin {
    /// What the plugin is: its version and tables, in the order of [`Extraction`]'s batches.
    fn describe() -> Info;

    /// Makes rows of a document.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the document as a whole can't be read. For one entry that gives no row
    /// there are skips.
    fn extract(document: &Document) -> Result<Extraction, Failure>;
}

/// What a plugin says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Info(wit::Info);

impl Info {
    /// A plugin of this version (`env!("CARGO_PKG_VERSION")`), without tables yet. It reads what
    /// [`Playlist`](crate::Playlist) looks at.
    pub fn new(version: &str) -> Self {
        let reads = TRACK_READS.iter().map(ToString::to_string).collect();
        Info(wit::Info { version: version.to_owned(), reads: Some(reads), tables: Vec::new() })
    }

    /// Adds a table.
    pub fn table<R>(mut self, table: Table<R>) -> Self {
        self.0.tables.push(table.into_schema());
        self
    }

    /// Reads these too: member names joined by dots, array levels left out, beginning at any
    /// depth, such as `album.label`.
    pub fn reads<const N: usize>(mut self, patterns: [&str; N]) -> Self {
        self.0.reads.get_or_insert_default().extend(patterns.map(str::to_owned));
        self
    }

    /// Gets every page as Spotify sent it. Slower; for a plugin that can't name what it reads.
    pub fn reads_everything(mut self) -> Self {
        self.0.reads = None;
        self
    }

    #[doc(hidden)]
    pub fn into_wit(self) -> wit::Info {
        self.0
    }
}

/// One playlist as read at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Spotify's id, or what stood in for it on import.
    pub playlist_id: String,
    /// The playlist's name, where known.
    pub playlist_name: Option<String>,
    /// The owner's display name, or id, where known.
    pub playlist_owner: Option<String>,
    /// Spotify's `snapshot_id`, where known.
    pub snapshot_id: Option<String>,
    /// When it was read, in seconds since 1970-01-01T00:00:00Z. A plugin's clock shows this time.
    pub extracted_at: i64,
    /// Whether all entries are here, where that can be told.
    pub complete: Option<bool>,
    /// The response bodies, JSON, in the order in which they were read.
    pub pages: Vec<String>,
}

impl Document {
    /// A document of one page, with what the page says of its playlist. For tests.
    ///
    /// # Errors
    ///
    /// Says what the page is where it holds no entries.
    pub fn of_page(page: &str, extracted_at: i64) -> Result<Self, containers::NoEntries> {
        let contents = containers::read(page)?;
        let complete = contents.complete();
        let facts = contents.playlist;
        Ok(Document {
            playlist_id: facts.id.unwrap_or_else(|| "unknown".to_owned()),
            playlist_name: facts.name,
            playlist_owner: facts.owner,
            snapshot_id: facts.snapshot_id,
            extracted_at,
            complete,
            pages: vec![page.to_owned()],
        })
    }
}

/// What a plugin makes of a document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extraction {
    /// One for each table, in the order in which [`Plugin::describe`] names them.
    pub batches: Vec<Batch>,
    /// The entries passed over.
    pub skips: Vec<Skip>,
}

/// An entry that gives no row, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Skip {
    /// Which entry, from 1.
    pub position: u32,
    /// A word that can be counted: `[a-z_]+`.
    pub reason: String,
}

impl Skip {
    /// An entry passed over.
    pub fn new(position: u32, reason: &str) -> Self {
        Skip { position, reason: reason.to_owned() }
    }
}

/// Why a plugin makes nothing of a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// The document is not what it claims to be. It waits for a plugin that reads it.
    Malformed(String),
    /// The document is fine and not for this plugin.
    Unsupported(String),
}

/// Writes to the host's log, under the plugin's name.
pub fn log(message: &str) {
    if cfg!(target_family = "wasm") {
        log::log(log::Level::Info, message);
    }
}

/// The component's exports, for a [`Plugin`].
#[doc(hidden)]
pub struct Exports<P>(std::marker::PhantomData<P>);

impl<P: Plugin> Guest for Exports<P> {
    fn describe() -> wit::Info {
        P::describe().0
    }

    fn extract(document: wit::Document) -> Result<wit::Extraction, wit::Failure> {
        let wit::MediaType::Json = document.media_type;
        let extraction = P::extract(&Document {
            playlist_id: document.playlist_id,
            playlist_name: document.playlist_name,
            playlist_owner: document.playlist_owner,
            snapshot_id: document.snapshot_id,
            extracted_at: document.extracted_at,
            complete: document.complete,
            pages: document.pages,
        });
        match extraction {
            Ok(extraction) => Ok(extraction.into_wit()),
            Err(Failure::Malformed(reason)) => Err(wit::Failure::Malformed(reason)),
            Err(Failure::Unsupported(reason)) => Err(wit::Failure::Unsupported(reason)),
        }
    }
}

impl Extraction {
    #[doc(hidden)]
    pub fn into_wit(self) -> wit::Extraction {
        let skip = |Skip { position, reason }| wit::Skip { position, reason };
        wit::Extraction {
            batches: self.batches.into_iter().map(|Batch(batch)| batch).collect(),
            skips: self.skips.into_iter().map(skip).collect(),
        }
    }
}

/// Exports a type that implements [`Plugin`] as the component's transform.
#[macro_export]
macro_rules! register {
    ($plugin:ty) => {
        // Only a component has these exports; a native library could not even be linked with them.
        #[cfg(target_family = "wasm")]
        type Exports = $crate::plugin::Exports<$plugin>;
        #[cfg(target_family = "wasm")]
        $crate::bindings::export!(Exports with_types_in $crate::bindings);
    };
}
