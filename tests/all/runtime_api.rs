//! Lambda's Runtime API, and the built `bootstrap` that asks it for work.

use std::{
    collections::VecDeque,
    convert::Infallible,
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
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
    support::{PLUGINS, Site, command_file, plugin_file, wait},
    web_api::{CLIENT_ID, CLIENT_SECRET, WebApi},
};

/// Lambda's Runtime API: hands out events, and takes what comes back.
#[derive(Default)]
struct Invocations {
    waiting: VecDeque<(String, Value, Duration)>,
    answered: Option<Result<Value, Value>>,
    count: usize,
}

pub struct Lambda {
    state: Arc<(Mutex<Invocations>, Condvar)>,
    process: Child,
    pub address: StoreAddress,
    pub store: Box<dyn Store>,
    log: Arc<Mutex<String>>,
}

impl Drop for Lambda {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Lambda {
    /// A function that asks Spotify as an app.
    pub fn start(site: &Site, api: &WebApi) -> Self {
        let app = [("SPOTIFY_CLIENT_ID", CLIENT_ID), ("SPOTIFY_CLIENT_SECRET", CLIENT_SECRET)];
        Self::start_in(site.place(), api, &app)
    }

    /// A function with the project's plugins, and such an environment.
    pub fn start_in(address: StoreAddress, api: &WebApi, environment: &[(&str, &str)]) -> Self {
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
            .env("SPOTIFY_API_URL", api.api_url().as_str())
            .env("SPOTIFY_ACCOUNTS_URL", api.accounts_url().as_str())
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let (log, mut said) = (Arc::<Mutex<String>>::default(), process.stdout.take().unwrap());
        let shared = Arc::clone(&log);
        std::thread::spawn(move || {
            let mut lines = BufReader::new(&mut said).lines();
            while let Some(Ok(line)) = lines.next() {
                shared.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        Lambda { state, process, address, store, log }
    }

    /// The first line of its log that is meant, once it is there. Every line is JSON.
    pub fn logs(&self, is_meant: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..200 {
            let log = self.log.lock().unwrap().clone();
            let mut lines = log.lines().map(|line| serde_json::from_str(line).expect(line));
            if let Some(line) = lines.find(&is_meant) {
                return line;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("not in its log: {}", self.log.lock().unwrap())
    }

    /// Sends it a signal, such as `XFSZ`.
    pub fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// The most memory that it has had, in bytes.
    #[cfg(target_os = "linux")]
    pub fn peak_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
    }

    /// Waits until it ends by itself.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        self.process.wait().unwrap()
    }

    /// Tells it to end, and waits until it has.
    pub fn end(&mut self) -> ExitStatus {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.process.wait().unwrap()
    }

    /// Wakes the function.
    pub fn begin(&self, event: Value, time: Duration) {
        let (state, changed) = &*self.state;
        let mut invocations = state.lock().unwrap();
        invocations.count += 1;
        let id = format!("8476a536-e9f4-11e8-9739-{:012}", invocations.count);
        invocations.waiting.push_back((id, event, time));
        changed.notify_all();
    }

    /// Waits for what it answers.
    pub fn answer(&self) -> Result<Value, Value> {
        let (state, changed) = &*self.state;
        let (mut invocations, timeout) = changed
            .wait_timeout_while(state.lock().unwrap(), Duration::from_secs(60), |all| {
                all.answered.is_none()
            })
            .unwrap();
        assert!(!timeout.timed_out(), "the function did not answer");
        invocations.answered.take().unwrap()
    }

    /// Wakes the function, and waits for what it answers.
    pub fn invoke_within(&self, event: Value, time: Duration) -> Result<Value, Value> {
        self.begin(event, time);
        self.answer()
    }

    pub fn invoke(&self, event: Value) -> Result<Value, Value> {
        self.invoke_within(event, Duration::from_secs(60))
    }

    pub fn put(&self, key: &str, bytes: &[u8]) {
        wait(self.store.put(key, bytes)).unwrap();
    }

    pub fn keys(&self, prefix: &str) -> Vec<String> {
        let listed = wait(list_all(self.store.as_ref(), prefix)).unwrap();
        listed.into_iter().map(|listed| listed.key).collect()
    }

    /// What S3 says when an object is created.
    pub fn created(&self, key: &str) -> Value {
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
