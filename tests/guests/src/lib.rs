//! Plugins that are only for tests: those that misbehave, and those that change their tables.

pub mod thing;
pub mod tracks;
