//! The built components against the same code as native Rust.

use std::fs;

use spotify_etl::{
    batch::{RawColumn, RawExtraction, RawValues},
    config::Limits,
    document::{Document, Origin},
    plugin::Engine,
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
        let bytes = fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let origin = Origin { name, modified: NOW, playlist: None, extracted_at: None };
        let (document, _) = Document::read(&bytes, &origin, &Limits::default()).unwrap();
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
        pages: document.pages().to_vec(),
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
