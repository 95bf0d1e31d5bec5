//! How Amazon's services are reached: what their clients have in common, and what their refusals
//! mean. Which service is asked for what is known elsewhere.

use std::{error::Error, fmt, time::Duration};

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::{
    Builder, Connector,
    proxy::ProxyConfig,
    tls::{Provider, rustls_provider::CryptoMode},
};

use crate::{config, files::MORE_FILES};

/// What the log targets of the AWS SDK's crates begin with. Both programs log only errors of theirs: at other
/// levels some of them write credentials, with the access key id in plain text.
pub const SDK_TARGETS: &str = "aws_";
/// How often a request is made before it is given up.
const ATTEMPTS_MAX: u32 = 5;
/// How long one attempt may take.
const ATTEMPT_MAX: Duration = Duration::from_secs(60);
/// The region that servers which know none are asked in.
const ANY_REGION: &str = "us-east-1";

/// Nobody said where the services are that are meant.
#[derive(Debug, thiserror::Error)]
#[error("no region is set (set AWS_REGION, or `region` in the AWS profile)")]
pub struct NoRegion;

/// Credentials, region and endpoint of the environment, the profile, or the machine, as all AWS
/// programs find them.
///
/// # Errors
///
/// If no region is known.
pub async fn settings() -> Result<SdkConfig, NoRegion> {
    let client = Builder::new().build_with_connector_fn(|settings, components| {
        let mut builder = Connector::builder();
        builder.set_proxy_config(Some(ProxyConfig::from_env()));
        builder.set_connector_settings(settings.cloned());
        builder.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        match config::is_endpoint_plain() {
            // Certificates take longer to read than all else that happens before the first request.
            true => builder.build_http(),
            false => builder.tls_provider(Provider::Rustls(CryptoMode::Ring)).build(),
        }
    });
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_MAX).build();
    let loader = aws_config::defaults(BehaviorVersion::v2026_01_12());
    let loader = loader.http_client(client).timeout_config(timeouts);
    let loader = match config::variable("AWS_MAX_ATTEMPTS") {
        Some(_) => loader,
        None => loader.retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX)),
    };
    let loaded = loader.load().await;
    match loaded.region() {
        Some(_) => Ok(loaded),
        None if config::is_endpoint_set() => {
            Ok(loaded.into_builder().region(Region::from_static(ANY_REGION)).build())
        }
        None => Err(NoRegion),
    }
}

/// The status of an answer, if there was one.
pub fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// What a service calls its refusal.
pub fn code<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

/// What a service says beside it.
pub fn message<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Option<String> {
    error.as_service_error().and_then(ProvideErrorMetadata::message).map(str::to_owned)
}

/// What a service, or the way to it, has to say, and what to do about it.
#[derive(Debug)]
pub struct Refusal {
    words: String,
    advice: &'static str,
}

impl Refusal {
    /// Reads a failure. What the service alone says is looked at by the one who knows it: its
    /// code, or nothing, and its status.
    pub fn of<E: Error + ProvideErrorMetadata + Send + Sync + 'static>(
        error: &SdkError<E>,
        advice: impl Fn(&str, Option<u16>) -> Option<&'static str>,
    ) -> Self {
        let (code, status) = (code(error), status(error));
        let words = match (error, code) {
            (SdkError::ServiceError(_), Some(code)) => {
                let message = error.as_service_error().and_then(ProvideErrorMetadata::message);
                format!("{code}: {}", message.unwrap_or("no further words"))
            }
            (SdkError::ServiceError(_), None) => {
                format!("it answers {}", status.unwrap_or_default())
            }
            _ => causes(error),
        };
        let code = code.unwrap_or_default();
        let advice = advice(code, status).unwrap_or(match (code, status) {
            (
                "ExpiredToken"
                | "ExpiredTokenException"
                | "InvalidAccessKeyId"
                | "InvalidSignatureException"
                | "SignatureDoesNotMatch"
                | "UnrecognizedClientException",
                _,
            ) => "log in to AWS again, or set AWS_PROFILE",
            _ if words.contains("Too many open files") => MORE_FILES,
            _ if words.contains("credentials") => {
                "log in to AWS (`aws configure`, `aws sso login`), or set AWS_PROFILE"
            }
            (_, None) => {
                "check the network, and AWS_ENDPOINT_URL if it is set; run the same command again"
            }
            _ => "run the same command again: nothing is lost",
        });
        Refusal { words, advice }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.words, self.advice)
    }
}

impl Error for Refusal {}

fn causes(error: &(dyn Error + 'static)) -> String {
    let mut found: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !found.iter().any(|earlier| earlier.contains(&text)) {
            found.push(text);
        }
        next = cause.source();
    }
    if found.is_empty() { error.to_string() } else { found.join(": ") }
}
