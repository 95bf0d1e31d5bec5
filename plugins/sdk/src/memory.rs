//! A plugin's memory: what is given back in the course of a call is not used again, since all of it ends with the
//! call. To look for what is free would take longer.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    ptr,
};

#[cfg(target_family = "wasm")]
#[global_allocator]
static MEMORY: Memory = Memory::new();

/// So much is taken from the system at once, in bytes: what a component begins with, less its stack and data.
const CHUNK_BYTES: usize = 640 << 10;

/// Takes chunks from the system, and hands them on piece by piece.
struct Memory {
    chunk: Cell<Chunk>,
}

/// Addresses that are free.
#[derive(Clone, Copy)]
struct Chunk {
    next: usize,
    end: usize,
}

// SAFETY: A component has one thread.
#[cfg(target_family = "wasm")]
unsafe impl Sync for Memory {}

impl Memory {
    const fn new() -> Self {
        Memory { chunk: Cell::new(Chunk { next: 0, end: 0 }) }
    }

    /// A piece of the chunk there is, if it has room.
    #[inline(always)]
    fn take(&self, layout: Layout) -> Option<*mut u8> {
        let chunk = self.chunk.get();
        let begin = chunk.next.checked_next_multiple_of(layout.align())?;
        let next = begin.checked_add(layout.size()).filter(|next| *next <= chunk.end)?;
        self.chunk.set(Chunk { next, ..chunk });
        Some(ptr::with_exposed_provenance_mut(begin))
    }

    /// A piece of a new chunk; null if the system has no more.
    #[cold]
    #[inline(never)]
    fn take_new(&self, layout: Layout) -> *mut u8 {
        let piece = layout.pad_to_align();
        let large = Layout::from_size_align(piece.size().max(CHUNK_BYTES), piece.align());
        for chunk in [large.unwrap_or(piece), piece] {
            // SAFETY: Nobody asks for a piece of no bytes.
            let begun = unsafe { System.alloc(chunk) };
            if !begun.is_null() {
                let next = begun.expose_provenance();
                self.chunk.set(Chunk { next, end: next + chunk.size() });
                break;
            }
        }
        self.take(layout).unwrap_or(ptr::null_mut())
    }
}

// SAFETY: Pieces are parts of chunks from the system, aligned as asked for, and never overlap: `next` only goes
// back over the piece that was handed out last, by who gives that back.
unsafe impl GlobalAlloc for Memory {
    #[inline(always)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.take(layout).unwrap_or_else(|| self.take_new(layout))
    }

    #[inline(always)]
    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        let chunk = self.chunk.get();
        if piece.addr() + layout.size() == chunk.next {
            self.chunk.set(Chunk { next: piece.addr(), ..chunk });
        }
    }

    #[inline(always)]
    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let chunk = self.chunk.get();
        let end = piece.addr() + layout.size();
        if end == chunk.next && size <= chunk.end - piece.addr() {
            self.chunk.set(Chunk { next: piece.addr() + size, ..chunk });
            return piece;
        }
        if size <= layout.size() {
            return piece;
        }
        // SAFETY: The caller says that this is a size that a layout can have.
        let larger = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: As for this function.
        let new = unsafe { self.alloc(larger) };
        if !new.is_null() {
            // SAFETY: The old piece has that many bytes, the new one more, and they do not overlap.
            unsafe { ptr::copy_nonoverlapping(piece, new, layout.size()) };
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_aligned_apart_and_keep_what_is_in_them() {
        let memory = Memory::new();
        let mut pieces: Vec<(*mut u8, Layout, u8)> = Vec::new();
        for number in 0..2_000_usize {
            let size = [1, 7, 64, 4_000, 50_000, CHUNK_BYTES, 2 * CHUNK_BYTES]
                [(number * number) % 977 % 7];
            let layout = Layout::from_size_align(size, 1 << (number % 5)).unwrap();
            let mark = number as u8;
            // SAFETY: Every piece is written and read in its size, and none is used after it was given back.
            unsafe {
                match (number % 4, pieces.pop()) {
                    (0, Some((piece, layout, _))) => memory.dealloc(piece, layout),
                    (1, Some((piece, old, mark))) => {
                        let new = memory.realloc(piece, old, old.size() + 9);
                        let layout = Layout::from_size_align(old.size() + 9, old.align()).unwrap();
                        assert_eq!(new.add(old.size() - 1).read(), mark);
                        new.write_bytes(mark, layout.size());
                        pieces.push((new, layout, mark));
                    }
                    (_, last) => pieces.extend(last),
                }
                let piece = memory.alloc(layout);
                piece.write_bytes(mark, size);
                pieces.push((piece, layout, mark));
            }
        }
        for (piece, layout, mark) in pieces {
            assert!(piece.addr().is_multiple_of(layout.align()), "{layout:?}");
            // SAFETY: As above.
            let bytes = unsafe { std::slice::from_raw_parts(piece, layout.size()) };
            assert!(bytes.iter().all(|byte| *byte == mark), "{layout:?}");
        }
    }

    #[test]
    fn what_was_taken_last_can_grow_and_go_in_its_place() {
        let memory = Memory::new();
        let layout = Layout::from_size_align(100, 8).unwrap();
        // SAFETY: Sizes are those that were asked for, and nothing is read.
        unsafe {
            let first = memory.alloc(layout);
            assert_eq!(memory.realloc(first, layout, 200), first);
            let second = memory.alloc(layout);
            assert!(second.addr() >= first.addr() + 200);
            memory.dealloc(second, layout);
            assert_eq!(memory.alloc(layout), second);
            assert_ne!(memory.realloc(first, Layout::from_size_align(200, 8).unwrap(), 300), first);
        }
    }
}
