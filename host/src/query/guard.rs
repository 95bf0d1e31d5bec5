//! What a statement of a user may do: read. Not write, attach another file, set a pragma, or load code.

use rusqlite::{
    Connection, Result,
    config::DbConfig,
    hooks::{AuthAction, AuthContext, Authorization},
    limits::Limit,
};

/// Sets what every connection has, before anything is created in it.
pub fn harden(connection: &Connection) -> Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    // As in Athena: letters differ by case, and what is in double quotes is a name.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    connection.execute_batch("PRAGMA case_sensitive_like = ON")
}

/// Allows statements to read from now on, and nothing else. Calls back with the table or view and the column
/// of each that they read; the column is empty where rows alone are.
pub fn allow_reading(
    connection: &Connection,
    mut reads: impl FnMut(&str, &str) + Send + 'static,
) -> Result<()> {
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    connection.authorizer(Some(move |context: AuthContext<'_>| match context.action {
        AuthAction::Select | AuthAction::Recursive => Authorization::Allow,
        AuthAction::Read { table_name, column_name } => {
            reads(table_name, column_name);
            Authorization::Allow
        }
        AuthAction::Function { function_name }
            if !function_name.eq_ignore_ascii_case("load_extension") =>
        {
            Authorization::Allow
        }
        _ => Authorization::Deny,
    }))
}
