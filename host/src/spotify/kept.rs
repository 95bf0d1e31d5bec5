//! A login as it is kept between runs: its text, how long it lasts, and what is asked of a place
//! that keeps one.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use time::{Date, Month, OffsetDateTime, format_description::well_known::Rfc3339};

use super::credentials::{CredentialError, CredentialSource, Credentials, Grant, Turn};

/// So many months after the consent a refresh token ends, for all apps since 2026-07-20:
/// <https://developer.spotify.com/blog/2026-06-18-refresh-token-expiration>.
pub const LOGIN_MONTHS: i32 = 6;
/// What the name of a parameter of Systems Manager begins with, where it is a place for a login.
pub const SSM: &str = "ssm:";
/// What the name of a secret of Secrets Manager begins with.
pub const SECRETS_MANAGER: &str = "secretsmanager:";
/// The format of a login's text.
const FORMAT: u32 = 1;

/// Somebody's account.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Account {
    /// Its id.
    pub id: String,
    /// Its name, if it has one.
    pub name: Option<String>,
}

/// A user's consent to an app; or an app alone, which a person may have written down.
#[derive(Clone, Debug)]
pub struct Login {
    /// The app.
    pub client_id: String,
    /// Its secret, if the login was made with it.
    pub client_secret: Option<SecretString>,
    /// What the consent left; none if the app speaks for nobody.
    pub refresh_token: Option<SecretString>,
    /// What was consented to.
    pub scopes: Vec<String>,
    /// When, if that is known.
    pub consented_at: Option<OffsetDateTime>,
    /// Who consented, if that is known.
    pub account: Option<Account>,
}

#[derive(Deserialize, Serialize)]
struct LoginText {
    format: Option<u32>,
    client_id: String,
    client_secret: Option<String>,
    refresh_token: Option<String>,
    #[serde(default)]
    scopes: Vec<String>,
    consented_at: Option<String>,
    account: Option<Account>,
}

/// Who wrote a login's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// This program: anything else is not taken for a login.
    Program,
    /// A person may have: the app's id, with its secret, a refresh token, or both.
    Anybody,
}

impl Login {
    /// Reads the text of a login.
    ///
    /// # Errors
    ///
    /// Where it departs from one; never what is in it.
    pub fn from_json(bytes: &[u8], author: Author) -> Result<Self, String> {
        // The words of serde would quote what is in there.
        let text: LoginText = serde_json::from_slice(bytes)
            .map_err(|error| format!("line {}, column {}", error.line(), error.column()))?;
        match text.format {
            Some(FORMAT) => {}
            None if author == Author::Anybody => {}
            None => return Err("without `format`".to_owned()),
            Some(format) => return Err(format!("format {format}")),
        }
        let moment = |text: &String| {
            OffsetDateTime::parse(text, &Rfc3339).map_err(|_| "`consented_at`".to_owned())
        };
        let login = Login {
            client_id: text.client_id,
            client_secret: text.client_secret.filter(|secret| !secret.is_empty()).map(Into::into),
            refresh_token: text.refresh_token.filter(|token| !token.is_empty()).map(Into::into),
            scopes: text.scopes,
            consented_at: text.consented_at.as_ref().map(moment).transpose()?,
            account: text.account,
        };
        if login.client_id.is_empty() {
            return Err("an empty `client_id`".to_owned());
        }
        if login.refresh_token.is_none() && login.client_secret.is_none() {
            return Err("neither `refresh_token` nor `client_secret`".to_owned());
        }
        Ok(login)
    }

    /// The text of a login.
    pub fn to_json(&self) -> SecretString {
        let exposed = |secret: &SecretString| secret.expose_secret().to_owned();
        let text = LoginText {
            format: Some(FORMAT),
            client_id: self.client_id.clone(),
            client_secret: self.client_secret.as_ref().map(exposed),
            refresh_token: self.refresh_token.as_ref().map(exposed),
            scopes: self.scopes.clone(),
            consented_at: self.consented_at.and_then(|moment| moment.format(&Rfc3339).ok()),
            account: self.account.clone(),
        };
        SecretString::from(serde_json::to_string_pretty(&text).unwrap_or_default())
    }

    /// What a token is asked for with.
    pub fn credentials(&self) -> Credentials {
        let grant = match &self.refresh_token {
            Some(refresh_token) => Grant::User { refresh_token: refresh_token.clone() },
            None => Grant::App,
        };
        let (client_id, client_secret) = (self.client_id.clone(), self.client_secret.clone());
        Credentials { client_id, client_secret, grant }
    }
}

/// The command that puts another login in the place of the one that is kept there.
pub fn login_command(place: &str) -> String {
    match [SSM, SECRETS_MANAGER].iter().any(|scheme| place.starts_with(scheme)) {
        true => format!("spotify-etl login --save {place}"),
        false => "spotify-etl login".to_owned(),
    }
}

/// A place where a login is kept.
#[async_trait]
pub trait LoginPlace: fmt::Debug + Send + Sync {
    /// What a person calls it.
    fn name(&self) -> String;

    /// Whether a login may be there, as far as that can be told without asking anybody.
    fn may_have_one(&self) -> bool;

    /// The login, if there is one.
    async fn login(&self) -> Result<Option<Login>, CredentialError>;

    /// Makes sure, as far as that can be told, that a login can be kept here, and that nothing else is
    /// lost by it.
    async fn prepare(&self) -> Result<(), CredentialError>;

    /// Keeps a login, whole or not at all.
    async fn keep(&self, login: &Login) -> Result<(), CredentialError>;

    /// Deletes it. Says whether there was one.
    async fn forget(&self) -> Result<bool, CredentialError>;

    /// The right to replace the refresh token, where others can be kept from it meanwhile.
    async fn turn(&self) -> Result<Turn, CredentialError> {
        Ok(Turn::default())
    }

    /// Whether others may read it, as nobody but its owner should.
    fn is_open_to_others(&self) -> bool {
        false
    }
}

/// Credentials that are kept in some place.
pub struct Kept {
    place: Arc<dyn LoginPlace>,
    client_id: Option<String>,
}

impl Kept {
    /// Those in a place; of an app alone, if one is named.
    pub fn new(place: Arc<dyn LoginPlace>, client_id: Option<String>) -> Self {
        Kept { place, client_id }
    }
}

#[async_trait]
impl CredentialSource for Kept {
    fn name(&self) -> String {
        self.place.name()
    }

    async fn read(&self) -> Result<Credentials, CredentialError> {
        let location = self.place.name();
        let Some(login) = self.place.login().await? else {
            let words = format!("no login in {location}");
            return Err(CredentialError::None { location: words, place: location });
        };
        match &self.client_id {
            Some(ours) if *ours != login.client_id => {
                let (theirs, ours) = (login.client_id, ours.clone());
                Err(CredentialError::OtherApp { location, theirs, ours })
            }
            _ => Ok(login.credentials()),
        }
    }

    async fn turn(&self) -> Result<Turn, CredentialError> {
        self.place.turn().await
    }

    async fn rotated(&self, old: &SecretString, new: &SecretString) -> Result<(), CredentialError> {
        let Some(mut login) = self.place.login().await? else { return Ok(()) };
        if login.refresh_token.as_ref().map(ExposeSecret::expose_secret)
            == Some(old.expose_secret())
        {
            login.refresh_token = Some(new.clone());
            self.place.keep(&login).await?;
        }
        Ok(())
    }
}

/// When a consent of then ends.
pub fn login_ends(consented_at: OffsetDateTime) -> OffsetDateTime {
    let date = consented_at.date();
    let months = i32::from(u8::from(date.month())) - 1 + LOGIN_MONTHS;
    let year = date.year() + months / 12;
    let month = u8::try_from(months % 12 + 1).ok().and_then(|month| Month::try_from(month).ok());
    let month = month.unwrap_or(Month::January);
    let day = date.day().min(month.length(year));
    let date = Date::from_calendar_date(year, month, day).unwrap_or(date);
    consented_at.replace_date(date)
}

/// How many whole days are left of a consent of then; below 0 if it has ended.
pub fn login_days_left(consented_at: OffsetDateTime, now: OffsetDateTime) -> i64 {
    (login_ends(consented_at) - now).as_seconds_f64().div_euclid(86400.0) as i64
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_consent_ends_after_six_months() {
        for (consented_at, ends) in [
            (datetime!(2026-06-18 10:00 UTC), datetime!(2026-12-18 10:00 UTC)),
            (datetime!(2026-08-31 10:00 UTC), datetime!(2027-02-28 10:00 UTC)),
            (datetime!(2027-08-30 10:00 UTC), datetime!(2028-02-29 10:00 UTC)),
        ] {
            assert_eq!(login_ends(consented_at), ends, "{consented_at}");
        }
        let consented_at = datetime!(2026-06-18 10:00 UTC);
        for (now, days) in [
            (datetime!(2026-12-17 10:00 UTC), 1),
            (datetime!(2026-12-17 10:01 UTC), 0),
            (datetime!(2026-12-18 10:01 UTC), -1),
        ] {
            assert_eq!(login_days_left(consented_at, now), days, "{now}");
        }
    }
}
