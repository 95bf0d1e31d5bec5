//! Does what the playlist is called: each name is one way to misbehave.
#![expect(clippy::print_stderr, reason = "flooding it is what it does")]

use std::hint::black_box;

use spotify_etl_plugin::{
    Document, Extraction, Failure, Info, Plugin, Table,
    bindings::{
        exports::spotify_etl::plugin::transform::Guest,
        spotify_etl::plugin::{log, types as wit},
    },
};

struct Misbehaves;

impl Plugin for Misbehaves {
    fn describe() -> Info {
        let table = Table::<()>::snapshot("misbehaves", "Rows that should never be stored")
            .key(["id"])
            .text("id", "", |()| None)
            .required()
            .int64("number", "", |()| None)
            .float64("ratio", "", |()| None)
            .date("day", "", |()| None)
            .timestamp("moment", "", |()| None);
        Info::new("1").table(table).reads_everything()
    }
    fn extract(_document: &Document) -> Result<Extraction, Failure> {
        Ok(Extraction::default())
    }
}

/// Past the SDK, which would not let it lie.
struct Exports;

#[cfg(target_family = "wasm")]
spotify_etl_plugin::bindings::export!(Exports with_types_in spotify_etl_plugin::bindings);

impl Guest for Exports {
    fn describe() -> wit::Info {
        Misbehaves::describe().into_wit()
    }

    fn extract(document: wit::Document) -> Result<wit::Extraction, wit::Failure> {
        let mut rows = good_rows();
        let columns = &mut rows.batches[0].columns;
        match document.playlist_name.as_deref().unwrap_or_default() {
            "behaves" => {}
            "loops" => loop {
                black_box(0);
            },
            "allocates" => {
                let mut kept = Vec::new();
                loop {
                    kept.push(black_box(vec![1_u8; 1 << 20]));
                }
            }
            "recurses" => {
                black_box(recurse(1));
            }
            "panics" => {
                let nothing: Vec<u8> = black_box(Vec::new());
                black_box(nothing[7]);
            }
            "exits" => std::process::exit(3),
            "aborts" => std::process::abort(),
            "sleeps" => std::thread::sleep(std::time::Duration::from_secs(3600)),
            "logs without end" => loop {
                log::log(log::Level::Info, &"chatter ".repeat(100));
            },
            "logs much" => (0..200).for_each(|_| log::log(log::Level::Info, &"x".repeat(1000))),
            "prints without end" => loop {
                eprintln!("{}", "chatter ".repeat(100));
            },
            "returns much" => columns[0].values = text(&["x".repeat(20 << 20)]),
            "says it is malformed" => return Err(wit::Failure::Malformed("no rhythm".into())),
            "says it is not for it" => return Err(wit::Failure::Unsupported("no words".into())),
            "looks around" => columns[0].values = text(&[look_around()]),
            "too few batches" => rows.batches.clear(),
            "too many batches" => rows.batches.push(rows.batches[0].clone()),
            "too few columns" => drop(columns.pop()),
            "too many columns" => columns.push(columns[0].clone()),
            "another type" => columns[1].values = wit::Values::Boolean(vec![true]),
            "unequal lengths" => columns[1].values = wit::Values::Int64(vec![1, 2]),
            "null where it must not be" => columns[0].nulls = vec![0],
            "null beyond the rows" => columns[1].nulls = vec![7],
            "nulls out of order" => columns[1].nulls = vec![0, 0],
            "text ends before it begins" => set_ends(columns, &[3, 1]),
            "text ends inside a character" => {
                columns[0].values =
                    wit::Values::Text(wit::TextValues { text: "é".into(), ends: vec![1] });
            }
            "text is left over" => set_ends(columns, &[0]),
            "the same key twice" => rows.batches[0] = rows_of(2),
            "not a number" => columns[2].values = wit::Values::Float64(vec![f64::NAN]),
            "infinite" => columns[2].values = wit::Values::Float64(vec![f64::NEG_INFINITY]),
            "day out of range" => columns[3].values = wit::Values::Date(vec![i32::MAX]),
            "moment out of range" => columns[4].values = wit::Values::Timestamp(vec![i64::MIN]),
            "many rows" => rows.batches[0] = rows_of(10_001),
            "many violations" => rows.batches[0] = rows_of(1_000),
            "a reason that is no word" => {
                rows.skips.push(wit::Skip { position: 1, reason: "Bad Reason!".into() });
            }
            other => panic!("no way to misbehave is called {other}"),
        }
        Ok(rows)
    }
}

fn good_rows() -> wit::Extraction {
    wit::Extraction { batches: vec![rows_of(1)], skips: Vec::new() }
}

fn rows_of(count: usize) -> wit::Batch {
    let column = |values| wit::PackedColumn { values, nulls: Vec::new() };
    wit::Batch {
        columns: vec![
            column(text(&vec!["same".to_owned(); count])),
            column(wit::Values::Int64(vec![1; count])),
            column(wit::Values::Float64(vec![0.5; count])),
            column(wit::Values::Date(vec![0; count])),
            column(wit::Values::Timestamp(vec![0; count])),
        ],
    }
}

fn text(values: &[String]) -> wit::Values {
    let mut packed = wit::TextValues { text: String::new(), ends: Vec::new() };
    for value in values {
        packed.text.push_str(value);
        packed.ends.push(packed.text.len() as u32);
    }
    wit::Values::Text(packed)
}

fn set_ends(columns: &mut [wit::PackedColumn], ends: &[u32]) {
    if let wit::Values::Text(values) = &mut columns[0].values {
        values.ends = ends.to_vec();
    }
}

fn recurse(depth: u64) -> u64 {
    if depth == 0 { 0 } else { recurse(black_box(depth + 1)) + black_box(depth) }
}

/// What it can see of the host: the same for the same document, and none of it the host's.
fn look_around() -> String {
    use std::{collections::HashMap, env, fs, time::SystemTime};
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map(|time| time.as_secs());
    let files = [
        fs::read("/etc/passwd").is_ok(),
        fs::write("/tmp/x", "x").is_ok(),
        fs::read_dir("/").is_ok(),
    ];
    let network = std::net::TcpStream::connect("127.0.0.1:80").is_ok();
    let mut order: HashMap<u32, u32> = (0..50).map(|n| (n, n)).collect();
    let order: Vec<u32> = order.drain().map(|(n, _)| n).collect();
    let instant = std::time::Instant::now();
    let elapsed = (0..1000).map(|_| instant.elapsed().as_nanos()).max();
    let (variables, arguments) = (env::vars().count(), env::args().count());
    let folder = env::current_dir().map(|folder| folder.display().to_string());
    format!(
        "{clock:?} {files:?} {network} {variables} {arguments} {folder:?} {elapsed:?} {order:?}"
    )
}
