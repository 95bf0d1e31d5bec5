//! wip
pub mod batch;
pub mod config;
pub mod document;
pub mod layout;
pub mod pipeline;
pub mod plugin;
pub mod schema;
pub mod source;
pub mod status;
pub mod store;
pub mod table;
