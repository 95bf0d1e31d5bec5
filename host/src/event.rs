//! What wakes a function: a schedule, an object that was created, a queue, a person. Read from the
//! JSON that Lambda hands over; what is done about it is not known here.

use serde::Deserialize;
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// What a function is asked to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// To extract playlists: these, or the store's list.
    Extract {
        /// Ids, addresses or labels; none means the list.
        playlists: Vec<String>,
        /// For when this was planned. What was landed since then is done.
        scheduled_at: Option<OffsetDateTime>,
    },
    /// To look at objects that were created.
    Created {
        /// Which.
        objects: Vec<Created>,
        /// Documents of history that a queue brought, to be replayed.
        replays: Vec<Replayed>,
        /// Messages of a queue that can't be read: the others are not kept waiting for them.
        unread: Vec<Unread>,
    },
    /// To transform documents: these, or all that wait.
    Transform {
        /// Keys, or documents by name; none means all that wait.
        keys: Vec<String>,
    },
    /// To replay documents of history: these, or all there are.
    Replay {
        /// Keys; none means all.
        keys: Vec<String>,
    },
    /// To say how things are.
    Check(Vec<Checked>),
}

/// What can be looked at; nothing named means all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// What waits, and how old the last snapshots are.
    Store,
    /// How long the login lasts.
    Login,
}

/// An object that was created.
#[derive(Clone, Debug, PartialEq)]
pub struct Created {
    /// Its bucket.
    pub bucket: String,
    /// Its key, decoded.
    pub key: String,
    /// Its size in bytes, where that is said.
    pub size: Option<u64>,
    /// The message of a queue that brought it, if one did.
    pub message: Option<Message>,
}

/// A document of history that a queue brought.
#[derive(Clone, Debug, PartialEq)]
pub struct Replayed {
    /// Its key.
    pub key: String,
    /// The message.
    pub message: Message,
}

/// A message of a queue that can't be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Unread {
    /// Why.
    pub error: UnknownEvent,
    /// The message, unless the queue gave it no id.
    pub message: Option<Message>,
}

/// What a queue brings.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Its id.
    pub id: String,
    /// How often it was brought, this time included.
    pub tries: u32,
}

/// An event that is none of these.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "an event of no known kind: {seen} (known are schedules, {{\"extract\": [...]}}, {{\"transform\": [...]}}, {{\"replay\": [...]}}, {{\"check\": {{}}}}, and \"object created\" from S3, EventBridge, or either through SQS)"
)]
pub struct UnknownEvent {
    /// What was seen of it.
    pub seen: String,
}

#[derive(Deserialize)]
struct Object {
    key: String,
    size: Option<u64>,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

/// What S3 and EventBridge both say of an object.
#[derive(Deserialize)]
struct Place {
    bucket: Bucket,
    object: Object,
}

impl Event {
    /// Reads an event.
    ///
    /// # Errors
    ///
    /// If it is of no known kind: what was seen of it.
    pub fn read(event: &Value) -> Result<Self, UnknownEvent> {
        if let Some(wanted) = event.get("extract") {
            let scheduled_at = moment(&event["scheduled_at"])?;
            return Ok(Event::Extract { playlists: names(wanted)?, scheduled_at });
        }
        if let Some(wanted) = event.get("transform") {
            return Ok(Event::Transform { keys: names(wanted)? });
        }
        if let Some(wanted) = event.get("replay") {
            return Ok(Event::Replay { keys: names(wanted)? });
        }
        if let Some(wanted) = event.get("check") {
            let of = |name: &String| match name.as_str() {
                "store" => Ok(Checked::Store),
                "login" => Ok(Checked::Login),
                _ => Err(unknown(wanted)),
            };
            return Ok(Event::Check(names(wanted)?.iter().map(of).collect::<Result<_, _>>()?));
        }
        if event["detail-type"] == "Scheduled Event" {
            let scheduled_at = moment(&event["time"])?;
            return Ok(Event::Extract { playlists: Vec::new(), scheduled_at });
        }
        let (mut unread, mut replays) = (Vec::new(), Vec::new());
        let objects = created(event, None, &mut replays, &mut unread)?;
        Ok(Event::Created { objects, replays, unread })
    }
}

/// The objects that an event names, which a queue may have brought.
fn created(
    event: &Value,
    message: Option<&Message>,
    replays: &mut Vec<Replayed>,
    unread: &mut Vec<Unread>,
) -> Result<Vec<Created>, UnknownEvent> {
    let of = |place: &Value, key: fn(&str) -> String| {
        let place = Place::deserialize(place).map_err(|_| unknown(event))?;
        let (bucket, key) = (place.bucket.name, key(&place.object.key));
        Ok(Created { bucket, key, size: place.object.size, message: message.cloned() })
    };
    if event["detail-type"] == "Object Created" {
        // EventBridge has keys as they are.
        return Ok(vec![of(&event["detail"], str::to_owned)?]);
    }
    if let (Some(wanted), Some(message)) = (event.get("replay"), message) {
        let keys = names(wanted)?;
        if keys.is_empty() {
            return Err(unknown(event));
        }
        let replayed = |key| Replayed { key, message: message.clone() };
        replays.extend(keys.into_iter().map(replayed));
        return Ok(Vec::new());
    }
    // S3 sends one when a notification is set up.
    if event["Event"] == "s3:TestEvent" {
        return Ok(Vec::new());
    }
    let records = event["Records"].as_array().ok_or_else(|| unknown(event))?;
    let mut found = Vec::new();
    for record in records {
        match record["eventSource"].as_str() {
            Some("aws:s3") => found.push(of(&record["s3"], decoded)?),
            Some("aws:sqs") if message.is_none() => {
                let body = record["body"].as_str().unwrap_or_default();
                let inner = serde_json::from_str::<Value>(body).map_err(|_| unknown(record));
                let message = message_of(record);
                match inner.and_then(|inner| created(&inner, message.as_ref(), replays, unread)) {
                    Ok(objects) => found.extend(objects),
                    Err(error) => unread.push(Unread { error, message }),
                }
            }
            _ => return Err(unknown(event)),
        }
    }
    Ok(found)
}

fn message_of(record: &Value) -> Option<Message> {
    let id = record["messageId"].as_str()?.to_owned();
    let tries = record["attributes"]["ApproximateReceiveCount"].as_str();
    Some(Message { id, tries: tries.and_then(|tries| tries.parse().ok()).unwrap_or(1) })
}

/// A key as S3 encodes it in notifications: `+` for a space, `%C3%A9` for a letter.
fn decoded(key: &str) -> String {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|digits| str::from_utf8(digits).ok());
        let byte = hex.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        (rest, _) = match (first, byte) {
            (b'%', Some(byte)) => (&after[2..], bytes.push(byte)),
            (b'+', _) => (after, bytes.push(b' ')),
            (other, _) => (after, bytes.push(*other)),
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn names(wanted: &Value) -> Result<Vec<String>, UnknownEvent> {
    match wanted {
        Value::Array(names) => {
            names.iter().map(|name| name.as_str().map(str::to_owned)).collect::<Option<_>>()
        }
        Value::String(name) => Some(vec![name.clone()]),
        Value::Object(members) if members.is_empty() => Some(Vec::new()),
        Value::Null | Value::Bool(true) => Some(Vec::new()),
        _ => None,
    }
    .ok_or_else(|| unknown(wanted))
}

fn moment(time: &Value) -> Result<Option<OffsetDateTime>, UnknownEvent> {
    match time {
        Value::Null => Ok(None),
        Value::String(text) => {
            OffsetDateTime::parse(text, &Rfc3339).map(Some).map_err(|_| unknown(time))
        }
        _ => Err(unknown(time)),
    }
}

/// The outside of an event: its members' names, and the words that say what it is.
fn unknown(event: &Value) -> UnknownEvent {
    const LENGTH_MAX: usize = 300;
    let seen = match event {
        Value::Object(members) => {
            let shown = members.iter().map(|(name, value)| match value {
                Value::String(text) => format!("{name}: `{text}`"),
                Value::Array(all) => format!("{name}: {} of them", all.len()),
                _ => name.clone(),
            });
            format!("an object with {}", shown.collect::<Vec<_>>().join(", "))
        }
        other => format!("`{other}`"),
    };
    UnknownEvent { seen: seen.chars().take(LENGTH_MAX).collect() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    fn these(objects: Vec<Created>) -> Event {
        Event::Created { objects, replays: Vec::new(), unread: Vec::new() }
    }

    fn object(key: &str, message: Option<(&str, u32)>) -> Created {
        let message = message.map(|(id, tries)| Message { id: id.to_owned(), tries });
        // Only the notification here says it.
        let size = key.contains('é').then_some(3);
        Created { bucket: "music".to_owned(), key: key.to_owned(), size, message }
    }

    #[test]
    fn every_kind_of_event_is_read() {
        let s3 = json!({ "Records": [{
            "eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
            "s3": {
                "bucket": { "name": "music", "arn": "arn:aws:s3:::music" },
                "object": { "key": "raw_data/to_process/my+list/%C3%A9%2B1.json", "size": 3 },
            },
        }] });
        let bridge = json!({
            "version": "0", "source": "aws.s3", "detail-type": "Object Created",
            "time": "2026-07-06T06:00:00Z",
            "detail": { "bucket": { "name": "music" }, "object": { "key": "a b+c.json" } },
        });
        let queue = json!({ "Records": [
            { "messageId": "1", "eventSource": "aws:sqs", "body": s3.to_string() },
            {
                "messageId": "2", "eventSource": "aws:sqs", "body": bridge.to_string(),
                "attributes": { "ApproximateReceiveCount": "3" },
            },
        ] });
        let key = "raw_data/to_process/my list/é+1.json";
        let scheduled_at = Some(datetime!(2026-07-06 06:00 UTC));
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        for (event, expected) in [
            (s3, these(vec![object(key, None)])),
            (bridge, these(vec![object("a b+c.json", None)])),
            (queue, these(vec![object(key, Some(("1", 1))), object("a b+c.json", Some(("2", 3)))])),
            (json!({ "Service": "Amazon S3", "Event": "s3:TestEvent" }), these(vec![])),
            (
                json!({ "detail-type": "Scheduled Event", "source": "aws.events", "time": "2026-07-06T06:00:00Z" }),
                Event::Extract { playlists: vec![], scheduled_at },
            ),
            (
                json!({ "extract": ["france"], "scheduled_at": "2026-07-06T06:00:00Z" }),
                Event::Extract { playlists: list(&["france"]), scheduled_at },
            ),
            (json!({ "extract": {} }), Event::Extract { playlists: vec![], scheduled_at: None }),
            (json!({ "transform": {} }), Event::Transform { keys: vec![] }),
            (json!({ "transform": ["x"] }), Event::Transform { keys: list(&["x"]) }),
            (json!({ "replay": ["x"] }), Event::Replay { keys: list(&["x"]) }),
            (
                json!({ "Records": [{
                    "messageId": "1", "eventSource": "aws:sqs", "body": "{\"replay\": [\"x\"]}",
                }] }),
                Event::Created {
                    objects: Vec::new(),
                    replays: vec![Replayed {
                        key: "x".to_owned(),
                        message: Message { id: "1".to_owned(), tries: 1 },
                    }],
                    unread: Vec::new(),
                },
            ),
            (json!({ "check": {} }), Event::Check(vec![])),
            (json!({ "check": "login" }), Event::Check(vec![Checked::Login])),
            (
                json!({ "check": ["store", "login"] }),
                Event::Check(vec![Checked::Store, Checked::Login]),
            ),
        ] {
            assert_eq!(Event::read(&event).unwrap(), expected, "{event}");
        }
    }

    #[test]
    fn messages_that_can_not_be_read_are_told_apart_by_their_ids() {
        let sqs = |id: &str, body: &str| json!({ "messageId": id, "eventSource": "aws:sqs", "body": body });
        let event = json!({ "Records": [
            sqs("1", "hello"),
            sqs("2", "{\"replay\": [\"x\"]}"),
            sqs("3", "{\"play\": 1}"),
            { "eventSource": "aws:sqs", "body": "no id" },
        ] });
        let Ok(Event::Created { replays, unread, .. }) = Event::read(&event) else { panic!() };
        assert_eq!(replays.len(), 1);
        let ids = unread.iter().map(|one| one.message.as_ref().map(|message| message.id.as_str()));
        assert_eq!(ids.collect::<Vec<_>>(), [Some("1"), Some("3"), None]);
    }

    #[test]
    fn any_other_is_refused_with_what_was_seen() {
        for (event, seen) in [
            (
                json!({ "source": "aws.ec2", "detail": {} }),
                "an object with detail, source: `aws.ec2`",
            ),
            (json!({ "Records": [{ "eventSource": "aws:sns" }] }), "Records: 1 of them"),
            (json!({ "Records": [{ "eventSource": "aws:s3", "s3": {} }] }), "Records: 1 of them"),
            (json!({ "extract": 3 }), "`3`"),
            (json!({ "check": ["everything"] }), "everything"),
            (json!({ "extract": [], "scheduled_at": "Monday" }), "`\"Monday\"`"),
            (json!(null), "`null`"),
        ] {
            let error = Event::read(&event).unwrap_err().to_string();
            assert!(error.contains(seen) && error.contains("\"check\""), "{error}");
        }
    }
}
