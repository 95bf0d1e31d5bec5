//! The plugin as native code, over the fixtures of the whole project.

use std::path::Path;

use artist::ArtistPlugin;

#[test]
fn every_fixture_gives_its_golden_tables() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests");
    let (fixtures, golden) = (tests.join("fixtures/playlists"), tests.join("golden"));
    spotify_etl_plugin::testing::check_fixtures::<ArtistPlugin>(&fixtures, &golden);
}
