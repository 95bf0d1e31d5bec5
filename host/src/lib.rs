//! wip
pub mod config;
pub mod document;
pub mod layout;
pub mod schema;
