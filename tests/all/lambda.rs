//! The function as Lambda runs it: the built `bootstrap`, events through the Runtime API, a bucket
//! over the wire, and the Web API on loopback.

use std::{
    collections::VecDeque,
    convert::Infallible,
    fs,
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    time::{Duration, SystemTime},
};

use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use spotify_etl::store::{Store, StoreAddress, list_all};
use tokio::net::TcpListener;

use crate::{
    support::{PLUGINS, Site, command_file, fixture, guest_file, plugin_file, wait},
    web_api::{CLIENT_ID, CLIENT_SECRET, Mode, WebApi},
};

const ID: &str = "3cEYpjA9oz9GiPac4AsH4n";

/// Lambda's Runtime API: hands out events, and takes what comes back.
#[derive(Default)]
struct Invocations {
    waiting: VecDeque<(String, Value, Duration)>,
    answered: Option<Result<Value, Value>>,
    count: usize,
}

struct Lambda {
    state: Arc<(Mutex<Invocations>, Condvar)>,
    process: Child,
    address: StoreAddress,
    store: Box<dyn Store>,
}

impl Drop for Lambda {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Lambda {
    fn start(site: &Site, api: &WebApi) -> Self {
        let state: Arc<(Mutex<Invocations>, Condvar)> = Arc::default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let runtime_api = listener.local_addr().unwrap().to_string();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            wait(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let shared = Arc::clone(&shared);
                    tokio::spawn(async move {
                        let service = service_fn(|request| speak(&shared, request));
                        let _ = hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await;
                    });
                }
            });
        });
        let address = site.place();
        let store = wait(address.open()).unwrap();
        for name in PLUGINS {
            let bytes = fs::read(plugin_file(name)).unwrap();
            wait(store.put(&format!("plugins/{name}.wasm"), &bytes)).unwrap();
        }
        let mut command = Command::new(command_file().with_file_name("bootstrap"));
        command
            .env("AWS_LAMBDA_RUNTIME_API", runtime_api)
            .env("AWS_LAMBDA_FUNCTION_NAME", "spotify-etl")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "group")
            .env("SPOTIFY_ETL_STORE", address.to_string())
            .env("SPOTIFY_CLIENT_ID", CLIENT_ID)
            .env("SPOTIFY_CLIENT_SECRET", CLIENT_SECRET)
            .env("SPOTIFY_API_URL", api.api_url().as_str())
            .env("SPOTIFY_ACCOUNTS_URL", api.accounts_url().as_str())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Lambda { state, process: command.spawn().unwrap(), address, store }
    }

    /// Wakes the function, and waits for what it answers.
    fn invoke_within(&self, event: Value, time: Duration) -> Result<Value, Value> {
        let (state, changed) = &*self.state;
        let mut invocations = state.lock().unwrap();
        invocations.count += 1;
        let id = format!("8476a536-e9f4-11e8-9739-{:012}", invocations.count);
        invocations.waiting.push_back((id, event, time));
        changed.notify_all();
        let (mut invocations, timeout) = changed
            .wait_timeout_while(invocations, Duration::from_secs(60), |all| all.answered.is_none())
            .unwrap();
        assert!(!timeout.timed_out(), "the function did not answer");
        invocations.answered.take().unwrap()
    }

    fn invoke(&self, event: Value) -> Result<Value, Value> {
        self.invoke_within(event, Duration::from_secs(60))
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        wait(self.store.put(key, bytes)).unwrap();
    }

    fn keys(&self, prefix: &str) -> Vec<String> {
        let listed = wait(list_all(self.store.as_ref(), prefix)).unwrap();
        listed.into_iter().map(|listed| listed.key).collect()
    }

    /// What S3 says when an object is created.
    fn created(&self, key: &str) -> Value {
        let StoreAddress::Bucket { bucket, prefix } = &self.address else { unreachable!() };
        let key = format!("{prefix}{key}").replace(' ', "+").replace('é', "%C3%A9");
        json!({ "Records": [{
            "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "eu-west-1",
            "eventName": "ObjectCreated:Put",
            "s3": { "bucket": { "name": bucket }, "object": { "key": key, "sequencer": "0A1B" } },
        }] })
    }
}

async fn speak(
    state: &Arc<(Mutex<Invocations>, Condvar)>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    if path.ends_with("/invocation/next") {
        loop {
            let next = state.0.lock().unwrap().waiting.pop_front();
            let Some((id, event, time)) = next else {
                tokio::time::sleep(Duration::from_millis(2)).await;
                continue;
            };
            let deadline = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + time;
            let response = Response::builder()
                .header("lambda-runtime-aws-request-id", id)
                .header("lambda-runtime-deadline-ms", deadline.as_millis().to_string())
                .header("lambda-runtime-invoked-function-arn", "arn:aws:lambda:x:1:function:f")
                .header("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700");
            return Ok(response.body(Full::new(Bytes::from(event.to_string()))).unwrap());
        }
    }
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let answered = if path.ends_with("/error") { Err(body) } else { Ok(body) };
    state.0.lock().unwrap().answered = Some(answered);
    state.1.notify_all();
    Ok(Response::builder().status(202).body(Full::default()).unwrap())
}

#[test]
fn from_a_schedule_to_tables_with_a_plugin_swapped_in_between() {
    let Some(site) = Site::bucket() else { return };
    let api = WebApi::new(Mode::Extended);
    api.playlist(ID, 60);
    let lambda = Lambda::start(&site, &api);

    let scheduled = json!({ "extract": [ID], "scheduled_at": "2026-07-06T06:00:00Z" });
    let answer = lambda.invoke(scheduled.clone()).unwrap();
    assert_eq!((&answer["exit_status"], &answer["playlists"]), (&json!(0), &json!(1)));
    let landed = lambda.keys("raw_data/to_process/");
    assert_eq!(landed.len(), 1);
    // The same schedule again, as it comes twice: nothing is asked.
    api.forget_requests();
    lambda.invoke(scheduled).unwrap();
    assert_eq!(api.paths(), ["api/token"]);
    assert_eq!(lambda.keys("raw_data/to_process/"), landed);

    lambda.invoke(lambda.created(&landed[0])).unwrap();
    assert_eq!(lambda.keys("raw_data/to_process/"), [""; 0]);
    assert_eq!(lambda.keys("transformed_data/").len(), 5);
    // The event comes late once more, and one of another bucket, and one about nothing of ours.
    lambda.invoke(lambda.created(&landed[0])).unwrap();
    let mut foreign = lambda.created(&landed[0]);
    foreign["Records"][0]["s3"]["bucket"]["name"] = json!("another");
    lambda.invoke(foreign).unwrap();
    lambda.invoke(lambda.created("transformed_data/x.csv")).unwrap();

    // A plugin that is none: said beside it at once, and documents go on with the one before.
    lambda.put("plugins/song.wasm", b"not a plugin");
    lambda.invoke(lambda.created("plugins/song.wasm")).unwrap();
    assert_eq!(lambda.keys("plugins/song.wasm.error.json").len(), 1);
    let fixture_of = |name: &str| fs::read(fixture(&format!("playlists/{name}.json"))).unwrap();
    let key = "raw_data/to_process/été x 2026-07-13 06-00-00.json";
    lambda.put(key, &fixture_of("same_track_twice"));
    lambda.invoke(lambda.created(key)).unwrap();
    assert_eq!(lambda.keys("transformed_data/song_data/").len(), 2);

    // Another plugin beside them, warm: the next event uses it.
    lambda.put("plugins/song.wasm", &fs::read(plugin_file("song")).unwrap());
    lambda.put("plugins/decade.wasm", &fs::read(guest_file("decade")).unwrap());
    lambda.invoke(lambda.created("plugins/decade.wasm")).unwrap();
    lambda.invoke(lambda.created("plugins/song.wasm")).unwrap();
    assert_eq!(lambda.keys("plugins/song.wasm.error.json"), [""; 0]);
    let key = "raw_data/to_process/x_2026-07-20_06-00-00.json";
    lambda.put(key, &fixture_of("no_payload"));
    lambda.invoke(lambda.created(key)).unwrap();
    assert_eq!(lambda.keys("raw_data/to_process/"), [""; 0]);
    assert_eq!(lambda.keys("transformed_data/song_data/").len(), 3);
    assert!(lambda.keys("transformed_data/").iter().any(|key| key.contains("decade")));
    let check = lambda.invoke(json!({ "check": {} })).unwrap();
    assert_eq!(check["status"]["playlists"].as_array().unwrap().len(), 3);

    let refused = lambda.invoke(json!({ "source": "aws.ec2" })).unwrap_err();
    assert_eq!(refused["errorType"], "UnknownEvent");
    let failed = lambda.invoke(json!({ "extract": ["37i9dQZEVXbIPWwFssbupI"] })).unwrap_err();
    assert_eq!(failed["errorType"], "SetupProblem");
    assert!(failed["errorMessage"].as_str().unwrap().contains("2024-11-27"), "{failed}");
}

#[test]
fn a_queue_gets_back_only_what_a_second_try_may_mend() {
    let Some(site) = Site::bucket() else { return };
    let api = WebApi::new(Mode::Extended);
    let lambda = Lambda::start(&site, &api);
    let good = "raw_data/to_process/good_2026-07-13_06-00-00.json";
    let bad = "raw_data/to_process/bad_2026-07-13_06-00-00.json";
    lambda.put(good, &fs::read(fixture("playlists/same_track_twice.json")).unwrap());
    lambda.put(bad, b"{ not json");
    let message = |id: &str, key: &str| {
        let body = lambda.created(key).to_string();
        json!({ "messageId": id, "eventSource": "aws:sqs", "body": body })
    };
    let batch = json!({ "Records": [message("1", good), message("2", bad)] });
    // With no time left for a document, both come again; with time, neither.
    let answer = lambda.invoke_within(batch.clone(), Duration::from_secs(1)).unwrap();
    let again = json!([{ "itemIdentifier": "1" }, { "itemIdentifier": "2" }]);
    assert_eq!(answer, json!({ "batchItemFailures": again }));
    assert_eq!(lambda.keys("raw_data/to_process/").len(), 2);
    for _ in 0..2 {
        let answer = lambda.invoke(batch.clone()).unwrap();
        assert_eq!(answer, json!({ "batchItemFailures": [] }));
        assert_eq!(lambda.keys("raw_data/to_process/"), [""; 0]);
        assert_eq!(lambda.keys("raw_data/failed/").len(), 2);
    }
}
