//! Moves raw documents between stages, so that none is lost whatever a store answers.
//!
//! An object is deleted only when its content is known from an answer that agrees with the listing, and when
//! the store says that the same content is where it is moved to.

use serde_json::json;

use super::{
    landing::{Standing, compare},
    report::{Action, DocumentReport, DocumentStatus, Problem},
};
use crate::{
    config::HOST_VERSION,
    document::{Document, Refused},
    layout::{Key, Stage},
    store::{Listed, Object, Store, StoreError, Tag, Written},
};

/// Reads a listed object. None if it is not there any more.
///
/// # Errors
///
/// If the store fails, or answers with something that is neither the listed object nor a newer one.
pub async fn read_listed(store: &dyn Store, listed: &Listed) -> Result<Option<Object>, StoreError> {
    let Some(object) = store.get(&listed.key).await? else { return Ok(None) };
    if agrees(&object, listed) {
        return Ok(Some(object));
    }
    // It may have been replaced since it was listed.
    match store.head(&listed.key).await? {
        None => Ok(None),
        Some(now) if agrees(&object, &now) => Ok(Some(object)),
        Some(now) => Err(StoreError::WrongContent {
            location: store.location(&listed.key),
            bytes: object.bytes.len() as u64,
            expected: now.size,
        }),
    }
}

/// Reads a listed object two times, for content that no checksum protects. None if it is not there any more.
///
/// # Errors
///
/// As for [`read_listed`], or if the two answers differ.
pub async fn read_twice(store: &dyn Store, listed: &Listed) -> Result<Option<Object>, StoreError> {
    let Some(object) = read_listed(store, listed).await? else { return Ok(None) };
    match is_confirmed(store, &listed.key, &object).await? {
        true => Ok(Some(object)),
        false => Err(StoreError::Unsteady { location: store.location(&listed.key) }),
    }
}

/// Reads an object again. Returns whether it has the same content.
async fn is_confirmed(store: &dyn Store, key: &str, object: &Object) -> Result<bool, StoreError> {
    let again = store.get(key).await?;
    Ok(again.is_some_and(|again| again.bytes == object.bytes))
}

/// Returns why a document that was listed or landed, and does not exist when it is read, is a failure. None if
/// another run moved it.
///
/// # Errors
///
/// If the store fails.
pub async fn why_lost(store: &dyn Store, key: &Key) -> Result<Option<Problem>, StoreError> {
    let is_moved = match key {
        Key::Raw { stage: own, document } => {
            let mut is_moved = false;
            for stage in [Stage::ToProcess, Stage::Processed, Stage::Failed] {
                let key = Key::Raw { stage, document: document.clone() }.to_string();
                is_moved = is_moved || (stage != *own && store.head(&key).await?.is_some());
            }
            is_moved
        }
        // The new key of another program's file follows from its content, which is unknown here.
        _ => store.head(&key.to_string()).await?.is_none(),
    };
    let message = format!(
        "{} can't be read: the store answers that it does not exist, and the document is in no other stage (run the same command again; check AWS_ENDPOINT_URL and proxies if that goes on)",
        store.location(&key.to_string())
    );
    Ok((!is_moved).then(|| Problem::new(Action::Retry, message)))
}

/// Returns whether an object has the size and the tag that were listed, as far as the tag is known.
fn agrees(object: &Object, listed: &Listed) -> bool {
    let is_same_tag = listed.tag.as_ref().is_none_or(|tag| *tag == object.tag());
    object.bytes.len() as u64 == listed.size && is_same_tag
}

/// Moves a document to `processed`, now that its tables are stored.
///
/// # Errors
///
/// If the store fails.
pub async fn commit(
    store: &dyn Store,
    key: &Key,
    object: &Object,
    document: &Document,
    report: &mut DocumentReport,
) -> Result<(), StoreError> {
    let processed = Key::Raw { stage: Stage::Processed, document: document.id().clone() };
    if *key == processed {
        report.status = DocumentStatus::Stored;
        return Ok(());
    }
    let place = processed.to_string();
    let (written, bytes) = match key {
        Key::Raw { document: id, .. } if id == document.id() => {
            let written = store.copy_new(&place, &object.bytes, &key.to_string()).await?;
            (written, object.bytes.len())
        }
        _ => {
            let bytes = document.to_bytes();
            (store.put_new(&place, &bytes).await?, bytes.len())
        }
    };
    match written {
        Written::Done(tag) => {
            if !is_stored(store, &place, bytes as u64, tag.as_ref()).await? {
                report.problems.push(Problem::new(Action::Retry, not_stored(store, &place)));
                return Ok(());
            }
        }
        Written::Refused => {
            if let Standing::Other(why) = compare(store, &processed, document).await? {
                report.problems.push(Problem::new(Action::Document, why));
                return Ok(());
            }
        }
    }
    leave(store, key, object, DocumentStatus::Stored, &processed, report).await
}

/// Asks the store whether an object is there as it was written.
async fn is_stored(
    store: &dyn Store,
    key: &str,
    bytes: u64,
    tag: Option<&Tag>,
) -> Result<bool, StoreError> {
    let Some(found) = store.head(key).await? else { return Ok(false) };
    let is_same_tag = found.tag.as_ref().zip(tag).is_none_or(|(found, tag)| found == tag);
    Ok(found.size == bytes && is_same_tag)
}

fn not_stored(store: &dyn Store, key: &str) -> String {
    format!(
        "the document stays where it is: {} does not have what was just written there (run the same command again; check AWS_ENDPOINT_URL and proxies if that goes on)",
        store.location(key)
    )
}

/// Takes an object away from where it was, now that it is elsewhere.
///
/// # Errors
///
/// If the store fails.
pub async fn leave(
    store: &dyn Store,
    key: &Key,
    object: &Object,
    status: DocumentStatus,
    now_at: &Key,
    report: &mut DocumentReport,
) -> Result<(), StoreError> {
    let gone = store.delete_if(&key.to_string(), &object.tag()).await?;
    if !gone && store.get(&key.to_string()).await?.is_some() {
        let message = "changed while it was read (transform it again)";
        report.problems.push(Problem::new(Action::Retry, message));
        return Ok(());
    }
    let was_failed = key.to_string().starts_with(Stage::Failed.prefix());
    if was_failed && status != DocumentStatus::Failed {
        let reason = key.failed_reason().to_string();
        if let Some(object) = store.get(&reason).await? {
            store.delete_if(&reason, &object.tag()).await?;
        }
    }
    report.status = status;
    report.now_at = Some(now_at.to_string());
    Ok(())
}

/// Moves bytes that no plugin can read to `failed`, with the reason beside them. Anything else stays where
/// it is.
///
/// # Errors
///
/// If the store fails.
pub async fn put_aside(
    store: &dyn Store,
    key: &Key,
    object: &Object,
    refused: Refused,
    report: &mut DocumentReport,
) -> Result<(), StoreError> {
    let waits = key.to_string().starts_with(Stage::ToProcess.prefix());
    if waits && !is_confirmed(store, &key.to_string(), object).await? {
        let location = store.location(&key.to_string());
        report.problems.push(Problem::new(Action::Retry, StoreError::Unsteady { location }));
        return Ok(());
    }
    let problem = Problem::new(Action::Document, &refused);
    report.problems.push(problem.clone());
    if !waits || !refused.is_final() {
        return Ok(());
    }
    let failed = key.failed();
    let created = store.put_new(&failed.to_string(), &object.bytes).await?;
    let there = store.get(&failed.to_string()).await?;
    if there.is_none_or(|there| there.bytes != object.bytes) {
        let location = store.location(&failed.to_string());
        report.problems.push(match created {
            Written::Done(_) => Problem::new(Action::Retry, not_stored(store, &failed.to_string())),
            Written::Refused => Problem::new(
                Action::Document,
                format!(
                    "it can't be put aside, since something else is at {location} (take that away)"
                ),
            ),
        });
        return Ok(());
    }
    let reason = json!({
        "key": key.to_string(),
        "problem": problem.message,
        "host_version": HOST_VERSION,
    });
    let mut reason = serde_json::to_vec_pretty(&reason).unwrap_or_default();
    reason.push(b'\n');
    store.put(&key.failed_reason().to_string(), &reason).await?;
    leave(store, key, object, DocumentStatus::Failed, &failed, report).await
}
