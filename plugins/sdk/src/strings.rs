//! Where strings in JSON end, found sixteen bytes at a time.

use wide::u8x16;

/// How many bytes are looked at without a question in between: more than most strings have.
pub const TOGETHER: usize = 32;

/// The place of the next quote or backslash in a JSON text, from a place on, or the text's end.
#[inline(always)]
pub fn quote_or_backslash(json: &[u8], from: usize) -> usize {
    find(json, from, |bytes| bytes.simd_eq(u8x16::splat(b'"')) | bytes.simd_eq(u8x16::splat(b'\\')))
        .unwrap_or_else(|at| one_by_one(json, at))
}

/// The place of the next quote in a JSON text, from a place on; none also if it is among the text's last bytes.
#[inline(always)]
pub fn quote(json: &[u8], from: usize) -> Option<usize> {
    find(json, from, |bytes| bytes.simd_eq(u8x16::splat(b'"'))).ok()
}

/// The place of the first byte that is marked, or the place from which on there are too few to look at together.
#[inline(always)]
fn find(json: &[u8], from: usize, mark: impl Fn(u8x16) -> u8x16) -> Result<usize, usize> {
    let marked = |bytes: [u8; 16]| mark(u8x16::new(bytes)).to_bitmask();
    let mut at = from;
    while let Some(bytes) = json.get(at..at + TOGETHER) {
        let [first, second] = bytes.as_chunks::<16>().0 else { break };
        let found = marked(*first) | marked(*second) << 16;
        if found != 0 {
            return Ok(at + found.trailing_zeros() as usize);
        }
        at += TOGETHER;
    }
    Err(at)
}

/// The same for a text's last bytes.
#[cold]
#[inline(never)]
fn one_by_one(json: &[u8], from: usize) -> usize {
    let rest = json.get(from..).unwrap_or_default();
    let found = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'));
    found.map_or(json.len(), |found| from + found)
}

/// Which bytes of two texts are the same, each a bit, the first one the lowest.
#[inline(always)]
pub fn same(one: &[u8; TOGETHER], other: &[u8; TOGETHER]) -> u32 {
    let half = |at: usize| {
        let of = |text: &[u8; TOGETHER]| u8x16::new(text.as_chunks::<16>().0[at]);
        of(one).simd_eq(of(other)).to_bitmask()
    };
    half(0) | half(1) << 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_one_from_a_place_on_is_found_wherever_it_stands() {
        for length in [0, 1, 15, 16, 31, 32, 33, 64, 65, 200] {
            let mut json = vec![b'x'; length];
            assert_eq!(quote_or_backslash(&json, 0), length);
            for at in 0..length {
                for (one, other) in [(b'"', b'\\'), (b'\\', b'"')] {
                    json[at] = one;
                    json[length - 1] = other;
                    assert_eq!(quote_or_backslash(&json, 0), at, "{length}");
                    assert_eq!(quote_or_backslash(&json, at), at, "{length}");
                    assert_eq!(
                        quote_or_backslash(&json, at + 1),
                        length - usize::from(at + 1 < length),
                        "{length}"
                    );
                }
                json.fill(b'x');
            }
            for byte in (0..=u8::MAX).filter(|byte| !b"\"\\".contains(byte)) {
                json.fill(byte);
                assert_eq!(quote_or_backslash(&json, 0), length, "{byte}");
            }
        }
    }
}
