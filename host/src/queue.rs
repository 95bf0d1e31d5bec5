//! A queue that the function reads: Amazon's Simple Queue Service.

use aws_sdk_sqs::Client;
use serde_json::Value;

use crate::aws::{self, NoRegion, Refusal};

/// A queue.
pub struct Queue {
    client: Client,
    url: String,
}

impl Queue {
    /// Gets a queue ready. Nothing is asked of it yet.
    ///
    /// # Errors
    ///
    /// If no region is known to look for it in.
    pub async fn open(url: &str) -> Result<Self, NoRegion> {
        Ok(Queue { client: Client::new(&aws::settings().await?), url: url.to_owned() })
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// If the service refuses, or can't be reached.
    pub async fn send(&self, message: &Value) -> Result<(), QueueError> {
        let request = self.client.send_message().queue_url(&self.url);
        match request.message_body(message.to_string()).send().await {
            Ok(_) => Ok(()),
            Err(error) => {
                let source = Refusal::of(&error, advice);
                Err(QueueError { url: self.url.clone(), source })
            }
        }
    }
}

fn advice(code: &str, _: Option<u16>) -> Option<&'static str> {
    match code {
        "AccessDenied" | "AccessDeniedException" => {
            Some("these credentials must be allowed sqs:SendMessage on it")
        }
        "QueueDoesNotExist" | "AWS.SimpleQueueService.NonExistentQueue" | "InvalidAddress" => {
            Some("name the queue by its URL, which `sam deploy` printed")
        }
        _ => None,
    }
}

/// Nothing could be sent.
#[derive(Debug, thiserror::Error)]
#[error("could not send to {url}: {source}")]
pub struct QueueError {
    url: String,
    source: Refusal,
}
