//! What plugins are handed of a page: what they read and the way to it, as the SDK's own tests cut it.

use std::fs;

use proptest::{prelude::*, test_runner::Config};
use serde_json::Value;
use spotify_etl::projection::Projection;
use spotify_etl_plugin::{Info, testing::prune};

use crate::support::{fixture, json_files};

fn patterns(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// Cut by the host, for plugins that read different things, and by the SDK.
fn assert_same(page: &str, readers: &[Vec<String>]) {
    let projection = Projection::of(readers.iter().map(|patterns| Some(patterns.as_slice())));
    let pages = [page.to_owned()];
    let cut = projection.cut(&pages);
    for (place, patterns) in readers.iter().enumerate() {
        let found = cut.pages_for(place);
        let cut = prune(page, patterns);
        match (serde_json::from_str::<Value>(found[0]), serde_json::from_str::<Value>(&cut)) {
            (Ok(found), Ok(cut)) => assert_eq!(found, cut, "{patterns:?} of {page}"),
            // Half a character is JSON, and no text: both keep it as it is spelled.
            (Err(_), Err(_)) => assert_eq!(blank(found[0]), blank(&cut), "{patterns:?} of {page}"),
            (found, cut) => panic!("{found:?}, {cut:?}: {patterns:?} of {page}"),
        }
    }
}

fn blank(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_whitespace()).collect()
}

#[test]
fn fixtures_are_cut_as_plugins_see_them_in_their_own_tests() {
    let readers = [
        Info::new("1").into_wit().reads.unwrap(),
        patterns("added_at"),
        patterns("artists.name item.album.images.url total"),
        patterns("items"),
        patterns("id.id href"),
    ];
    for path in json_files(&fixture("playlists")) {
        let text = fs::read_to_string(&path).unwrap();
        assert_same(text.trim_start_matches('\u{feff}').trim(), &readers);
    }
}

fn json() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec![
        "a",
        "b",
        "c",
        "ä",
        "a\"b",
        "items",
        "",
        "added_at",
        "external_ids",
        "external_idx",
        "external_urls",
        // With quotes and colon as long as what is compared at once, and longer.
        "a_name_of_29_bytes_is_the_one",
        "a_name_of_30_bytes_is_too_long",
    ]);
    let text = prop::sample::select(vec!["", "x", "\"", "\\", "}]", "a", "\u{2028}\u{1f600}"]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..4).prop_map(|members| {
                members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            }),
        ]
    })
}

/// Objects that lie in the same place, alike and not.
fn page() -> impl Strategy<Value = Value> {
    prop_oneof![json(), prop::collection::vec(json(), 2..6).prop_map(Value::from)]
}

fn reader() -> impl Strategy<Value = Vec<String>> {
    let name = prop::sample::select(vec![
        "a",
        "b",
        "c",
        "ä",
        "items",
        "zz",
        "added_at",
        "external_ids",
        "a_name_of_29_bytes_is_the_one",
        "a_name_of_30_bytes_is_too_long",
    ]);
    let pattern = prop::collection::vec(name, 1..4).prop_map(|names| names.join("."));
    prop::collection::vec(pattern, 1..5)
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::with_cases(2_000) })]

    #[test]
    fn any_page_is_cut_as_the_patterns_say(
        page in page(), readers in prop::collection::vec(reader(), 1..4), indented in any::<bool>()
    ) {
        let text = match indented {
            true => serde_json::to_string_pretty(&page).unwrap(),
            false => page.to_string(),
        };
        assert_same(&text, &readers);
    }
}
