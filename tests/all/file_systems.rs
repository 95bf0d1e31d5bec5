//! Links that lead nowhere or in a circle, named pipes, folders that can't be read, file systems that end
//! within a store, and the limits of a process: none hangs a command, ends it, or hides data from it.

use std::{fs, path::Path, process::Command, sync::mpsc, thread, time::Duration};

use spotify_etl::store::{Folder, Page, Store, Tag, list_all, list_readable};
use tempfile::TempDir;

use crate::{
    command::{said_by, within},
    desk::{Desk, Said, text},
    support::{command_file, fixture, link, named_pipe, skipped, wait},
};

/// Nothing here takes that long unless it hangs.
const HANGS: Duration = Duration::from_secs(60);

/// Runs a command, which fails if it hangs.
fn say(desk: &Desk, arguments: &[&str]) -> Said {
    let own = desk.command(arguments);
    let mut command = Command::new("timeout");
    command.arg(HANGS.as_secs().to_string()).arg(own.get_program()).args(own.get_args());
    command.current_dir(desk.folder.path()).env_clear();
    command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    said_by(command)
}

/// Does something with the store of a folder, which fails if it hangs.
fn with_store<T: Send + 'static>(
    root: &Path,
    action: impl FnOnce(Folder) -> T + Send + 'static,
) -> T {
    let (sender, receiver) = mpsc::channel();
    let store = Folder::new(root);
    thread::spawn(move || sender.send(action(store)));
    receiver.recv_timeout(HANGS).expect("it hangs")
}

fn write(root: &Path, key: &str) {
    fs::create_dir_all(root.join(key).parent().unwrap()).unwrap();
    fs::write(root.join(key), b"{}").unwrap();
}

/// A desk with one playlist in the store that waits.
fn waiting() -> Desk {
    let desk = Desk::new();
    let demo = fixture("playlists/demo_2026-07-06_06-00-00.json");
    desk.say(&["import", text(&demo)]).ends(0, &["1 brought in"]);
    desk
}

#[cfg(unix)]
#[test]
fn a_listing_says_what_it_could_not_read_and_has_all_the_rest() {
    use std::os::unix::ffi::OsStrExt;
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    for key in ["w/1.json", "w/b/2.json", "w/z/3.json", "elsewhere/4.json"] {
        write(root, key);
    }
    let list = |prefix: &'static str| {
        with_store(root, move |store| wait(list_readable(&store, prefix))).unwrap()
    };
    let keys = ["w/1.json", "w/b/2.json", "w/z/3.json"];
    // A link to nothing is not there, and a pipe is no file.
    link(Path::new("nowhere"), &root.join("w/nothing.json"));
    named_pipe(&root.join("w/pipe.json"));
    assert!(list("w/").1.is_empty());
    let not_utf8 = root.join("w").join(std::ffi::OsStr::from_bytes(b"caf\xe9.json"));
    for (make, path, why) in [
        ("loop", root.join("w/loop"), "too many levels of symbolic links"),
        ("above", root.join("w/b/above"), "a link leads back to a folder above it"),
        ("root", root.join("w/b/root"), "a link leads back to a folder above it"),
        ("name", not_utf8, "its name is not utf-8"),
    ] {
        match make {
            "loop" => link(&path, &path),
            "above" => link(Path::new(".."), &path),
            "root" => link(root, &path),
            _ => fs::write(&path, b"{}").unwrap(),
        }
        let (found, unreadable) = list("w/");
        assert_eq!(found.iter().map(|listed| &listed.key).collect::<Vec<_>>(), keys, "{make}");
        let problem = unreadable.iter().map(ToString::to_string).collect::<String>();
        assert_eq!(unreadable.len(), 1, "{make}: {problem}");
        assert!(problem.to_lowercase().contains(why), "{make}: {problem}");
        assert!(problem.contains(&path.display().to_string()), "{make}: {problem}");
        // Who needs all of them gets an error, and who asks for others is not concerned.
        assert!(with_store(root, |store| wait(list_all(&store, "w/"))).is_err(), "{make}");
        assert_eq!(list("elsewhere/").1.len(), 0, "{make}");
        assert_eq!(list("w/z").1.len(), 0, "{make}");
        fs::remove_file(path).unwrap();
    }
    // One of very many is not worth more than an error.
    for number in 0..150 {
        let path = root.join(format!("w/{number}"));
        link(&path, &path);
    }
    assert!(with_store(root, |store| wait(store.list("w/", None)).map(drop)).is_err());
}

#[test]
fn a_store_behind_a_link_that_leads_to_itself_is_not_taken_for_an_empty_one() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("store");
    link(&root, &root);
    let get = with_store(&root, |store| wait(store.get("a/b")).map(drop));
    assert!(get.unwrap_err().to_string().contains("remove the link that leads to itself"));
    assert!(with_store(&root, |store| wait(store.list("", None)).map(drop)).is_err());
    assert!(with_store(&root, |store| wait(store.put_new("a/b", b"x")).map(drop)).is_err());
}

#[test]
fn a_named_pipe_in_a_store_hangs_nothing() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    for path in ["raw_data/p", ".store"] {
        fs::create_dir_all(root.join(path)).unwrap();
    }
    named_pipe(&root.join("raw_data/p/x.json"));
    let key = "raw_data/p/x.json";
    let error = with_store(root, move |store| wait(store.get(key)).unwrap_err().to_string());
    assert!(error.contains("it is a named pipe"), "{error}");
    assert!(error.contains("(move it away)"), "{error}");
    let tag = || Tag::Content(b"x".to_vec().into());
    assert!(with_store(root, move |store| wait(store.put_if(key, b"y", &tag())).is_err()));
    let tag = || Tag::Content(b"x".to_vec().into());
    assert!(with_store(root, move |store| wait(store.delete_if(key, &tag())).is_err()));
    with_store(root, move |store| wait(store.copy_new("raw_data/q", b"", key)).map(drop)).unwrap();
    assert_eq!(fs::read(root.join("raw_data/q")).unwrap(), b"");
    let listed = with_store(root, |store| wait(store.list("raw_data/p/", None))).unwrap();
    assert!(matches!(&listed, Page { objects, .. } if objects.is_empty()));
    for own in ["writers.lock", "changes.lock", "mounted_folders"] {
        let _ = fs::remove_file(root.join(".store").join(own));
        named_pipe(&root.join(".store").join(own));
        with_store(root, move |store| {
            let _ = wait(store.put("raw_data/r", b"1"));
            let _ = wait(store.put_if("raw_data/r", b"2", &Tag::Content(b"1".to_vec().into())));
        });
        fs::remove_file(root.join(".store").join(own)).unwrap();
    }
}

#[test]
fn a_folder_that_cannot_be_read_stops_no_other_and_is_reported() {
    let desk = waiting();
    let odd = desk.path("data/raw_data/to_process/odd");
    link(&odd, &odd);
    named_pipe(&desk.path("data/raw_data/to_process/pipe.json"));
    let why = "could not read ./data/raw_data/to_process/odd: ";
    say(&desk, &["transform"]).ends(1, &["✓ Summer Evenings", "50 rows", why]);
    // Even if nothing else waits.
    say(&desk, &["transform"]).ends(1, &[why]);
    let report = say(&desk, &["transform", "--json"]).json();
    assert!(report["problems"][0]["message"].as_str().unwrap().starts_with(why), "{report}");
    say(&desk, &["doctor"]).ends(1, &["✗ store", why]);
    fs::remove_file(odd).unwrap();
    say(&desk, &["transform"]).ends(0, &[]);
    // A part of history is not the whole of it.
    let odd = desk.path("data/raw_data/processed/odd");
    link(&odd, &odd);
    for command in [&["replay"][..], &["replay", "--format", "parquet"]] {
        say(&desk, command).ends(2, &["could not read ./data/raw_data/processed/odd: "]);
    }
    fs::remove_file(odd).unwrap();
    let odd = desk.path("data/transformed_data/song_data/odd");
    link(&odd, &odd);
    say(&desk, &["query", "SELECT count(*) FROM song"])
        .ends(2, &["could not read ./data/transformed_data/song_data/odd: "]);
}

/// Permissions are nothing to root, so the command is run as another user then.
#[cfg(unix)]
#[test]
fn a_folder_without_permission_stops_no_other_and_is_reported() {
    use std::os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    };
    const NO_ONE: u32 = 65534;
    let desk = waiting();
    write(&desk.path("data/raw_data/to_process"), "odd/x.json");
    write(&desk.path("files"), "odd/x.json");
    fs::copy(fixture("playlists/both_keys.json"), desk.path("files/1.json")).unwrap();
    fs::copy(command_file(), desk.path("spotify-etl")).unwrap();
    let is_root = chown(desk.folder.path(), Some(NO_ONE), None).is_ok();
    if is_root {
        let mut owned = Command::new("chown");
        owned.arg("-R").arg(NO_ONE.to_string()).arg(desk.folder.path());
        assert!(owned.status().unwrap().success());
    }
    let odd = [desk.path("data/raw_data/to_process/odd"), desk.path("files/odd")];
    for mode in [0o000, 0o400] {
        for odd in &odd {
            fs::set_permissions(odd, fs::Permissions::from_mode(mode)).unwrap();
        }
        let run = |arguments: &[&str]| {
            let mut command = Command::new(desk.path("spotify-etl"));
            command.args(arguments).current_dir(desk.folder.path()).env_clear();
            command.env("SPOTIFY_ETL_CACHE_DIR", "none");
            if is_root {
                command.uid(NO_ONE);
            }
            said_by(command)
        };
        run(&["import", "files"]).ends(1, &["could not read `files/odd", "Permission denied"]);
        let why = "could not read ./data/raw_data/to_process/odd";
        run(&["transform"]).ends(1, &[why, "Permission denied", "1 row "]);
        desk.write(
            "data/raw_data/to_process/again.json",
            &fs::read(fixture("playlists/no_payload.json")).unwrap(),
        );
    }
    assert_eq!(desk.count("raw_data/processed/"), 3);
    for odd in &odd {
        fs::set_permissions(odd, fs::Permissions::from_mode(0o700)).unwrap();
    }
}

#[test]
fn only_regular_files_are_imported_and_the_rest_is_reported() {
    let desk = Desk::new();
    fs::create_dir_all(desk.path("files/below")).unwrap();
    fs::copy(fixture("playlists/both_keys.json"), desk.path("files/below/1.json")).unwrap();
    for pipe in ["files/pipe.json", "files/pipe.txt", "pipe"] {
        named_pipe(&desk.path(pipe));
    }
    let socket = std::os::unix::net::UnixListener::bind(desk.path("files/socket.json")).unwrap();
    link(Path::new("nowhere"), &desk.path("files/nothing.txt"));
    link(Path::new("nowhere"), &desk.path("files/nothing.json"));
    link(Path::new("loop"), &desk.path("files/loop"));
    link(Path::new(".."), &desk.path("files/below/above"));
    let dry = say(&desk, &["import", "--dry-run", "--json", "files"]);
    let imports = dry.json();
    let paths: Vec<_> =
        imports.as_array().unwrap().iter().map(|import| &import["source"]).collect();
    assert_eq!(
        paths,
        [
            "files/below/above",
            "files/loop",
            "files/nothing.json",
            "files/pipe.json",
            "files/socket.json",
            "files/below/1.json"
        ]
    );
    say(&desk, &["import", "files"]).ends(
        1,
        &[
            "1 brought in",
            "could not read `files/below/above`: a link leads back to a folder above it",
            "could not read `files/loop`: ",
            "could not read `files/pipe.json`: it is a named pipe, and only regular files",
            "could not read `files/socket.json`: it is a socket",
        ],
    );
    drop(socket);
    for (path, kind) in [("pipe", "named pipe"), ("/dev/zero", "device")] {
        let why = format!("could not read `{path}`: it is a {kind}");
        say(&desk, &["import", path]).ends(2, &[&why, "`-` for standard input"]);
        say(&desk, &["plugin", "check", "--name", "x", path]).ends(2, &[&why]);
    }
}

/// The journal of `verify` has a name that other users can predict.
#[cfg(unix)]
#[test]
fn verify_writes_through_no_link_and_into_no_folder_of_another_user() {
    use std::os::unix::fs::lchown;
    const NO_ONE: u32 = 65534;
    let desk = waiting();
    let store = desk.path("data").canonicalize().unwrap();
    let name = &spotify_etl::document::sha256(text(&store).as_bytes())[..32];
    desk.write("secret.txt", b"secret");
    for folder in ["verify", "spotify-etl-verify"] {
        let cache = desk.path("cache");
        fs::create_dir_all(cache.join(folder)).unwrap();
        let journal = cache.join(folder).join(format!("{name}.journal"));
        link(&desk.path("secret.txt"), &journal);
        let verify = ["verify", "--cache-dir", text(&cache)];
        let said = say(&desk, &verify);
        said.ends(0, &["no problem"]);
        let is_told = said.err.contains("will begin from the start: no journal in `")
            && said.err.contains("it is a link (choose another folder with --cache-dir");
        assert_eq!(is_told, folder == "spotify-etl-verify", "{}", said.err);
        assert_eq!(fs::read(desk.path("secret.txt")).unwrap(), b"secret", "{folder}");
        if lchown(&cache, Some(NO_ONE), None).is_ok() {
            lchown(cache.join(folder), Some(NO_ONE), None).unwrap();
            lchown(&journal, Some(NO_ONE), None).unwrap();
            say(&desk, &verify).ends(2, &["is another user's"]);
            assert_eq!(fs::read(desk.path("secret.txt")).unwrap(), b"secret", "{folder}");
        }
        fs::remove_dir_all(cache).unwrap();
    }
}

#[test]
fn too_few_open_files_are_an_error_with_what_to_do() {
    let desk = waiting();
    let files = fixture("playlists");
    let at = "2026-07-06T06:00:00Z";
    let own = desk.command(&["import", "--jobs", "8", text(&files), "--extracted-at", at]);
    let what = "see `ulimit -n`, or open fewer at a time with --jobs 1)";
    said_by(within("-n 24", &own)).ends(1, &["Too many open files", what]);
    // Below that not even the runtime can start.
    for limit in 6..12 {
        let said = said_by(within(&format!("-n {limit}"), &desk.command(&["status"])));
        let why = format!(
            "error: the limit of open files is {limit}, and at least 12 are needed (raise the limit of open files, see `ulimit -n`)\n"
        );
        assert_eq!((said.status, said.err), (2, why));
    }
    let why = "(raise the limit of open files, see `ulimit -n`, or open fewer at a time";
    said_by(within("-n 12", &desk.command(&["status"]))).ends(2, &["Too many open files", why]);
}

#[test]
fn a_volume_mounted_below_a_store_is_used_as_the_rest_of_it() {
    let (desk, Ok(other)) = (Desk::new(), TempDir::new_in("/dev/shm")) else {
        return skipped("/dev/shm can't be written to");
    };
    link(other.path(), &desk.path("data/raw_data"));
    fs::create_dir_all(other.path().join("processed")).unwrap();
    fs::create_dir(desk.path("second")).unwrap();
    // One file system below another.
    link(&desk.path("second"), &other.path().join("to_process"));
    let files = fixture("playlists");
    let at = "2026-07-06T06:00:00Z";
    let run = say(&desk, &["run", "--from", text(&files), "--extracted-at", at]);
    assert!([0, 1].contains(&run.status), "{}\n{}", run.out, run.err);
    assert!(!run.out.contains("cross-device"), "{}\n{}", run.out, run.err);
    let (stored, waiting) = (desk.count("raw_data/processed/"), desk.count("raw_data/to_process/"));
    assert!(stored > 10, "{stored} processed, {waiting} waiting");
    assert!(desk.keys().iter().all(|key| !key.contains("/.")), "temporary files were left");
    say(&desk, &["status", "--exit-zero"]).ends(0, &[]);
}

#[test]
fn the_next_command_can_be_pasted_whatever_the_store_is_called() {
    let desk = Desk::without_plugins();
    let init = say(&desk, &["init", "--from", "built", "--store", "it's my store; ls"]);
    let next = "next: spotify-etl run --from playlist.json --store 'it'\\''s my store; ls'";
    init.ends(0, &[next]);
}

/// An access key's id is not a secret by itself, but it names an account and a user.
#[test]
fn no_log_has_the_id_of_an_access_key() {
    const ID: &str = "AKIAIOSFODNN7EXAMPLE";
    let desk = Desk::bare();
    let profile = format!("[default]\naws_access_key_id = {ID}\naws_secret_access_key = secret\n");
    let profile = desk.write("credentials", profile.as_bytes());
    let bootstrap = command_file().with_file_name("bootstrap");
    for level in ["info", "debug", "trace"] {
        for by_profile in [true, false] {
            for program in [command_file(), bootstrap.clone()] {
                let mut command = Command::new("timeout");
                command.arg("60").arg(&program).env_clear().env("SPOTIFY_ETL_LOG", level);
                if program == command_file() {
                    command.arg("status");
                }
                command.env("SPOTIFY_ETL_STORE", "s3://bucket/prefix");
                // Nothing listens there.
                command.env("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
                command.env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1");
                command.env("AWS_REGION", "eu-west-1").env("AWS_MAX_ATTEMPTS", "1");
                command.env("AWS_EC2_METADATA_DISABLED", "true");
                command.env("AWS_LAMBDA_FUNCTION_NAME", "spotify-etl");
                command.env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256");
                command.env("AWS_LAMBDA_FUNCTION_VERSION", "1");
                command.env("AWS_LAMBDA_LOG_STREAM_NAME", "stream");
                command.env("AWS_LAMBDA_LOG_GROUP_NAME", "group");
                match by_profile {
                    true => command.env("AWS_SHARED_CREDENTIALS_FILE", &profile),
                    false => {
                        command.env("AWS_ACCESS_KEY_ID", ID).env("AWS_SECRET_ACCESS_KEY", "secret")
                    }
                };
                let said = said_by(command);
                let all = said.out + &said.err;
                // The store was asked, for which a request was signed.
                assert!(all.contains("Connection refused"), "{all}");
                assert!(!all.contains(ID), "{level}, {}: {all}", program.display());
            }
        }
    }
}
