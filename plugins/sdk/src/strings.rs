//! Strings in JSON, looked at sixteen bytes at a time: where they end, and whether they begin alike.

use wide::u8x16;

/// How many bytes are looked at without a question in between: more than most strings have.
pub const TOGETHER: usize = 32;

/// The place of the next quote or backslash in a JSON text, from a place on, or the text's end. It is near for most:
/// without a loop a function that looks for it stays simple.
#[inline(always)]
pub fn quote_or_backslash(json: &[u8], from: usize) -> usize {
    let near = |at| Some(at + first(quotes_and_backslashes(json, at)?)?);
    near(from).or_else(|| near(from + TOGETHER)).unwrap_or_else(|| far(json, from))
}

/// The same if it may be far.
#[inline(never)]
fn far(json: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(found) = quotes_and_backslashes(json, at) {
        match first(found) {
            Some(place) => return at + place,
            None => at += TOGETHER,
        }
    }
    let rest = json.get(at..).unwrap_or_default();
    let found = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'));
    found.map_or(json.len(), |found| at + found)
}

/// The place of the next quote in a JSON text, from a place on; none also if it is among the text's last bytes.
#[inline(always)]
pub fn quote(json: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let found = marked(json, at, |bytes| bytes.simd_eq(u8x16::splat(b'"')))?;
        match first(found) {
            Some(place) => return Some(at + place),
            None => at += TOGETHER,
        }
    }
}

#[inline(always)]
fn quotes_and_backslashes(json: &[u8], at: usize) -> Option<u32> {
    let mark =
        |bytes: u8x16| bytes.simd_eq(u8x16::splat(b'"')) | bytes.simd_eq(u8x16::splat(b'\\'));
    marked(json, at, mark)
}

/// Which of the bytes at a place are marked, each a bit, the first one the lowest; none if there are too few of them.
#[inline(always)]
fn marked(json: &[u8], at: usize, mark: impl Fn(u8x16) -> u8x16) -> Option<u32> {
    let bytes: &[u8; TOGETHER] = json.get(at..)?.first_chunk()?;
    let [one, other] = bytes.as_chunks::<16>().0 else { return None };
    let bits = |bytes: [u8; 16]| mark(u8x16::new(bytes)).to_bitmask();
    Some(bits(*one) | bits(*other) << 16)
}

#[inline(always)]
fn first(bits: u32) -> Option<usize> {
    (bits != 0).then_some(bits.trailing_zeros() as usize)
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
