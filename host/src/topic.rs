//! Where people are told of what went wrong: a topic of Amazon's Simple Notification Service.

use aws_sdk_sns::Client;

use crate::aws::{self, NoRegion, Refusal};

/// As much as a subject may have, in ASCII characters:
/// <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>.
const SUBJECT_LENGTH_MAX: usize = 100;

/// What people are told.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// In a line.
    pub subject: String,
    /// In full.
    pub text: String,
}

/// A topic.
pub struct Topic {
    client: Client,
    arn: String,
}

impl Topic {
    /// Gets a topic ready. Nothing is asked of it yet.
    ///
    /// # Errors
    ///
    /// If no region is known to look for it in.
    pub async fn open(arn: &str) -> Result<Self, NoRegion> {
        Ok(Topic { client: Client::new(&aws::settings().await?), arn: arn.to_owned() })
    }

    /// Tells whoever subscribed.
    ///
    /// # Errors
    ///
    /// If the service refuses, or can't be reached.
    pub async fn tell(&self, notice: &Notice) -> Result<(), TopicError> {
        let plain = |letter: char| if letter.is_ascii_graphic() { letter } else { ' ' };
        let subject: String = notice.subject.chars().map(plain).take(SUBJECT_LENGTH_MAX).collect();
        let request = self.client.publish().topic_arn(&self.arn).subject(subject.trim());
        match request.message(&notice.text).send().await {
            Ok(_) => Ok(()),
            Err(error) => {
                let source = Refusal::of(&error, advice);
                Err(TopicError { arn: self.arn.clone(), source })
            }
        }
    }
}

fn advice(code: &str, _: Option<u16>) -> Option<&'static str> {
    match code {
        "AuthorizationError" => Some("these credentials must be allowed sns:Publish on it"),
        "NotFound" | "InvalidParameter" => Some("set SPOTIFY_ETL_TOPIC to the ARN of a topic"),
        _ => None,
    }
}

/// Nobody could be told.
#[derive(Debug, thiserror::Error)]
#[error("could not tell {arn}: {source}")]
pub struct TopicError {
    arn: String,
    source: Refusal,
}
