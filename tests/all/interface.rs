//! The interface between host and plugins, over time: what was built for an accepted version works for
//! ever. (What was built for another one is refused with both numbers: `hostile`.)

use std::fs;

use spotify_etl::plugin::INTERFACE;
use wit_parser::Resolve;

use crate::{
    desk::Desk,
    support::{fixture, guest_file, tests},
};

#[test]
fn the_interface_takes_what_was_built_for_every_accepted_version() {
    let current = fs::read_to_string(tests().join("../wit/plugin.wit")).unwrap();
    let mut checked = 0;
    for folder in fs::read_dir(fixture("wit")).unwrap() {
        let folder = folder.unwrap().path();
        let version = folder.file_name().unwrap().to_str().unwrap();
        let accepted = fs::read_to_string(folder.join("plugin.wit")).unwrap();
        // Two packages can't have one name; versions don't count in the comparison.
        let accepted = accepted.replace(&format!("@{version}"), "@0.0.0");
        let mut resolve = Resolve::default();
        let before = resolve.push_str("accepted.wit", &accepted).unwrap();
        let now = resolve.push_str("plugin.wit", &current).unwrap();
        let world = |package| resolve.select_world(&[package], Some("plugin")).unwrap();
        let (before, now) = (world(before), world(now));
        wit_component::semver_check(resolve.clone(), before, now)
            .unwrap_or_else(|error| panic!("wit/ breaks plugins built for {version}: {error:#}"));
        checked += 1;
    }
    assert!(checked > 0);
}

#[test]
fn a_plugin_that_was_built_for_the_first_version_still_runs() {
    let desk = Desk::bare();
    let first = fixture("plugins/tracks_for_0.1.0.wasm");
    desk.write("tracks.wasm", &fs::read(first).unwrap());
    let document = fixture("playlists/same_track_twice.json");
    let said = desk.say(&["plugin", "run", "tracks.wasm", document.to_str().unwrap(), "--csv"]);
    let now = desk.write("now/tracks.wasm", &fs::read(guest_file("tracks_1")).unwrap());
    let document = document.to_str().unwrap();
    let expected = desk.say(&["plugin", "run", now.to_str().unwrap(), document, "--csv"]);
    assert_eq!((said.status, &said.out), (0, &expected.out), "{}", said.err);
    assert!(said.out.lines().count() > 2, "{}", said.out);
}

#[test]
fn the_command_says_which_interface_it_accepts() {
    Desk::bare().say(&["--version"]).ends(0, &["accepts plugins of", INTERFACE]);
}
