//! Answers of a bucket that claim more than what happened: writes that stored nothing, and documents that are listed
//! and can't be read. Each fails the run by name, and a run with right answers completes it.

use std::process::Command;

use spotify_etl::{
    layout,
    store::{Store, StoreAddress, list_all},
};

use crate::{
    command::said_by,
    desk::{Desk, Said, text},
    support::{PLUGINS, Site, fixture, plugin_file, wait},
    wire::{Fault, Met, Wire},
};

/// A store in a bucket, with the project's plugins.
struct Stored {
    desk: Desk,
    address: StoreAddress,
    store: Box<dyn Store>,
}

impl Stored {
    fn new(site: &Site) -> Self {
        let address = site.place();
        let store = wait(address.open()).unwrap();
        for name in PLUGINS {
            let bytes = std::fs::read(plugin_file(name)).unwrap();
            wait(store.put(&format!("plugins/{name}.wasm"), &bytes)).unwrap();
        }
        Stored { desk: Desk::bare(), address, store }
    }

    /// Runs a command on the store, through a wire with a fault if there is one.
    fn say(&self, arguments: &[&str], fault: Option<(Met, Fault)>) -> Said {
        let mut command: Command = self.desk.command(arguments);
        command.env("SPOTIFY_ETL_STORE", self.address.to_string());
        command.envs(std::env::vars().filter(|(name, _)| name.starts_with("AWS_")));
        let wire = fault.map(|(met, fault)| Wire::start(met, fault));
        if let Some((_, endpoint)) = &wire {
            command.env("AWS_ENDPOINT_URL", endpoint).env("AWS_MAX_ATTEMPTS", "1");
        }
        said_by(command)
    }

    fn count(&self, prefix: &str) -> usize {
        wait(list_all(self.store.as_ref(), prefix)).unwrap().len()
    }
}

const WAYS: [&str; 4] =
    ["raw_data/to_process/", "transformed_data/song_data/", "lineage/", "tables/"];

#[test]
fn only_status_200_says_that_an_object_is_written() {
    let Some(site) = Site::bucket() else { return };
    let file = fixture("playlists/demo_2026-07-06_06-00-00.json");
    let run = ["run", "--from", text(&file)];
    for path in WAYS {
        for status in [201, 202, 204] {
            let stored = Stored::new(&site);
            let fault = (Met::All("PUT", path), Fault::NotStored(status));
            // The test server's listing fails at times while other tests delete objects.
            let mut attempts = (0..5).map(|_| stored.say(&run, Some(fault)));
            let said = attempts.find(|said| !said.err.contains("it answers 500")).unwrap();
            let why = format!(
                "the answer has status {status}, and S3 answers a write with 200 (check AWS_ENDPOINT_URL"
            );
            assert_ne!(said.status, 0, "{path}: {}", said.out);
            said.ends(said.status, &[&why, path]);
            assert_eq!(stored.count(layout::PROCESSED), 0, "{path}: {status}");
            stored.say(&run, None).ends(0, &["all done"]);
            assert_eq!(stored.count("transformed_data/song_data/"), 1);
        }
    }
}

#[test]
fn a_landed_document_that_is_not_there_fails_the_run() {
    let Some(site) = Site::bucket() else { return };
    let file = fixture("playlists/demo_2026-07-06_06-00-00.json");
    let run = ["run", "--from", text(&file)];
    let stored = Stored::new(&site);
    let fault = (Met::All("PUT", "raw_data/to_process/"), Fault::NotStored(200));
    stored
        .say(&run, Some(fault))
        .ends(1, &["can't be read: the store answers that it does not exist", "not there"]);
    stored.say(&run, None).ends(0, &["all done"]);
}

#[test]
fn a_listed_document_that_is_in_no_stage_is_a_failure() {
    let Some(site) = Site::bucket() else { return };
    let file = fixture("playlists/demo_2026-07-06_06-00-00.json");
    let stored = Stored::new(&site);
    stored.say(&["import", text(&file)], None).ends(0, &["1 brought in"]);
    let foreign = std::fs::read(fixture("playlists/bom.json")).unwrap();
    let key = "raw_data/to_process/old 2026-07-06 05:00:00.json";
    wait(stored.store.put(key, &foreign)).unwrap();
    let fault = || Some((Met::All("GET", "raw_data/to_process/"), Fault::NoSuchKey));
    let why = "can't be read: the store answers that it does not exist, and the document is in no other stage (run the same command again";
    let said = stored.say(&["transform"], fault());
    said.ends(1, &[why, "not there"]);
    assert_eq!(said.out.matches(why).count(), 2, "{}", said.out);
    stored.say(&["transform"], None).ends(0, &["all done"]);
    // What another run has moved is no failure.
    assert_eq!((stored.count(layout::PROCESSED), stored.count(layout::TO_PROCESS)), (2, 0));
    let processed = wait(list_all(stored.store.as_ref(), layout::PROCESSED)).unwrap();
    for listed in processed {
        let bytes = wait(stored.store.get(&listed.key)).unwrap().unwrap().bytes;
        let waiting = listed.key.replace(layout::PROCESSED, layout::TO_PROCESS);
        wait(stored.store.put(&waiting, &bytes)).unwrap();
    }
    stored.say(&["transform"], fault()).ends(0, &["taken by another run meanwhile"]);
    let fault = (Met::All("GET", layout::PROCESSED), Fault::NoSuchKey);
    stored.say(&["transform"], None).ends(0, &[]);
    let replay = ["replay", "--format", "csv,parquet"];
    let said = stored.say(&replay, Some(fault));
    assert_ne!(said.status, 0, "{}", said.out);
    said.ends(said.status, &[why]);
}
