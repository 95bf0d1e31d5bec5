//! What a transform plugin for `spotify-etl` is written with.
//!
//! A plugin is a type that implements [`Plugin`], one line that exports it ([`register!`]), and
//! for each table a list of columns: name, what it holds, and how to get it from a row
//! ([`Table`]). [`Playlist`] walks a document's entries and passes over what no track can be made
//! of, so that one odd entry never costs a playlist. How to write, test and upload one is in this
//! crate's `README.md`.
//!
//! The code, in reading order:
//!
//! - [`containers`]: where the entries are in Spotify's JSON. The host uses it too.
//! - [`entries`]: what an entry is, and why it may give no row.
//! - `quick`: the quick way through JSON in which nothing is odd.
//! - [`table`]: columns, and the rows that fill them.
//! - [`dates`]: Spotify's dates and times.
//! - [`plugin`]: the trait, and the way over the component boundary.
//! - `testing` (a feature): fixtures against golden tables, without the host.

pub mod containers;
#[cfg(feature = "guest")]
pub mod dates;
#[cfg(feature = "guest")]
pub mod entries;
#[cfg(all(feature = "memory", any(target_family = "wasm", test)))]
mod memory;
#[cfg(feature = "guest")]
pub mod plugin;
#[cfg(feature = "guest")]
mod quick;
/// For this crate and the host.
#[doc(hidden)]
pub mod strings;
#[cfg(feature = "guest")]
pub mod table;
#[cfg(feature = "testing")]
pub mod testing;

#[cfg(feature = "guest")]
pub use crate::{
    entries::{Album, Artist, Playlist, Track, TrackEntry},
    plugin::{Document, Extraction, Failure, Info, Plugin, Skip},
    table::{Table, first_named},
};

/// The shapes that cross the boundary, made from `wit/plugin.wit`. Public for [`register!`] alone.
#[cfg(feature = "guest")]
#[doc(hidden)]
#[expect(missing_docs, reason = "generated")]
#[allow(warnings, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "plugin",
        pub_export_macro: true,
        default_bindings_module: "spotify_etl_plugin::bindings",
        additional_derives: [Clone, PartialEq],
    });
}
