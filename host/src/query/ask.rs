//! One statement of a user: whether it only asks, what it gives, and what to write instead.

use rusqlite::{Connection, Statement, ffi::ErrorCode, types::ValueRef};

use super::QueryError;
use crate::answer::{Answer, Cell};

/// Prepares a statement that may only read. The connection's guard sees to that; this says it in words.
///
/// # Errors
///
/// If it is not a single `SELECT`, or not one that SQLite understands.
pub fn prepare<'c>(connection: &'c Connection, sql: &str) -> Result<Statement<'c>, QueryError> {
    let first: String = sql.chars().take_while(|letter| letter.is_alphabetic()).collect();
    if ["pragma", "explain", "insert", "update", "delete"].contains(&&*first.to_lowercase()) {
        return Err(QueryError::NoSelect);
    }
    if casts_to_a_day(sql) {
        return Err(QueryError::Cast);
    }
    let statement = connection.prepare(sql).map_err(|problem| refused(sql, problem))?;
    // A comment or `;` may stand before EXPLAIN.
    if !statement.readonly() || statement.column_count() == 0 || statement.is_explain() != 0 {
        return Err(QueryError::NoSelect);
    }
    Ok(statement)
}

/// Answers a `SELECT`.
///
/// # Errors
///
/// If it is none, or not one that SQLite understands.
pub fn ask(connection: &Connection, sql: &str) -> Result<Answer, QueryError> {
    let refused = |problem| refused(sql, problem);
    let mut statement = prepare(connection, sql)?;
    let columns: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
    let mut found = statement.query([]).map_err(refused)?;
    let mut rows = Vec::new();
    while let Some(row) = found.next().map_err(refused)? {
        let cells = (0..columns.len()).map(|index| row.get_ref(index).map(cell));
        rows.push(cells.collect::<Result<_, _>>().map_err(refused)?);
    }
    Ok(Answer { columns, rows })
}

fn refused(sql: &str, problem: rusqlite::Error) -> QueryError {
    match problem {
        rusqlite::Error::MultipleStatement => QueryError::NoSelect,
        // What SQLite says of a table that it finds nothing to write to in.
        problem if problem.to_string().contains("may not be modified") => QueryError::NoSelect,
        problem
            if problem.sqlite_error_code() == Some(ErrorCode::AuthorizationForStatementDenied) =>
        {
            QueryError::NoSelect
        }
        problem => QueryError::Sql { hint: hint(sql).to_owned(), problem },
    }
}

fn cell(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Integer(number),
        ValueRef::Real(number) => Cell::Real(number),
        ValueRef::Text(text) | ValueRef::Blob(text) => {
            Cell::Text(String::from_utf8_lossy(text).into_owned())
        }
    }
}

/// Whether a text is made a day or a moment as Trino does; SQLite would make a number of it.
fn casts_to_a_day(sql: &str) -> bool {
    let words: Vec<&str> = sql.split_whitespace().collect();
    let text = words.join(" ").to_lowercase().replace(" )", ")");
    text.contains("cast(") && (text.contains(" as date)") || text.contains(" as timestamp)"))
}

/// What to write instead, where a sentence is one that only Athena understands.
fn hint(sql: &str) -> &'static str {
    let words: String = sql
        .to_lowercase()
        .chars()
        .map(|letter| if letter.is_whitespace() { ' ' } else { letter })
        .collect();
    let has = |word: &str| {
        words.match_indices(word).any(|(at, _)| {
            !words[..at].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_')
        })
    };
    if has("date '") || has("timestamp '") {
        " (days and moments are text in these tables, here and in Athena: write '2026-07-06' instead of DATE '2026-07-06', and date('2026-07-06') where a function wants one)"
    } else if has("interval '") {
        " (there are no intervals here: date_add('day', -7, a_day) runs here and in Athena)"
    } else if has("try_cast") {
        " (CAST does here what TRY_CAST does in Athena)"
    } else if has("unnest") || has("approx_") || has("regexp_") {
        " (that is Athena's alone: ask there with --athena)"
    } else {
        ""
    }
}
