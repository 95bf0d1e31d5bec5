//! What the project checks about itself, from outside the host.
//!
//! - `golden`: every fixture to its tables, byte for byte, and every refused one to its reason.
//! - `components`: the built plugins give the rows that the same code gives natively.
//! - `interface`: what plugins are built against, over time.
//! - `samples`: real responses, where a folder with some is named.
//! - `hostile`: plugins that loop, lie, flood, crash, or are none.
//! - `wat`: every way out or up that WebAssembly's own text can say.
//! - `chance`: documents and components that were changed by chance.
//! - `determinism`: the same bytes, however and wherever they are made.
//! - `schemas`: what a table's record allows, and which plugins get to run.
//! - `crash`: the pipeline stopped at every store operation, and two of them at once.
//! - `delete`: documents deleted with everything derived from them.
//! - `strays`: what was deleted by hand, found and repaired.
//! - `moving_in`: from an older pipeline's bucket into a store.
//! - `projection`: what plugins are handed of a page.
//! - `agreement`: lineage beside the files that it names, with several writers and with damage.
//! - `identity`: which playlist a file holds, of when, and how much of it.
//! - `reports`: what a run over many documents reports, and what reads reports.
//! - `future`: times in the future, of files and of stored documents.
//! - `replay`: history taken to its tables again.
//! - `tables`: what is written is what is read again, whichever format.
//! - `sql`: views and catalog, at home.
//! - `charts`: what views conclude from a history.
//! - `rows`: what a question reads, and what is kept for the next one.
//! - `athena`: the catalog there, what it says, and what to do about it.
//! - `wire`: a bucket behind a network that fails.
//! - `lost_objects`: answers of a bucket that claim more than what happened.
//! - `stores`: what any store must do; what keys must be.
//! - `spotify`: extraction from a server that speaks the Web API as it is described (`web_api`).
//! - `lambda`: the function, driven through the Runtime API.
//! - `attention`: what needs a person's attention, and how `status` says it.
//! - `login`: the commands that ask Spotify, as processes.
//! - `change`: a candidate compared, published, and taken back; a plugin tried by itself.
//! - `verify`: a store damaged in every way, found out and repaired.
//! - `file_systems`: links, named pipes, unreadable folders, and what `ulimit` allows.
//! - `command`: the command as a process, as people and scripts use it.
//!
//! The built plugins and the command are expected where `build.sh` puts them.

mod aws;
mod desk;
mod runtime_api;
mod support;
mod web_api;

mod agreement;
mod athena;
mod attention;
mod bounds;
mod chance;
mod change;
mod charts;
mod command;
mod components;
mod crash;
mod delete;
mod determinism;
mod file_systems;
mod future;
mod golden;
mod hostile;
mod identity;
mod interface;
mod lambda;
mod login;
mod lost_objects;
mod moving_in;
mod projection;
mod replay;
mod reports;
mod rows;
mod samples;
mod schemas;
mod spotify;
mod sql;
mod stores;
mod strays;
mod tables;
mod verify;
mod wat;
mod wire;
