//! The built components against the same code as native Rust.

use std::fs;

use spotify_etl::{
    batch::{RawColumn, RawExtraction, RawValues},
    config::Limits,
    document::Document,
    plugin::{Engine, Refusal, precompile},
    sources::{self, Origin},
};
use spotify_etl_plugin::{
    Plugin, bindings::spotify_etl::plugin::types as wit, plugin::Document as NativeDocument,
};

use crate::support::{NOW, cache, fixture, json_files, plugin_file};

#[test]
fn every_plugin_gives_the_same_rows_as_a_component_and_as_native_code() {
    same_rows::<album::AlbumPlugin>("album");
    same_rows::<artist::ArtistPlugin>("artist");
    same_rows::<snapshot::Snapshot>("snapshot");
    same_rows::<song::Song>("song");
}

/// Code that came with the program stands in for what would be compiled. That it is looked at at all
/// shows with code of another plugin under a plugin's name; whoever can put it there can change
/// the program as well.
#[test]
fn code_that_came_with_the_program_is_not_compiled_again() {
    let (song, album) =
        (fs::read(plugin_file("song")).unwrap(), fs::read(plugin_file("album")).unwrap());
    let limits = Limits::default();
    let (_, code_of_song) = precompile(&song, &limits).unwrap();
    let (_, code_of_album) = precompile(&album, &limits).unwrap();
    let folder = tempfile::TempDir::new().unwrap();
    let load = |file: Option<(&str, &[u8])>| {
        if let Some((name, code)) = file {
            fs::write(folder.path().join(name), code).unwrap();
        }
        let engine = Engine::new(&limits, Some(&cache())).unwrap();
        let engine = engine.with_shipped(Some(folder.path().to_owned()));
        let plugin = engine.load("song", &song).unwrap();
        plugin.tables().iter().map(|table| table.name.clone()).collect::<Vec<_>>()
    };
    let (file, _) = precompile(&song, &limits).unwrap();
    assert_eq!(load(None), ["song", "song_artist"]);
    assert_eq!(load(Some((&file, &code_of_album))), ["album"]);
    assert_eq!(load(Some((&file, &code_of_song))), ["song", "song_artist"]);
    // Of no use: cut off, of nothing at all, not code. It is compiled then.
    for code in [&code_of_song[..code_of_song.len() / 2], b"", b"no code"] {
        assert_eq!(load(Some((&file, code))), ["song", "song_artist"]);
    }
    assert!(matches!(precompile(b"\0asm\x01\0\0\0", &limits), Err(Refusal::CoreModule)));
    // Never from a store: there it is refused for what it is.
    let engine = Engine::new(&limits, None).unwrap();
    assert!(matches!(engine.load("song", &code_of_song), Err(Refusal::Precompiled)));
}

fn same_rows<P: Plugin>(name: &str) {
    let engine = Engine::new(&Limits::default(), Some(&cache())).unwrap();
    let component = engine.load(name, &fs::read(plugin_file(name)).unwrap()).unwrap();
    let tables: Vec<_> =
        P::describe().into_wit().tables.into_iter().map(|table| table.name).collect();
    assert_eq!(
        component.tables().iter().map(|table| &table.name).collect::<Vec<_>>(),
        tables.iter().collect::<Vec<_>>()
    );
    for path in json_files(&fixture("playlists")) {
        let bytes = fs::read(&path).unwrap().into();
        let name = path.file_name().unwrap().to_str().unwrap();
        let read = sources::read(&bytes, &Origin::of(name, NOW), &Limits::default());
        let document = read.unwrap().document;
        let native = P::extract(&native_document(&document)).unwrap().into_wit();
        assert_eq!(component.extract(&document).unwrap(), raw(native), "{}", path.display());
    }
}

fn native_document(document: &Document) -> NativeDocument {
    NativeDocument {
        playlist_id: document.id().playlist_id.to_string(),
        playlist_name: document.playlist_name().map(str::to_owned),
        playlist_owner: document.playlist_owner().map(str::to_owned),
        snapshot_id: document.snapshot_id().map(str::to_owned),
        extracted_at: document.id().extracted_at.moment().unix_timestamp(),
        complete: document.complete(),
        pages: document.arranged_pages().iter().map(|page| page.to_string()).collect(),
    }
}

fn raw(extraction: wit::Extraction) -> RawExtraction {
    let column = |column: wit::PackedColumn| RawColumn {
        values: match column.values {
            wit::Values::Text(values) => RawValues::Text { text: values.text, ends: values.ends },
            wit::Values::Int64(values) => RawValues::Int64(values),
            wit::Values::Float64(values) => RawValues::Float64(values),
            wit::Values::Boolean(values) => RawValues::Boolean(values),
            wit::Values::Date(values) => RawValues::Date(values),
            wit::Values::Timestamp(values) => RawValues::Timestamp(values),
        },
        nulls: column.nulls,
    };
    let batch = |batch: wit::Batch| spotify_etl::batch::RawBatch {
        columns: batch.columns.into_iter().map(column).collect(),
    };
    RawExtraction {
        batches: extraction.batches.into_iter().map(batch).collect(),
        skips: extraction.skips.into_iter().map(|skip| (skip.position, skip.reason)).collect(),
    }
}
