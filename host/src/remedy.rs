//! The commands that help on what went wrong, as a person pastes them into a shell.

use crate::{config::LimitSetting, layout::Key};

/// What to do if there is no memory for what is to be read.
pub const MORE_MEMORY: &str =
    "give the process more memory, see `ulimit -v`, or have it do less at a time with --jobs 1";

/// A word as a shell takes it.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Help in one store.
#[derive(Clone, Copy, Debug)]
pub struct Remedies<'s> {
    /// Where it is, with a slash at its end.
    pub root: &'s str,
    /// What to call it in a command.
    pub store: &'s str,
}

impl Remedies<'_> {
    /// A command on this store, with its arguments.
    pub fn command(&self, command: &str, argument: &str) -> String {
        let store = quoted(self.store);
        let argument = if argument.is_empty() { String::new() } else { quoted(argument) };
        format!("spotify-etl {command} --store {store} {argument}").trim_end().to_owned()
    }

    /// For a document that waits: what its problem asks for.
    pub fn of_waiting(&self, key: &str, why: &str) -> Vec<String> {
        let store = quoted(self.store);
        if why.contains("spotify-etl import --extracted-at") {
            let file = quoted(&format!("{}{key}", self.root));
            let import = format!("spotify-etl import --store {store} --extracted-at TIME {file}");
            return vec![import, self.delete(key)];
        }
        let limit = why.split_once("--limit ").and_then(|(_, rest)| rest.split_once("=..."));
        // The name may be a plugin's invention.
        let known = limit.filter(|(name, _)| format!("{name}=1").parse::<LimitSetting>().is_ok());
        vec![match known {
            Some((name, _)) => self.command(&format!("transform --limit {name}=MORE"), key),
            None => self.command("transform", key),
        }]
    }

    /// Returns the commands for a document of which no entry gave a row: delete it, or accept it.
    pub fn of_no_rows(&self, key: &str) -> Vec<String> {
        let name = match key.parse() {
            Ok(Key::Raw { document, .. }) => document.to_string(),
            _ => key.to_owned(),
        };
        vec![self.command("delete", &name), self.command("transform --allow-empty", key)]
    }

    /// For a document that was put aside: it can be mended, or thrown away.
    pub fn of_failed(&self, key: &str) -> Vec<String> {
        vec![self.command("transform", key), self.delete(key)]
    }

    /// For a plugin that can't be used: what is wrong with it, from all sides.
    pub fn of_plugin(&self, name: &str) -> String {
        self.command("plugin check", &format!("{}plugins/{name}.wasm", self.root))
    }

    /// The command that deletes a document, by name or by the key of its raw object, with everything derived
    /// from it.
    pub fn delete(&self, document: &str) -> String {
        match document.starts_with('-') {
            true => self.command("delete", "--") + " " + &quoted(document),
            false => self.command("delete", document),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_s_objects_are_named_as_its_programs_name_them() {
        let remedies = Remedies { root: "s3://music/a b/", store: "s3://music/a b" };
        let key = "raw_data/failed/x/1.json";
        assert_eq!(
            remedies.of_failed(key),
            [
                format!("spotify-etl transform --store 's3://music/a b' {key}"),
                format!("spotify-etl delete --store 's3://music/a b' {key}"),
            ]
        );
        assert_eq!(
            remedies.of_waiting(key, "too deep (raise it with --limit json_levels=...)"),
            [format!(
                "spotify-etl transform --limit json_levels=MORE --store 's3://music/a b' {key}"
            )]
        );
        let root = "data/";
        let remedies = Remedies { root, store: "data" };
        assert_eq!(
            remedies.of_waiting(key, "no time (spotify-etl import --extracted-at TIME FILE)"),
            [
                format!("spotify-etl import --store data --extracted-at TIME data/{key}"),
                format!("spotify-etl delete --store data {key}"),
            ]
        );
        let document = "-list-20260706T060000Z-0123abcd";
        assert_eq!(
            remedies.delete(document),
            format!("spotify-etl delete --store data -- {document}")
        );
    }
}
