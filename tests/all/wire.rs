//! A bucket behind a network that fails: the n-th request is refused, lost, cut off, slowed down, or
//! its answer is lost on the way back; or from then on the service is out.

use std::{
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
enum Fault {
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

const DROPS: usize = 4;

/// The way to the server of the tests.
struct Wire {
    server: String,
    asked: AtomicUsize,
    request: usize,
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
    fn start(request: usize, fault: Fault) -> (Arc<Self>, String) {
        let server = std::env::var("AWS_ENDPOINT_URL").unwrap();
        let server = server.trim_start_matches("http://").to_owned();
        let wire = Arc::new(Wire { server, asked: AtomicUsize::new(0), request, fault });
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
        let request = Request::from_parts(head, Full::new(body));
        let is_met =
            number == self.request || (self.fault == Fault::Outage && number > self.request);
        if !is_met {
            return Ok(self.forward(request).await.map(http_body_util::Either::Left));
        }
        match self.fault {
            Fault::SlowDown | Fault::Outage => Ok(refusal(503, "SlowDown")),
            Fault::Lost => Err(io::Error::other("lost")),
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
    let mut response = Response::new(http_body_util::Either::Left(Full::new(Bytes::from(text))));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
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
    command.env("CRASH_MUST_END_WELL", "1").env("AWS_ENDPOINT_URL", endpoint);
    if patience == Patience::None {
        command.env("AWS_MAX_ATTEMPTS", "1");
    }
    command.output().unwrap().status.success()
}

/// Failures that pass are lived through in the same run; an outage fails it, and the next one makes up
/// for it. Either way the store is as if nothing had happened.
#[test]
fn whatever_the_network_does_the_store_is_as_if_nothing_had_happened() {
    each_fault(Patience::Usual, "SPOTIFY_ETL_TEST_EVERY", 37);
}

/// Without a second attempt most failures end the run, wherever it is by then; the next one makes up
/// for it.
#[test]
fn whatever_request_fails_for_good_the_next_run_makes_up_for_it() {
    each_fault(Patience::None, "SPOTIFY_ETL_TEST_EVERY_LAST", 37);
}

/// Each of all faults at each of all requests, or every so many of them.
fn each_fault(patience: Patience, variable: &str, every: usize) {
    let Some(site) = Site::bucket() else { return };
    let every = std::env::var(variable).map_or(every, |every| every.parse().unwrap());
    let undisturbed = site.place();
    wait(async { prepare(undisturbed.open().await.unwrap().as_ref()).await });
    let (wire, endpoint) = Wire::start(usize::MAX, Fault::Lost);
    assert!(run(&undisturbed, &endpoint, patience));
    let expected = wait(async { contents(undisturbed.open().await.unwrap().as_ref()).await });
    let requests = wire.asked.load(Ordering::SeqCst);
    assert!(requests > 60, "only {requests} requests");
    assert_eq!(expected.keys().filter(|key| key.starts_with("raw_data/processed/")).count(), 3);

    let faults = (1..=requests).flat_map(|request| FAULTS.map(|fault| (request, fault)));
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
                    let (wire, endpoint) = Wire::start(request, fault);
                    let ended_well = run(&address, &endpoint, patience);
                    let may_fail = fault == Fault::Outage || patience == Patience::None;
                    assert!(ended_well || may_fail, "{fault:?} at request {request}");
                    // A run takes a few requests more or less, and the server itself fails at times, when
                    // keys go while it lists them.
                    if wire.asked.load(Ordering::SeqCst) < request {
                        unmet.fetch_add(1, Ordering::SeqCst);
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
    assert!(unmet.into_inner() * 20 <= count.max(20), "too many runs ended before their fault");
}
