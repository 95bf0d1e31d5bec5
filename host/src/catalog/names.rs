//! Names as they stand in statements: quoted in one place, and the name of a database as a type.

use std::{fmt, str::FromStr};

use serde::Serialize;

/// How long the name of a database may be, which is what AWS Glue allows.
const DATABASE_LENGTH_MAX: usize = 255;

/// Returns a name as an identifier of SQLite and of Trino.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns a name as an identifier of Hive, whose language Athena's DDL is.
pub fn backticked(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Returns a text as a string literal of SQL.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The name of a database in Athena: lower-case letters, digits and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct DatabaseName(String);

impl DatabaseName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatabaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DatabaseName {
    type Err = InvalidDatabaseName;

    fn from_str(text: &str) -> Result<Self, InvalidDatabaseName> {
        let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        let is_name =
            !text.is_empty() && text.len() <= DATABASE_LENGTH_MAX && text.bytes().all(is_plain);
        match is_name {
            true => Ok(DatabaseName(text.to_owned())),
            false => Err(InvalidDatabaseName {
                text: text.chars().take(DATABASE_LENGTH_MAX).flat_map(char::escape_debug).collect(),
            }),
        }
    }
}

/// A text that is not the name of a database.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{text}` is no name for a database: it has lower-case letters, digits and `_`, and at most {DATABASE_LENGTH_MAX} characters (name another one with --database or SPOTIFY_ETL_DATABASE)"
)]
pub struct InvalidDatabaseName {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_ends_its_quotes() {
        assert_eq!(quoted("a\"; DROP TABLE x --"), "\"a\"\"; DROP TABLE x --\"");
        assert_eq!(backticked("a`.`b"), "`a``.``b`");
        assert_eq!(literal("it's"), "'it''s'");
    }

    #[test]
    fn a_database_name_has_nothing_that_means_something_in_sql() {
        for name in ["music", "spotify_etl", "2026", "_a"] {
            assert_eq!(name.parse::<DatabaseName>().unwrap().as_str(), name);
        }
        let long = "a".repeat(DATABASE_LENGTH_MAX + 1);
        for text in ["", "My", "a-b", "a`b", "a\"b", "a'b", "a b", "a;b", "é", &long] {
            let error = text.parse::<DatabaseName>().unwrap_err().to_string();
            assert!(error.contains("is no name for a database"), "{error}");
        }
    }
}
