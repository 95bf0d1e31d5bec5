//! Room for work that takes memory: a budget from which threads take a part and give it back.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A budget, in any unit.
#[derive(Debug)]
pub struct Room {
    max: u64,
    taken: Mutex<u64>,
    given_back: Condvar,
}

/// A part of a [`Room`], given back when this is dropped.
#[derive(Debug)]
pub struct Part {
    room: Arc<Room>,
    amount: u64,
}

impl Room {
    /// A budget of this size, at least 1.
    pub fn new(max: u64) -> Arc<Self> {
        Arc::new(Room { max: max.max(1), taken: Mutex::new(0), given_back: Condvar::new() })
    }

    /// Takes a part, and blocks until there is room for it; all of the room for more than that. Returns
    /// none if there was no room in time.
    pub fn take(self: &Arc<Self>, amount: u64, patience: Duration) -> Option<Part> {
        let amount = amount.min(self.max);
        // So far ahead that there is no such time: without an end.
        let end = Instant::now().checked_add(patience);
        let mut taken = self.taken();
        while *taken + amount > self.max {
            let left =
                end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return None;
            }
            let left = left.min(Duration::from_secs(3600));
            let waited = self.given_back.wait_timeout(taken, left);
            taken = waited.map_or_else(|poisoned| poisoned.into_inner().0, |(taken, _)| taken);
        }
        *taken += amount;
        Some(Part { room: Arc::clone(self), amount })
    }

    fn taken(&self) -> MutexGuard<'_, u64> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        *self.room.taken() -= self.amount;
        self.room.given_back.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_part_is_free_again_when_it_is_dropped_and_no_sooner() {
        let room = Room::new(10);
        let first = room.take(7, Duration::ZERO).unwrap();
        assert!(room.take(4, Duration::from_millis(1)).is_none());
        let second = room.take(3, Duration::ZERO).unwrap();
        let waiting = thread::spawn({
            let room = Arc::clone(&room);
            move || room.take(1_000, Duration::MAX).is_some()
        });
        drop((first, second));
        assert!(waiting.join().unwrap());
        assert!(room.take(10, Duration::ZERO).is_some());
    }
}
