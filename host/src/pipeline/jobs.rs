//! Who does what takes the processor's time, and how much is on the way meanwhile.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{Stream, StreamExt, future::join, stream};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::{Semaphore, SemaphorePermit, mpsc},
    task::AbortHandle,
};
use tracing::Span;

use super::report::{Action, Problem};
use crate::{
    config::{FILES_OF_DOCUMENT, Limits},
    document::Refused,
    room::{Part, Room},
};

/// When nothing more is begun: at a time, or when somebody says so; never, if there is neither.
#[derive(Clone, Debug, Default)]
pub struct Until {
    /// The time.
    pub at: Option<Instant>,
    /// Whether somebody said so.
    pub is_ending: Arc<AtomicBool>,
}

impl Until {
    /// Whether that is now, or was.
    pub fn is_over(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed) || self.at.is_some_and(|at| Instant::now() >= at)
    }
}

/// Threads that work on a document each. More documents are on the way: what is read and stored meanwhile
/// takes the store's time, and a thread that is done finds the next one ready.
pub struct Jobs {
    count: usize,
    until: Until,
    memory: Memory,
    /// For documents, in KiB.
    room: Semaphore,
    room_kib: u32,
    /// None when this ends, and where the system gives none.
    threads: Option<Runtime>,
}

/// What bounds the memory of all documents of a run together.
#[derive(Clone, Debug)]
pub struct Memory {
    /// Calls of plugins: each takes one part.
    calls: Arc<Room>,
    /// Table files that are made and not yet stored, in bytes.
    files: Arc<Room>,
}

impl Memory {
    /// Waits until a plugin may be called.
    pub fn for_call(&self) -> Option<Part> {
        self.calls.take(1, Duration::MAX)
    }

    /// Waits until there is room for this number of bytes of table files.
    pub fn for_files(&self, bytes: u64) -> Option<Part> {
        self.files.take(bytes, Duration::MAX)
    }
}

/// How much all documents that are on the way may have together, in bytes, or less if the limit for one is
/// less; a larger one is on the way alone.
const DOCUMENTS_BYTES_MAX: u64 = 64 << 20;

/// Why something was not done.
#[derive(Debug)]
pub enum Undone {
    /// It was too late to begin it.
    NoTime,
    /// The document can't be read, or it went wrong.
    Refused(Refused),
}

impl Undone {
    /// For the report.
    pub fn problem(self) -> Problem {
        match self {
            Undone::NoTime => {
                let message = "waits for the next run: there was no time left for it in this one";
                Problem::new(Action::Retry, message)
            }
            Undone::Refused(refused) => Problem::new(Action::Document, refused),
        }
    }
}

impl From<Refused> for Undone {
    fn from(refused: Refused) -> Self {
        Undone::Refused(refused)
    }
}

impl Jobs {
    /// So many threads, at least one.
    pub fn new(count: usize, until: Until, limits: &Limits) -> Self {
        let count = count.max(1);
        let room_kib = limits.document_bytes.min(DOCUMENTS_BYTES_MAX) / 1024;
        let room_kib = u32::try_from(room_kib).unwrap_or(u32::MAX).max(1);
        let files = limits.output_bytes.saturating_mul(FILES_OF_DOCUMENT);
        let memory = Memory { calls: Room::new(count as u64), files: Room::new(files) };
        // They begin when there is something to do.
        let threads = Builder::new_current_thread().max_blocking_threads(count).build().ok();
        Jobs { count, until, memory, room: Semaphore::new(room_kib as usize), room_kib, threads }
    }

    /// How many threads there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How many documents are on the way. One at a time is that.
    pub fn on_the_way(&self) -> usize {
        const FOR_EACH: usize = 16;
        if self.count == 1 { 1 } else { self.count * FOR_EACH }
    }

    /// When the time of the run is up, if it has an end.
    pub fn end(&self) -> Option<Instant> {
        self.until.at
    }

    /// What bounds the memory of all documents together.
    pub fn memory(&self) -> Memory {
        self.memory.clone()
    }

    /// Whether nothing more is begun.
    pub fn is_over(&self) -> bool {
        self.until.is_over()
    }

    /// Waits until there is room for a document of so many bytes, and keeps it for that.
    pub async fn room(&self, bytes: u64) -> Option<SemaphorePermit<'_>> {
        let kib = u32::try_from(bytes / 1024).unwrap_or(u32::MAX).clamp(1, self.room_kib);
        // It is never closed.
        self.room.acquire_many(kib).await.ok()
    }

    /// Things in their order, each when there is room for its bytes: none waits for the room of one after it.
    pub fn one_by_one<'j, T: 'j>(
        &'j self,
        all: impl IntoIterator<Item = T> + 'j,
        bytes: impl Fn(&T) -> u64 + 'j,
    ) -> impl Stream<Item = (T, Option<SemaphorePermit<'j>>)> + Unpin {
        Box::pin(stream::iter(all).then(move |one| {
            let bytes = bytes(&one);
            async move { (one, self.room(bytes).await) }
        }))
    }

    /// Has a thread do something, after what others asked for before.
    pub async fn run<T: Send + 'static>(
        &self,
        action: impl FnOnce() -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, Undone> {
        let (until, span) = (self.until.clone(), Span::current());
        let threads =
            self.threads.as_ref().map_or_else(Handle::current, |own| own.handle().clone());
        let ran = threads.spawn_blocking(move || {
            // It may have waited for long.
            if until.is_over() {
                return Err(Undone::NoTime);
            }
            Ok(span.in_scope(action)?)
        });
        let _wanted = Wanted(ran.abort_handle());
        ran.await.unwrap_or_else(|panic| Err(Refused::Panic { what: panic.to_string() }.into()))
    }
}

/// Gives what a stream yields to `take`, one after another, while the stream goes on. Whatever is in flight in a
/// stream stands still while the stream is not polled, and may hold what `take` waits for, such as the store's
/// permits: so the stream is polled at all times.
pub async fn hand_over<T>(stream: impl Stream<Item = T>, mut take: impl AsyncFnMut(T)) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let produced = async move {
        let mut stream = pin!(stream);
        while let Some(one) = stream.next().await {
            // The receiver lives as long as this does.
            let _ = sender.send(one);
        }
    };
    let taken = async {
        while let Some(one) = receiver.recv().await {
            take(one).await;
        }
    };
    join(produced, taken).await;
}

/// What was asked for is wanted as long as this is there; after that it is not begun any more.
struct Wanted(AbortHandle);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        // What threads are still at is not waited for.
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_waited_until_it_was_too_late_is_not_begun() {
        let until = Until::default();
        let jobs = Jobs::new(1, until.clone(), &Limits::default());
        let (begin, begun) = oneshot::channel();
        let (end, ended) = mpsc::channel();
        let first = jobs.run(move || Ok((begin.send(()), ended.recv()).1.is_ok()));
        let second = jobs.run(|| Ok(true));
        let meanwhile = async {
            begun.await.unwrap();
            until.is_ending.store(true, Ordering::Relaxed);
            end.send(()).unwrap();
        };
        let (first, second, ()) = tokio::join!(first, second, meanwhile);
        assert!(matches!(first, Ok(true)), "{first:?}");
        assert!(matches!(second, Err(Undone::NoTime)), "{second:?}");
    }

    #[tokio::test]
    async fn what_a_stream_holds_does_not_block_who_takes_from_it() {
        let permits = Semaphore::new(1);
        let hold = |number| {
            let permits = &permits;
            async move {
                let _permit = permits.acquire().await;
                tokio::task::yield_now().await;
                number
            }
        };
        let mut taken = Vec::new();
        let all = hand_over(stream::iter(0..100).map(hold).buffered(8), async |number| {
            let _permit = permits.acquire().await;
            tokio::task::yield_now().await;
            taken.push(number);
        });
        let in_time = tokio::time::timeout(Duration::from_secs(60), all).await;
        assert!(in_time.is_ok(), "each waits for the other");
        assert!(taken.into_iter().eq(0..100));
    }

    #[tokio::test]
    async fn a_panic_is_of_what_was_worked_on() {
        let jobs = Jobs::new(2, Until::default(), &Limits::default());
        let failed = jobs.run(|| -> Result<(), Refused> { panic!("no") }).await;
        assert!(matches!(failed, Err(Undone::Refused(Refused::Panic { .. }))), "{failed:?}");
        assert!(matches!(jobs.run(|| Ok(5)).await, Ok(5)));
    }
}
