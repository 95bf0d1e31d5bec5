//! Logins that Amazon keeps: as a parameter of Systems Manager or a secret of Secrets Manager, for
//! functions, which have no files that stay.

use std::{error::Error, sync::Arc};

use async_trait::async_trait;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ssm::types::ParameterType;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::OnceCell;

use crate::{
    aws::{self, Refusal, code, status},
    spotify::{Author, CredentialError, Login, LoginFile, LoginPlace, SECRETS_MANAGER, SSM},
};

/// The place that is meant by `ssm:/name`, `secretsmanager:name`, the ARN of either, or a file's path.
///
/// # Errors
///
/// What would be a place.
pub fn login_place(text: &str) -> Result<Arc<dyn LoginPlace>, String> {
    let lower = text.to_ascii_lowercase();
    let named = [SSM, SECRETS_MANAGER].into_iter().find(|scheme| lower.starts_with(scheme));
    let shaped = named.map(|scheme| format!("{scheme}{}", &text[scheme.len()..]));
    let text = shaped.as_deref().unwrap_or(text);
    let is_arn_of = |service| text.starts_with("arn:") && text.split(':').nth(2) == Some(service);
    let parameter = text.strip_prefix(SSM).or(is_arn_of("ssm").then_some(text));
    let secret = text.strip_prefix(SECRETS_MANAGER);
    let secret = secret.or(is_arn_of("secretsmanager").then_some(text));
    match (parameter, secret) {
        (Some(""), _) => {
            Err(format!("`{text}` names no parameter, as {SSM}/spotify-etl/login does"))
        }
        (_, Some("")) => Err(format!("`{text}` names no secret, as {SECRETS_MANAGER}spotify does")),
        (Some(name), _) => Ok(Arc::new(InVault::new(Parameter::new(name)))),
        (_, Some(name)) => Ok(Arc::new(InVault::new(Secret::new(name)))),
        // What was meant as an address must not become a file of that name.
        _ if text
            .split_once(':')
            .is_some_and(|(word, _)| word.len() > 1 && !word.contains('/')) =>
        {
            Err(format!(
                "`{text}` is no place for a login: that is {SSM}/NAME, {SECRETS_MANAGER}NAME, or a file's path (one with a colon in its name as ./{text})"
            ))
        }
        _ => Ok(Arc::new(LoginFile::new(text.as_ref()))),
    }
}

/// Something that Amazon keeps, as one text.
#[async_trait]
trait Vault: std::fmt::Debug + Send + Sync {
    fn name(&self) -> String;
    async fn get(&self) -> Result<Option<SecretString>, CredentialError>;
    async fn put(&self, text: &SecretString) -> Result<(), CredentialError>;
    async fn delete(&self) -> Result<(), CredentialError>;
}

/// A login in a vault.
///
/// No vault changes a text on condition that it is the same as before. Between the look at a refresh
/// token and its replacement another login may be kept, and be lost: so one function at a time
/// extracts.
#[derive(Debug)]
struct InVault<V> {
    vault: V,
}

impl<V> InVault<V> {
    fn new(vault: V) -> Self {
        InVault { vault }
    }
}

#[async_trait]
impl<V: Vault> LoginPlace for InVault<V> {
    fn name(&self) -> String {
        self.vault.name()
    }

    fn may_have_one(&self) -> bool {
        true
    }

    async fn login(&self) -> Result<Option<Login>, CredentialError> {
        let Some(text) = self.vault.get().await? else { return Ok(None) };
        let login = Login::from_json(text.expose_secret().as_bytes(), Author::Anybody);
        let location = self.name();
        login.map(Some).map_err(|problem| CredentialError::Damaged { location, problem })
    }

    async fn prepare(&self) -> Result<(), CredentialError> {
        self.require_login().await.map(|_| ())
    }

    async fn keep(&self, login: &Login) -> Result<(), CredentialError> {
        self.vault.put(&login.to_json()).await
    }

    async fn forget(&self) -> Result<bool, CredentialError> {
        let is_there = self.require_login().await?.is_some();
        if is_there {
            self.vault.delete().await?;
        }
        Ok(is_there)
    }
}

impl<V: Vault> InVault<V> {
    /// The login; an error if something else is there.
    async fn require_login(&self) -> Result<Option<Login>, CredentialError> {
        self.login().await.map_err(|error| match error {
            CredentialError::Damaged { location, problem } => {
                CredentialError::SomethingElse { location, problem }
            }
            error => error,
        })
    }
}

/// A parameter of Systems Manager, encrypted.
#[derive(Debug)]
struct Parameter {
    name: String,
    client: OnceCell<aws_sdk_ssm::Client>,
}

impl Parameter {
    fn new(name: &str) -> Self {
        Parameter { name: name.to_owned(), client: OnceCell::new() }
    }

    async fn client(&self) -> Result<&aws_sdk_ssm::Client, CredentialError> {
        let made = self
            .client
            .get_or_try_init(|| async { Ok(aws_sdk_ssm::Client::new(&aws::settings().await?)) });
        made.await.map_err(|error| not_found(self.name(), error))
    }
}

#[async_trait]
impl Vault for Parameter {
    fn name(&self) -> String {
        format!("{SSM}{}", self.name)
    }

    async fn get(&self) -> Result<Option<SecretString>, CredentialError> {
        let request = self.client().await?.get_parameter().name(&self.name).with_decryption(true);
        let parameter = match request.send().await {
            Ok(answer) => answer.parameter,
            Err(error) if code(&error) == Some("ParameterNotFound") => None,
            Err(error) => return Err(refused("read", self.name(), &error, parameter_advice)),
        };
        let Some(parameter) = parameter else { return Ok(None) };
        if parameter.r#type != Some(ParameterType::SecureString) {
            return Err(CredentialError::InTheClear { location: self.name() });
        }
        Ok(parameter.value.map(SecretString::from))
    }

    async fn put(&self, text: &SecretString) -> Result<(), CredentialError> {
        let request = self.client().await?.put_parameter().name(&self.name);
        let request = request.value(text.expose_secret()).r#type(ParameterType::SecureString);
        match request.overwrite(true).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(refused("write", self.name(), &error, parameter_advice)),
        }
    }

    async fn delete(&self) -> Result<(), CredentialError> {
        match self.client().await?.delete_parameter().name(&self.name).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(refused("delete", self.name(), &error, |code, _| {
                denied(code)
                    .then_some("these credentials must be allowed ssm:DeleteParameter on it")
            })),
        }
    }
}

/// A secret of Secrets Manager.
#[derive(Debug)]
struct Secret {
    name: String,
    client: OnceCell<aws_sdk_secretsmanager::Client>,
}

impl Secret {
    fn new(name: &str) -> Self {
        Secret { name: name.to_owned(), client: OnceCell::new() }
    }

    async fn client(&self) -> Result<&aws_sdk_secretsmanager::Client, CredentialError> {
        let made = self.client.get_or_try_init(|| async {
            Ok(aws_sdk_secretsmanager::Client::new(&aws::settings().await?))
        });
        made.await.map_err(|error| not_found(self.name(), error))
    }
}

const NO_SECRET: Option<&str> = Some("ResourceNotFoundException");

#[async_trait]
impl Vault for Secret {
    fn name(&self) -> String {
        format!("{SECRETS_MANAGER}{}", self.name)
    }

    async fn get(&self) -> Result<Option<SecretString>, CredentialError> {
        match self.client().await?.get_secret_value().secret_id(&self.name).send().await {
            // One that holds bytes holds no login.
            Ok(answer) => Ok(Some(answer.secret_string.unwrap_or_default().into())),
            Err(error) if code(&error) == NO_SECRET => Ok(None),
            Err(error) => Err(refused("read", self.name(), &error, secret_advice)),
        }
    }

    async fn put(&self, text: &SecretString) -> Result<(), CredentialError> {
        let (client, text) = (self.client().await?, text.expose_secret());
        let request = client.put_secret_value().secret_id(&self.name).secret_string(text);
        match request.send().await {
            Ok(_) => return Ok(()),
            Err(error) if code(&error) == NO_SECRET && !self.name.starts_with("arn:") => {}
            Err(error) => return Err(refused("write", self.name(), &error, secret_advice)),
        }
        match client.create_secret().name(&self.name).secret_string(text).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(refused("create", self.name(), &error, |code, _| {
                denied(code)
                    .then_some("these credentials must be allowed secretsmanager:CreateSecret")
            })),
        }
    }

    async fn delete(&self) -> Result<(), CredentialError> {
        let request = self.client().await?.delete_secret().secret_id(&self.name);
        // Otherwise its name could not be used again for weeks.
        match request.force_delete_without_recovery(true).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(refused("delete", self.name(), &error, |code, _| {
                denied(code).then_some(
                    "these credentials must be allowed secretsmanager:DeleteSecret on it",
                )
            })),
        }
    }
}

fn not_found(location: String, error: aws::NoRegion) -> CredentialError {
    CredentialError::Service { verb: "find", location, is_transient: false, source: error.into() }
}

fn refused<E>(
    verb: &'static str,
    location: String,
    error: &SdkError<E>,
    advice: impl Fn(&str, Option<u16>) -> Option<&'static str>,
) -> CredentialError
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let throttled = code(error).is_some_and(|code| code.contains("Throttling"));
    CredentialError::Service {
        verb,
        location,
        is_transient: throttled || status(error).is_none_or(|status| status >= 500),
        source: Box::new(Refusal::of(error, advice)),
    }
}

fn denied(code: &str) -> bool {
    code == "AccessDeniedException"
}

fn parameter_advice(code: &str, _: Option<u16>) -> Option<&'static str> {
    denied(code).then_some(
        "these credentials must be allowed ssm:GetParameter and, as Spotify may give a new refresh token, ssm:PutParameter on it",
    )
}

fn secret_advice(code: &str, _: Option<u16>) -> Option<&'static str> {
    denied(code).then_some(
        "these credentials must be allowed secretsmanager:GetSecretValue and, as Spotify may give a new refresh token, secretsmanager:PutSecretValue on it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_what_is_written() {
        for (text, name) in [
            ("ssm:/spotify-etl/login", "ssm:/spotify-etl/login"),
            ("secretsmanager:spotify", "secretsmanager:spotify"),
            ("SSM:/Login", "ssm:/Login"),
            ("./a:b", "./a:b"),
            (
                "arn:aws:ssm:eu-west-1:123456789012:parameter/login",
                "ssm:arn:aws:ssm:eu-west-1:123456789012:parameter/login",
            ),
            (
                "secretsmanager:arn:aws:secretsmanager:eu-west-1:123456789012:secret:x-AbCdEf",
                "secretsmanager:arn:aws:secretsmanager:eu-west-1:123456789012:secret:x-AbCdEf",
            ),
            ("logins/mine.json", "logins/mine.json"),
        ] {
            assert_eq!(login_place(text).unwrap().name(), name);
        }
        for (text, part) in [
            ("ssm:", "names no parameter"),
            ("secretsmanager:", "names no secret"),
            ("s3://bucket/login.json", "is no place for a login"),
            ("secretmanager:x", "is no place for a login"),
        ] {
            assert!(login_place(text).unwrap_err().contains(part), "{text}");
        }
    }
}
