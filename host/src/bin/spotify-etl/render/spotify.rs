//! Logins, playlists, and what a doctor finds.

use std::fmt::Write as _;

use spotify_etl::{
    doctor::{Finding, Health, LOGIN_DAYS_LOW},
    pipeline::playlists::{Addition, ListedPlaylist},
    spotify::{Account, is_editorial, login_command},
    status::LoginStatus,
};

use super::{one_line, plain_table, trimmed};

/// What a login without the app's secret is good for.
pub const ROTATES: &str = "\
  ! without the app's secret each run's token ends the last one: whatever else uses this login ends
    it (log in with the app's secret: SPOTIFY_CLIENT_SECRET or --client-secret-file)
";

/// What to do to log in.
pub fn login(address: &str, pasted: bool) -> String {
    let then = if pasted {
        "After that the browser shows an error, as this machine is not the one it runs on.\n\
         Copy the whole address from its address bar, and paste it here:"
    } else {
        "Waiting for the browser to come back. If it runs on another machine, press Ctrl-C and\n\
         use `spotify-etl login --paste`."
    };
    format!(
        "Open this address in a browser, and agree to what Spotify asks:\n\n  {address}\n\n{then}"
    )
}

/// Who is logged in.
pub fn logged_in(login: &LoginStatus) -> String {
    let mut text = String::new();
    let LoginStatus { account, client_id, scopes, location, .. } = login;
    let _ = match account {
        Some(Account { id, name: Some(name) }) => {
            writeln!(text, "logged in as {} ({id})", one_line(name))
        }
        Some(Account { id, name: None }) => writeln!(text, "logged in as {id}"),
        None => writeln!(text, "a login of nobody knows whom"),
    };
    let _ = writeln!(text, "  app      {client_id}");
    let _ = writeln!(text, "  scopes   {}", scopes.join(" "));
    let _ = writeln!(text, "  kept in  {location}");
    let again = login_command(location);
    let day = |moment: &Option<String>| {
        let moment = moment.as_deref().unwrap_or_default();
        moment.get(..10).unwrap_or(moment).to_owned()
    };
    let (since, until) = (day(&login.consented_at), day(&login.ends_at));
    let _ = match login.days_left {
        Some(..0) => writeln!(
            text,
            "  ✗ the consent of {since} ended on {until}, six months later\n      {again}"
        ),
        Some(days) => writeln!(text, "  consent  of {since}, until {until}: {days} days left"),
        None => {
            writeln!(text, "  consent  ends six months after it was given, which was not noted")
        }
    };
    if login.days_left.is_some_and(|days| (0..=LOGIN_DAYS_LOW).contains(&days)) {
        let _ = writeln!(text, "  ! log in again before that\n      {again}");
    }
    if login.open_to_others {
        let _ = writeln!(text, "  ! others may read it\n      chmod 600 {location}");
    }
    text
}

/// What became of a playlist that was put on the list.
pub fn added(playlist: &ListedPlaylist, addition: Addition, store: &str) -> String {
    let ListedPlaylist { id, label } = playlist;
    let label = label.as_ref().map(|label| format!(" ({label})")).unwrap_or_default();
    let became = match addition {
        Addition::Added => "is on the list now",
        Addition::Relabelled => "has a new label",
        Addition::There => "was on the list already",
    };
    let mut text = format!("{id}{label} {became}\nnext: spotify-etl doctor --store {store}");
    if is_editorial(id) {
        text.push_str(
            "\n! its id is that of a playlist of Spotify's own, which apps without extended quota\n  \
             can't read: copy its songs into a playlist of yours, and add that one",
        );
    }
    text
}

/// The playlists of a store.
pub fn listed(playlists: &[ListedPlaylist], store: &str) -> String {
    if playlists.is_empty() {
        return format!("no playlists yet\n      spotify-etl playlist add --store {store} ADDRESS");
    }
    let mut table = plain_table();
    table.set_header(["playlist", "label"]);
    for ListedPlaylist { id, label } in playlists {
        table.add_row([id.to_string(), label.clone().unwrap_or_default()]);
    }
    trimmed(&table)
}

/// One thing that was looked at.
pub fn finding(finding: &Finding) -> String {
    let mark = match finding.health {
        Health::Good => "✓",
        Health::Warning => "!",
        Health::Bad => "✗",
        Health::Skipped => "-",
    };
    format!("{mark} {}: {}", finding.subject, finding.message.replace(['\n', '\r'], " "))
}
