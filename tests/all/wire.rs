//! A bucket behind a network that fails: the n-th request is refused, lost, cut off, slowed down, or
//! its answer is lost on the way back; or from then on the service is out.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response, StatusCode,
    body::{Body, Bytes, Frame, Incoming},
    header,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use spotify_etl::store::StoreAddress;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Sleep, sleep},
};

use crate::{
    crash::{contents, prepare, whole_run},
    support::{Site, wait},
};

/// What happens to the request that is counted down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The service asks for patience, as S3 does.
    SlowDown,
    /// It is done, and the answer is that something went wrong.
    DoneAndFailed,
    /// It never arrives.
    Lost,
    /// It is done, and the answer never arrives.
    AnswerLost,
    /// It is done, and half of the answer arrives.
    AnswerCut,
    /// It is done, and the answer comes in drops.
    AnswerDrips,
    /// Neither this one nor any later one is done.
    Outage,
    /// It is not done, and something on the way answers that it knows no such page.
    NoSuchPage,
    /// It is not done, and the answer is that an upload in parts is not known.
    NoSuchUpload,
    /// It is not done, and the answer is that a condition does not hold.
    ConditionFails,
    /// It is not done, and the answer says that it is, without content.
    Nothing,
    /// It is not done, and something on the way answers with a page for people.
    Html,
    /// It is done, and the answer has no ETag.
    NoTag,
    /// It is done, and the answer comes with one bit changed.
    FlippedBit,
    /// It is not done, and the answer has this status and an ETag, as if an object were stored.
    NotStored(u16),
    /// It is not done, and the answer is that there is no such object.
    NoSuchKey,
}

const FAULTS: [Fault; 7] = [
    Fault::SlowDown,
    Fault::DoneAndFailed,
    Fault::Lost,
    Fault::AnswerLost,
    Fault::AnswerCut,
    Fault::AnswerDrips,
    Fault::Outage,
];

/// Answers that are wrong, and may look right. None of them is tried again by the client for certain.
const WRONG_ANSWERS: [Fault; 8] = [
    Fault::NoSuchPage,
    Fault::NoSuchUpload,
    Fault::ConditionFails,
    Fault::Nothing,
    Fault::Html,
    Fault::NoTag,
    Fault::FlippedBit,
    Fault::NotStored(204),
];

const DROPS: usize = 4;

/// The requests that meet a fault.
#[derive(Clone, Copy, Debug)]
pub enum Met {
    /// The n-th one.
    Number(usize),
    /// All with this method whose path contains this text.
    All(&'static str, &'static str),
}

/// The way to the server of the tests.
pub struct Wire {
    server: String,
    asked: AtomicUsize,
    met: Met,
    fault: Fault,
}

/// A body that comes in pieces, and may end before its end.
struct Pieces {
    left: Vec<Bytes>,
    is_whole: bool,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(pause) = &mut self.pause {
            if pause.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.pause = Some(Box::pin(sleep(Duration::from_millis(100))));
        }
        match self.left.pop() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None if self.is_whole => Poll::Ready(None),
            None => Poll::Ready(Some(Err(io::Error::other("cut off")))),
        }
    }
}

type Answer = Response<http_body_util::Either<Full<Bytes>, Pieces>>;

impl Wire {
    /// Starts it. Says where it can be reached.
    pub fn start(met: Met, fault: Fault) -> (Arc<Self>, String) {
        let server = std::env::var("AWS_ENDPOINT_URL").unwrap();
        let server = server.trim_start_matches("http://").to_owned();
        let wire = Arc::new(Wire { server, asked: AtomicUsize::new(0), met, fault });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::clone(&wire);
        std::thread::spawn(move || {
            wait(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                // Ends with the test, by which time nobody asks.
                while let Ok((stream, _)) = listener.accept().await {
                    let wire = Arc::clone(&shared);
                    tokio::spawn(async move {
                        let service = service_fn(|request| wire.carry(request));
                        let _ = hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await;
                    });
                }
            });
        });
        (wire, address)
    }

    async fn carry(&self, request: Request<Incoming>) -> io::Result<Answer> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let is_met = match self.met {
            Met::Number(met) => number == met || (self.fault == Fault::Outage && number > met),
            Met::All(method, path) => head.method == method && head.uri.path().contains(path),
        };
        let is_listing = head.uri.query().is_some_and(|query| query.contains("list-type"));
        let request = Request::from_parts(head, Full::new(body));
        if !is_met {
            return Ok(self.forward(request).await.map(http_body_util::Either::Left));
        }
        match self.fault {
            Fault::SlowDown | Fault::Outage => Ok(refusal(503, "SlowDown")),
            Fault::Lost => Err(io::Error::other("lost")),
            Fault::NoSuchPage => Ok(page(404, "text/plain", "404 page not found")),
            Fault::NoSuchUpload => Ok(refusal(404, "NoSuchUpload")),
            Fault::ConditionFails => Ok(refusal(412, "PreconditionFailed")),
            Fault::Nothing => Ok(page(200, "application/xml", "")),
            Fault::Html => Ok(page(200, "text/html", "<html><body>Log in first</body></html>")),
            Fault::NoSuchKey => Ok(refusal(404, "NoSuchKey")),
            Fault::NotStored(_) if request.method() != "PUT" => {
                Ok(self.forward(request).await.map(http_body_util::Either::Left))
            }
            Fault::NotStored(status) => {
                let mut answer = page(status, "application/xml", "");
                let tag = "\"d41d8cd98f00b204e9800998ecf8427e\"".parse().unwrap();
                answer.headers_mut().insert(header::ETAG, tag);
                Ok(answer)
            }
            Fault::NoTag => {
                let mut answer = self.forward(request).await;
                answer.headers_mut().remove(header::ETAG);
                Ok(answer.map(http_body_util::Either::Left))
            }
            Fault::FlippedBit => {
                let (head, body) = self.forward(request).await.into_parts();
                let body = body.collect().await.unwrap_or_else(|never| match never {}).to_bytes();
                let mut body = body.to_vec();
                let middle = body.len() / 2;
                // A listing has no checksum: what it names wrongly is not found, and found the next time.
                if let Some(byte) = body.get_mut(middle).filter(|_| !is_listing) {
                    *byte ^= 1;
                }
                let body = Full::new(Bytes::from(body));
                Ok(Response::from_parts(head, http_body_util::Either::Left(body)))
            }
            Fault::DoneAndFailed => {
                self.forward(request).await;
                Ok(refusal(500, "InternalError"))
            }
            Fault::AnswerLost => {
                self.forward(request).await;
                Err(io::Error::other("lost"))
            }
            Fault::AnswerCut | Fault::AnswerDrips => {
                let (head, body) = self.forward(request).await.into_parts();
                let body = body.collect().await.unwrap_or_else(|never| match never {}).to_bytes();
                let is_whole = self.fault == Fault::AnswerDrips;
                if body.is_empty() && !is_whole {
                    return Err(io::Error::other("lost"));
                }
                let size = body.len().div_ceil(DROPS).max(1);
                let mut left: Vec<Bytes> = body.chunks(size).map(Bytes::copy_from_slice).collect();
                left.reverse();
                if !is_whole {
                    left.drain(..left.len().div_ceil(2));
                }
                let pause = is_whole.then(|| Box::pin(sleep(Duration::ZERO)));
                let pieces = Pieces { left, is_whole, pause };
                Ok(Response::from_parts(head, http_body_util::Either::Right(pieces)))
            }
        }
    }

    async fn forward(&self, mut request: Request<Full<Bytes>>) -> Response<Full<Bytes>> {
        request.headers_mut().remove(header::EXPECT);
        let stream = TcpStream::connect(&self.server).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let (mut head, body) = sender.send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        // The server closes each connection; this one stays open.
        head.headers.remove(header::CONNECTION);
        Response::from_parts(head, Full::new(body))
    }
}

fn refusal(status: u16, code: &str) -> Answer {
    let text = format!(
        "<Error><Code>{code}</Code><Message>Please reduce your request rate.</Message></Error>"
    );
    page(status, "application/xml", &text)
}

fn page(status: u16, content_type: &str, text: &str) -> Answer {
    let body = Full::new(Bytes::copy_from_slice(text.as_bytes()));
    let mut response = Response::new(http_body_util::Either::Left(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert(header::CONTENT_TYPE, content_type.parse().unwrap());
    response
}

/// How often a request is tried before the run gives up on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// As often as the client does by itself.
    Usual,
    /// Once: what would be lived through is met by the pipeline.
    None,
}

/// A run in a process of its own, by way of a wire. Says whether it ended well.
fn run(address: &StoreAddress, endpoint: &str, patience: Patience) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "crash::in_a_process_of_its_own"]);
    command.env("CRASH_STORE", address.to_string()).env("CRASH_AT", "0 FailsBefore");
    command.env("CRASH_MUST_BE_WHOLE", "1").env("AWS_ENDPOINT_URL", endpoint);
    if patience == Patience::None {
        command.env("AWS_MAX_ATTEMPTS", "1");
    }
    command.output().unwrap().status.success()
}

/// Failures that pass are lived through in the same run; an outage fails it, and the next one makes up
/// for it. Either way the store is as if nothing had happened.
#[test]
fn whatever_the_network_does_the_store_is_as_if_nothing_had_happened() {
    each_fault(Patience::Usual, &FAULTS, "SPOTIFY_ETL_TEST_EVERY", 37);
}

/// Without a second attempt most failures end the run, wherever it is by then; the next one makes up
/// for it.
#[test]
fn whatever_request_fails_for_good_the_next_run_makes_up_for_it() {
    each_fault(Patience::None, &FAULTS, "SPOTIFY_ETL_TEST_EVERY_LAST", 37);
}

/// A wrong answer to any request either changes nothing, or fails the run, and the next one makes up for it.
#[test]
fn a_wrong_answer_is_never_taken_for_success() {
    each_fault(Patience::None, &WRONG_ANSWERS, "SPOTIFY_ETL_TEST_EVERY_LAST", 41);
}

/// Where all requests for some objects get a wrong answer, the run fails, no raw document is lost, and a run
/// with right answers completes it.
#[test]
fn wrong_answers_that_last_lose_no_document() {
    let Some(site) = Site::bucket() else { return };
    let undisturbed = site.place();
    let store = wait(undisturbed.open()).unwrap();
    wait(prepare(store.as_ref()));
    wait(whole_run(store.as_ref())).unwrap();
    let expected = wait(contents(store.as_ref()));
    let puts = ["song_data", "lineage/", "raw_data/processed/", "raw_data/failed/", "tables/"];
    let gets = ["raw_data/to_process/", "plugins/song.wasm"];
    let puts = puts.map(|path| Met::All("PUT", path));
    let met = [&puts[..], &gets.map(|path| Met::All("GET", path))].concat();
    let every = std::env::var("SPOTIFY_ETL_TEST_EVERY_LAST");
    let every = every.map_or(4, |every| every.parse().unwrap());
    let all = met.into_iter().flat_map(|met| WRONG_ANSWERS.map(|fault| (met, fault)));
    for (at, (met, fault)) in all.enumerate().step_by(every) {
        // A bit in an empty answer can't change, and nothing is stored by reading.
        let is_harmless = matches!(
            (met, fault),
            (Met::All("PUT", _), Fault::FlippedBit) | (Met::All("GET", _), Fault::NotStored(_))
        );
        if is_harmless {
            continue;
        }
        let address = site.place();
        let store = wait(address.open()).unwrap();
        wait(prepare(store.as_ref()));
        let before = documents(&wait(contents(store.as_ref())));
        let (wire, endpoint) = Wire::start(met, fault);
        let is_whole = run(&address, &endpoint, Patience::None);
        assert!(wire.asked.load(Ordering::SeqCst) > 0);
        assert!(!is_whole, "{at}: {fault:?} for {met:?} was taken for success");
        let found = wait(contents(store.as_ref()));
        let kept = documents(&found);
        for document in &before {
            let is_kept = kept.contains(document) || expected_page(document, &kept);
            assert!(is_kept, "{at}: {fault:?} for {met:?} lost a document");
        }
        wait(whole_run(store.as_ref())).unwrap();
        let mut found = wait(contents(store.as_ref()));
        found.retain(|key, _| !key.starts_with("probe-"));
        let keys = found.keys().collect::<Vec<_>>();
        assert_eq!(keys, expected.keys().collect::<Vec<_>>(), "{at}: {fault:?} for {met:?}");
        assert!(found == expected, "{at}: {fault:?} for {met:?}: content differs");
    }
}

/// The content of all raw documents, wherever they are.
fn documents(contents: &BTreeMap<String, Vec<u8>>) -> Vec<Vec<u8>> {
    let is_raw = |key: &str| key.starts_with("raw_data/") && !key.ends_with(".error.json");
    contents.iter().filter(|(key, _)| is_raw(key)).map(|(_, bytes)| bytes.clone()).collect()
}

/// Whether a document that had no header is kept as a page of one that has.
fn expected_page(document: &[u8], kept: &[Vec<u8>]) -> bool {
    let page = document.trim_ascii();
    kept.iter().any(|kept| kept.windows(page.len()).any(|window| window == page))
}

/// Each of all faults at each of all requests, or every so many of them.
fn each_fault(patience: Patience, faults: &[Fault], variable: &str, every: usize) {
    let Some(site) = Site::bucket() else { return };
    let every = std::env::var(variable).map_or(every, |every| every.parse().unwrap());
    let undisturbed = site.place();
    wait(async { prepare(undisturbed.open().await.unwrap().as_ref()).await });
    let (wire, endpoint) = Wire::start(Met::Number(usize::MAX), Fault::Lost);
    assert!(run(&undisturbed, &endpoint, patience));
    let expected = wait(async { contents(undisturbed.open().await.unwrap().as_ref()).await });
    let requests = wire.asked.load(Ordering::SeqCst);
    assert!(requests > 60, "only {requests} requests");
    assert_eq!(expected.keys().filter(|key| key.starts_with("raw_data/processed/")).count(), 3);

    let faults =
        (1..=requests).flat_map(|request| faults.iter().map(move |fault| (request, *fault)));
    let faults: Vec<_> = faults.step_by(every).collect();
    let (count, unmet, faults) = (faults.len(), AtomicUsize::new(0), Mutex::new(faults));
    let next = || faults.lock().unwrap().pop();
    // Most of the time is waited, for another attempt.
    let at_once = if patience == Patience::Usual { 8 } else { 3 };
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some((request, fault)) = next() {
                    let address = site.place();
                    let store = wait(address.open()).unwrap();
                    wait(prepare(store.as_ref()));
                    let (wire, endpoint) = Wire::start(Met::Number(request), fault);
                    let ended_well = run(&address, &endpoint, patience);
                    let may_fail = fault == Fault::Outage || patience == Patience::None;
                    assert!(ended_well || may_fail, "{fault:?} at request {request}");
                    // A run takes a few requests more or less, and the server itself fails at times, when
                    // keys go while it lists them.
                    if wire.asked.load(Ordering::SeqCst) < request {
                        unmet.fetch_add(1, Ordering::SeqCst);
                    }
                    let is_wrong = WRONG_ANSWERS.contains(&fault);
                    // Success means that all is there, though a deletion may not have happened. What is missing
                    // after a failure is there after another run.
                    if is_wrong && ended_well {
                        let found = wait(contents(store.as_ref()));
                        let is_there = |(key, bytes)| found.get(key) == Some(bytes);
                        assert!(expected.iter().all(is_there), "{fault:?} at request {request}");
                    }
                    if may_fail {
                        wait(whole_run(store.as_ref())).unwrap();
                    }
                    let mut found = wait(contents(store.as_ref()));
                    // What tried whether the server keeps conditions may be left of a run that failed.
                    found.retain(|key, _| !may_fail || !key.starts_with("probe-"));
                    let keys = found.keys().collect::<Vec<_>>();
                    assert_eq!(keys, expected.keys().collect::<Vec<_>>(), "{fault:?} at {request}");
                    assert!(found == expected, "{fault:?} at request {request}: content differs");
                }
            });
        }
    });
    assert!(unmet.into_inner() * 5 <= count.max(20), "too many runs ended before their fault");
}
