//! Takes Spotify playlists to tables that SQL can query, with transforms as WebAssembly plugins.
//!
//! ```text
//!  Spotify ──extract──▶ raw_data/to_process/ ──transform──▶ transformed_data/ ──catalog──▶ SQL
//!  files ────import──▶          │                ▲   ▲
//!                               │    plugins/*.wasm  └── replay ──┐
//!                               └── last, when its tables are stored ──▶ raw_data/processed/
//! ```
//!
//! One direction. The host reads and writes; what a row looks like is known by the plugins alone,
//! and the host knows none of them by name. The same library is behind every program.
//!
//! # The code, in reading order
//!
//! | module | knows | never |
//! |---|---|---|
//! | [`pipeline`] | the order of things, and the report of a run | how a step is done |
//! | [`document`], [`refused`] | raw documents: header, pages, hash; why bytes are rejected as one | I/O |
//! | [`schema`] | tables, columns, types; how a declared schema fits the stored one | I/O |
//! | [`batch`] | rows as a plugin returns them, unchecked | whether they are right |
//! | [`projection`] | what plugins look at in a page | what it means |
//! | [`layout`] | every key of a store | I/O |
//! | [`store`] | keys and bytes; the folder and the bucket (`aws-sdk-s3`) that are stores | what the bytes mean |
//! | [`sources`] | source formats: which documents a file holds, of which playlist and time; what is not a playlist | the store |
//! | `private_folder` | a folder for one user's cached files, opened without following links | what the files mean |
//! | [`pages`], [`dates`] | the order of a playlist's pages; dates in names | I/O |
//! | [`spotify`] | `reqwest`: tokens, requests, pages, Spotify's refusals; what a login is, and one in a file | what becomes of the pages |
//! | [`vault`] | `aws-sdk-ssm`, `aws-sdk-secretsmanager`: a login that Amazon keeps | what it is good for |
//! | [`topic`] | `aws-sdk-sns`: where people are told | of what |
//! | [`queue`] | `aws-sdk-sqs`: where the function's work waits | what it is |
//! | [`plugin`] | `wasmtime`: engine, limits, cache, conformance, one call | table files |
//! | [`table`] | what is fit to be stored, and the files it is stored in | `wasmtime`, stores |
//! | [`catalog`] | the tables as SQL: statements for Athena, views | rows |
//! | [`athena`] | `aws-sdk-athena`: runs a statement, waits, brings rows | what it is for |
//! | [`answer`] | what SQL gives back | who was asked |
//! | [`query`] | `rusqlite`: SQL at home, over rows and views that it is given | where they come from |
//! | [`status`], [`doctor`] | how a store is doing; whether all is there that a run needs | how to change it |
//! | [`event`], [`metrics`] | what wakes a function; what a run did, as CloudWatch reads it | I/O |
//! | [`function`] | one invocation: from an event to the pipeline to an answer; what people are told of it | how a step is done |
//! | [`scaffold`] | a new plugin's project, the SDK with it | what is made of it |
//! | [`remedy`] | the commands that help on what went wrong | what went wrong |
//! | [`room`] | budgets of memory that threads share | what is done with them |
//! | [`aws`] | what all clients of Amazon's services have in common | which is asked for what |
//! | [`config`] | limits; the environment | what they are for |
//! | [`files`] | how to open a file without hanging on a pipe; what helps if the system refuses | which files |
//! | `bin/spotify-etl`, `bin/bootstrap` | `clap`, text for people; `lambda_runtime`; the time | logic |
//!
//! [`document`], [`refused`], [`pages`], [`dates`], [`schema`], [`batch`], [`projection`], [`layout`], [`event`], [`answer`], [`remedy`], [`files`],
//! [`room`] and [`config`] are
//! values that all may import, and [`aws`] is for whoever asks Amazon. The others don't import one another,
//! but for [`vault`], which keeps what [`spotify`] says a login is, and [`query`], which takes the views'
//! text from [`catalog`]; [`pipeline`] composes them, [`status`] and
//! [`doctor`] read with them, and [`function`] is to Lambda what the command is to a person. Where entries are
//! in Spotify's JSON is in `spotify_etl_plugin::containers`, which the plugins share; what an entry
//! means is in the plugins' half of that crate and not here.
//!
//! The body of the transform step is the program: `pipeline::transform` gets the document, hands it
//! to each plugin, checks what comes back against what the plugin declared, encodes it, puts it
//! under keys that follow from the document's, and last moves the document. The move is the commit.
//!
//! # What holds
//!
//! 1. A raw document is never changed, only moved, or deleted by an explicit command. It is moved to
//!    `processed` after its tables are stored, to `failed` if no plugin could ever read it. [`pipeline::delete`]
//!    deletes it together with its rows and its lineage.
//! 2. The same document, plugins and host give the same keys and the same bytes. Running anything
//!    twice is harmless, and being killed anywhere loses nothing and doubles nothing: keys follow
//!    from content, files appear whole, records change by compare-and-swap. Lineage and table files agree
//!    whatever programs work on one document at the same time, and a replay or [`pipeline::verify`] finds
//!    files that are not what their lineage says. A raw document is deleted from a stage only after the
//!    store says that it has the same content in the next one.
//! 3. One bad document, entry or plugin never stops the others. It is reported with what to do, and
//!    the exit status says so.
//! 4. Rows reach the store only through [`table::validate()`], the only way to a [`table::Table`].
//!    It finds all violations, not the first.
//! 5. A plugin can't hang, crash, fill the memory of, or read anything from, the host: each call
//!    has a fresh instance, a deadline, limits for memory and output, and a WASI with nothing
//!    behind it. What compiling takes is estimated from its functions before it begins, and bounded;
//!    in a function all of this follows from its memory. A version whose compilation ended the function is
//!    not compiled again. Machine code is run only if this program made it or came with it.
//! 6. Success means good data: a table's rows and nulls are compared with the playlist's last
//!    snapshot, and a document of which no entry gave a row waits until a plugin reads it or a person accepts it.
//! 7. Everything has a limit. Those that somebody may want to raise stand in [`config::Limits`], and
//!    an error names the one it met; those of names, schemas and the sandbox stand beside them.
//! 8. Secrets never reach a log, an error, a plugin, a raw document or a report. A token is sent to the
//!    configured address and nowhere else, whatever an answer names.
//! 9. A table changes as a whole or not at all: another generation or format is filled beside the one
//!    that counts, then its record is switched, and views follow the record. Whoever reads sees the old
//!    rows or the new ones.
//! 10. A version of a plugin becomes active at once and on condition: of two who publish, one is told to
//!     look again. What it would change is shown before, over every document there is, and nothing is
//!     written for that. Every version that was active is kept.
//!
//! The unit that fails or succeeds is a document and a plugin: all its tables or none, as far as
//! lineage, reports and the document's move go. If the store itself fails while table files of
//! a plugin are stored, those that got there lie there until the document is transformed again.

pub mod answer;
pub mod athena;
pub mod aws;
pub mod batch;
pub mod catalog;
pub mod config;
pub mod dates;
pub mod doctor;
pub mod document;
pub mod event;
pub mod files;
pub mod function;
pub mod layout;
pub mod metrics;
pub mod pages;
pub mod pipeline;
pub mod plugin;
mod private_folder;
pub mod projection;
pub mod query;
pub mod queue;
pub mod refused;
pub mod remedy;
pub mod room;
pub mod scaffold;
pub mod schema;
pub mod sources;
pub mod spotify;
pub mod status;
pub mod store;
pub mod table;
pub mod topic;
pub mod vault;
