//! What is to be deleted.

use clap::Args;
use spotify_etl::document::PlaylistId;

/// Which documents are deleted, and how.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Documents by name, as the column `document` has it; or keys of raw files
    #[arg(value_name = "DOCUMENT", required_unless_present = "playlist")]
    pub documents: Vec<String>,

    /// All documents of a playlist: an id, a spotify: URI or an open.spotify.com address
    #[arg(long, value_name = "ID", value_parser = playlist, conflicts_with = "documents")]
    pub playlist: Option<PlaylistId>,

    /// Show what would be deleted, and delete nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Delete without asking
    #[arg(long)]
    pub yes: bool,
}

/// Reads a playlist that is in the store: its id may be one that no new playlist gets.
fn playlist(text: &str) -> Result<PlaylistId, String> {
    match PlaylistId::from_text(text) {
        Some(id) if id.as_str() == text => Ok(id),
        _ => super::playlist(text),
    }
}
