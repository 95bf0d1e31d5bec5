//! The quick way through JSON in which nothing is odd: nearly all of it.
//!
//! Whatever takes a closer look (a value of another type, a member that is there twice, a number that is
//! not plain) is None here. Then the same text is read with `serde_json`, which decides what it is: to say
//! None is never wrong, and nothing has to be told of what was wrong.
//!
//! Places are handed from function to function, in and out, and never kept: so they stay in registers.

use std::{mem, num::NonZero};

use crate::strings::quote_or_backslash;

/// A JSON text.
#[derive(Clone, Copy)]
pub(crate) struct Json<'a>(&'a str);

/// The place after something that was read.
pub(crate) type After = NonZero<usize>;

/// What is read from JSON in the quick way, in its place: values that are handed on are copied on the way.
pub(crate) trait Quick<'a>: Default {
    /// Takes the value at a place, before which no blank is unless it can be missing; none if something is odd. It
    /// is as it was made before that: it takes one value in all.
    fn fill(&mut self, json: Json<'a>, at: usize) -> Option<After>;
}

/// Reads a whole text, in a way that is given the place of its value.
pub(crate) fn whole<'a>(
    text: &'a str,
    read: impl FnOnce(Json<'a>, usize) -> Option<After>,
) -> Option<()> {
    let json = Json(text);
    let after = read(json, json.begin(0))?;
    (json.begin(after.get()) == text.len()).then_some(())
}

/// What there is after the end of a text. In JSON it is not.
const END: u8 = 0;

impl<'a> Json<'a> {
    /// A text.
    pub(crate) fn of(text: &'a str) -> Self {
        Json(text)
    }

    /// What there is at a place.
    #[inline(always)]
    pub(crate) fn byte(self, at: usize) -> u8 {
        self.0.as_bytes().get(at).copied().unwrap_or(END)
    }

    /// The place after the blank that may be at a place.
    #[inline(always)]
    pub(crate) fn begin(self, at: usize) -> usize {
        if self.byte(at) > b' ' { at } else { self.after_blank(at) }
    }

    #[cold]
    #[inline(never)]
    fn after_blank(self, mut at: usize) -> usize {
        while matches!(self.byte(at), b' ' | b'\n' | b'\r' | b'\t') {
            at += 1;
        }
        at
    }

    /// The text between two places.
    pub(crate) fn between(self, begin: usize, end: After) -> Option<&'a str> {
        self.0.get(begin..end.get())
    }

    #[inline(always)]
    fn take(self, at: usize, byte: u8) -> Option<After> {
        if self.byte(at) == byte { After::new(at + 1) } else { None }
    }

    #[inline(always)]
    fn word<const N: usize>(self, at: usize, word: &[u8; N]) -> Option<After> {
        let is_there = self.0.as_bytes().get(at..)?.first_chunk() == Some(word);
        if is_there { After::new(at + N) } else { None }
    }

    /// The members of an object, each from the place of its name on, before which there may be blank.
    #[inline(always)]
    pub(crate) fn object(
        self,
        at: usize,
        mut member: impl FnMut(usize) -> Option<After>,
    ) -> Option<After> {
        let mut at = self.take(at, b'{')?.get();
        if self.byte(at) != b'"'
            && let Some(after) = self.take(self.begin(at), b'}')
        {
            return Some(after);
        }
        loop {
            let end = member(at)?.get();
            at = match self.byte(end) {
                b',' => end + 1,
                b'}' => return After::new(end + 1),
                _ => match self.after_blank(end) {
                    end if self.byte(end) == b',' => end + 1,
                    end => return self.take(end, b'}'),
                },
            };
        }
    }

    /// The elements of an array, each from its place on.
    #[inline(always)]
    pub(crate) fn array(
        self,
        at: usize,
        mut element: impl FnMut(usize) -> Option<After>,
    ) -> Option<After> {
        let mut at = self.begin(self.take(at, b'[')?.get());
        if let Some(after) = self.take(at, b']') {
            return Some(after);
        }
        loop {
            let end = element(at)?.get();
            at = match self.byte(end) {
                b',' => self.begin(end + 1),
                b']' => return After::new(end + 1),
                _ => match self.after_blank(end) {
                    end if self.byte(end) == b',' => self.begin(end + 1),
                    end => return self.take(end, b']'),
                },
            };
        }
    }

    /// What a name begins with, to be compared with those that are known; nothing like them at the end.
    #[inline(always)]
    pub(crate) fn first(self, at: usize) -> [u64; 2] {
        let sixteen = self.0.as_bytes().get(at..).and_then(<[u8]>::first_chunk::<16>);
        let both = u128::from_le_bytes(sixteen.copied().unwrap_or_default());
        [both as u64, (both >> 64) as u64]
    }

    #[inline(always)]
    fn eight(self, at: usize) -> Option<u64> {
        let eight = self.0.as_bytes().get(at..)?.first_chunk()?;
        Some(u64::from_le_bytes(*eight))
    }

    /// The place of a member's value, if its name is this one and written as it usually is.
    #[inline(always)]
    pub(crate) fn after_name(self, at: usize, first: [u64; 2], name: &Name) -> Option<usize> {
        let is_it = name.has(0, first[0])
            && name.has(1, first[1])
            && self.has_word(at, name, 2)
            && self.has_word(at, name, 3);
        is_it.then_some(at + name.len)
    }

    #[inline(always)]
    fn has_word(self, at: usize, name: &Name, word: usize) -> bool {
        name.masks[word] == 0
            || self.eight(at + word * 8).is_some_and(|eight| name.has(word, eight))
    }

    /// The number of a member's name, however it is written, and the place of its value.
    #[cold]
    #[inline(never)]
    pub(crate) fn other_name(self, at: usize, names: &[(&[u8], u32)]) -> Option<Named> {
        let (name, at) = self.name(at)?;
        let known = names.iter().find(|(known, _)| *known == name);
        Named::new(known.map_or(OTHER, |(_, number)| *number), self.begin(at))
    }

    /// A member's name however it is written, and the place of what follows.
    pub(crate) fn name(self, at: usize) -> Option<(&'a [u8], usize)> {
        let begun = self.take(self.begin(at), b'"')?.get();
        let end = quote_or_backslash(self.0.as_bytes(), begun);
        let name = self.0.as_bytes().get(begun..end)?;
        let after = self.begin(self.take(end, b'"')?.get());
        Some((name, self.take(after, b':')?.get()))
    }

    /// A text in which nothing is escaped, and the place after it.
    #[inline(always)]
    pub(crate) fn plain(self, at: usize) -> Option<(&'a str, After)> {
        let begun = self.take(at, b'"')?.get();
        let end = quote_or_backslash(self.0.as_bytes(), begun);
        let after = self.take(end, b'"')?;
        Some((self.0.get(begun..end)?, after))
    }

    /// Any text, and the place after it.
    #[cold]
    pub(crate) fn text(self, at: usize) -> Option<(String, After)> {
        let after = self.after_text(at)?;
        Some((serde_json::from_str(self.between(at, after)?).ok()?, after))
    }

    fn after_text(self, at: usize) -> Option<After> {
        let mut at = self.take(at, b'"')?.get();
        loop {
            at = quote_or_backslash(self.0.as_bytes(), at);
            match self.byte(at) {
                // What is escaped is no end.
                b'\\' => at += 2,
                _ => return self.take(at, b'"'),
            }
        }
    }

    /// The place after a value, of which no more is looked at than where it ends.
    pub(crate) fn skip(self, at: usize) -> Option<After> {
        // What most members have that nobody looks at.
        match self.byte(at) {
            b't' => return self.word(at, b"true"),
            b'n' => return self.word(at, b"null"),
            b'f' => return self.word(at, b"false"),
            _ => {}
        }
        let (mut at, mut depth) = (at, 0_usize);
        loop {
            at = self.begin(at);
            at = match self.byte(at) {
                b'"' => self.after_text(at)?.get(),
                b'{' | b'[' => {
                    depth += 1;
                    at + 1
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    at + 1
                }
                b',' | b':' if depth > 0 => at + 1,
                b',' | b':' => return None,
                _ => self.after_word(at)?,
            };
            if depth == 0 {
                return After::new(at);
            }
        }
    }

    /// The place after a number, or a word; none if there is nothing of that kind.
    fn after_word(self, begun: usize) -> Option<usize> {
        let mut at = begun;
        while matches!(self.byte(at), b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'+' | b'-' | b'.')
        {
            at += 1;
        }
        (at > begun).then_some(at)
    }
}

/// Gives a value to what has none yet: there is nothing to be given back, and nothing looks for it.
#[inline(always)]
pub(crate) fn set<T>(place: &mut T, value: T) {
    mem::forget(mem::replace(place, value));
}

impl<'a> Quick<'a> for i64 {
    fn fill(&mut self, json: Json<'a>, begun: usize) -> Option<After> {
        let text = json.eight(begun).unwrap_or_default();
        let digits = digits_at_start(text);
        let at = begun + digits as usize;
        let is_usual = matches!(text as u8, b'1'..=b'9')
            && digits < 8
            && matches!(json.byte(at), b',' | b'}' | b']' | ..=b' ');
        if !is_usual {
            return fill_long(self, json, begun);
        }
        *self = number(text << (u64::BITS - 8 * digits)) as i64;
        After::new(at)
    }
}

/// How many of eight bytes, from the first one on, are digits.
#[inline(always)]
fn digits_at_start(text: u64) -> u32 {
    const EACH: u64 = u64::MAX / 0xff;
    // The upper half of a digit's byte is 3, and still is if 6 is added to the byte.
    let more = (text & (0x7f * EACH)) + 6 * EACH;
    let halves = text & (0xf0 * EACH) | (more & (0xf0 * EACH)) >> 4;
    (halves ^ (0x33 * EACH)).trailing_zeros() / 8
}

/// The number that eight digits make, the first one in the lowest byte: two bytes at a time make one of two digits,
/// then of four, then of eight.
#[inline(always)]
fn number(digits: u64) -> u64 {
    let digits = digits & 0x0f0f_0f0f_0f0f_0f0f;
    let pairs = (digits.wrapping_mul((10 << 8) + 1) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul((100 << 16) + 1) >> 16) & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul((10_000 << 32) + 1) >> 32
}

/// Reads a number that is zero, or longer than most, or near the text's end.
#[cold]
#[inline(never)]
fn fill_long(place: &mut i64, json: Json<'_>, begun: usize) -> Option<After> {
    const DIGITS_MAX: usize = 15;
    let (mut at, mut number) = (begun, 0_i64);
    while json.byte(at).is_ascii_digit() && at - begun <= DIGITS_MAX {
        number = number * 10 + i64::from(json.byte(at) - b'0');
        at += 1;
    }
    let digits = at - begun;
    let is_plain = !matches!(json.byte(at), b'.' | b'e' | b'E')
        && (1..=DIGITS_MAX).contains(&digits)
        && (digits == 1 || json.byte(begun) != b'0');
    *place = number;
    if is_plain { After::new(at) } else { None }
}

impl<'a> Quick<'a> for bool {
    fn fill(&mut self, json: Json<'a>, at: usize) -> Option<After> {
        *self = json.byte(at) == b't';
        match *self {
            true => json.word(at, b"true"),
            false => json.take(at, b'f').and_then(|after| json.word(after.get(), b"alse")),
        }
    }
}

impl<'a, T: Quick<'a>> Quick<'a> for Option<T> {
    #[inline(always)]
    fn fill(&mut self, json: Json<'a>, at: usize) -> Option<After> {
        match json.byte(at) {
            b'n' => json.word(at, b"null"),
            ..=b' ' => fill_after_blank(self, json, at),
            _ => {
                set(self, Some(T::default()));
                self.as_mut()?.fill(json, at)
            }
        }
    }
}

#[cold]
#[inline(never)]
fn fill_after_blank<'a, T: Quick<'a>>(place: &mut T, json: Json<'a>, at: usize) -> Option<After> {
    let value = json.after_blank(at);
    if value > at { place.fill(json, value) } else { None }
}

impl<'a, T: Quick<'a>> Quick<'a> for Vec<T> {
    fn fill(&mut self, json: Json<'a>, at: usize) -> Option<After> {
        // As many as most have, so that it need not grow.
        const AT_FIRST: usize = 2;
        set(self, Vec::with_capacity(AT_FIRST));
        json.array(at, |at| self.push_mut(T::default()).fill(json, at))
    }
}

/// A name as it usually stands in a text: in quotes, a colon after it, no blank between.
pub(crate) struct Name {
    words: [u64; NAME_WORDS],
    /// Which bits of them count.
    masks: [u64; NAME_WORDS],
    len: usize,
}

/// So many times eight bytes a name may have here, quotes and colon included.
const NAME_WORDS: usize = 4;

impl Name {
    /// Of a name in which nothing is escaped.
    pub(crate) const fn new(name: &[u8]) -> Self {
        let mut bytes = [[0_u8; 8]; NAME_WORDS];
        let mut masks = bytes;
        let len = name.len() + 3;
        let mut at = 0;
        while at < len {
            let end = name.len() + 1;
            let byte = if at == 0 || at == end {
                b'"'
            } else if at < end {
                name[at - 1]
            } else {
                b':'
            };
            bytes[at / 8][at % 8] = byte;
            masks[at / 8][at % 8] = u8::MAX;
            at += 1;
        }
        Name { words: words(bytes), masks: words(masks), len }
    }

    #[inline(always)]
    fn has(&self, word: usize, eight: u64) -> bool {
        eight & self.masks[word] == self.words[word]
    }
}

const fn words(bytes: [[u8; 8]; NAME_WORDS]) -> [u64; NAME_WORDS] {
    let mut words = [0; NAME_WORDS];
    let mut at = 0;
    while at < NAME_WORDS {
        words[at] = u64::from_le_bytes(bytes[at]);
        at += 1;
    }
    words
}

/// The number of a name that nobody knows.
pub(crate) const OTHER: u32 = u32::MAX;

/// A name's number, and the place of what it names: in one number, as functions hand out no more.
#[derive(Clone, Copy)]
pub(crate) struct Named(NonZero<u64>);

impl Named {
    fn new(number: u32, at: usize) -> Option<Self> {
        let at = u32::try_from(at).ok()?;
        NonZero::new(u64::from(number) << 32 | u64::from(at)).map(Named)
    }

    /// The number, and the place.
    pub(crate) fn get(self) -> (u32, usize) {
        ((self.0.get() >> 32) as u32, self.0.get() as u32 as usize)
    }
}

/// The number that a member's name has here, or `OTHER`, and the place of its value or of the blank before that; none
/// of the function around it if something is odd.
macro_rules! named {
    ($json:ident, $at:ident, [$($name:literal => $number:expr),+ $(,)?]) => {{
        let first = $json.first($at);
        $(if let Some(after) = $json.after_name($at, first, const { &$crate::quick::Name::new($name) }) {
            ($number, after)
        } else)+ {
            $json.other_name($at, &[$(($name, $number)),+])?.get()
        }
    }};
}
pub(crate) use named;

/// Reads an object into a struct whose fields can all be missing. Other members are passed over; those that many
/// objects have are named after `else`.
macro_rules! quick {
    ($object:ident { $($name:literal => $field:ident),+ $(,)? } $(else { $($other:literal),+ })?) => {
        impl<'a> $crate::quick::Quick<'a> for $object<'a> {
            #[expect(non_camel_case_types, non_upper_case_globals, reason = "named for fields")]
            fn fill(
                &mut self,
                json: $crate::quick::Json<'a>,
                at: usize,
            ) -> Option<$crate::quick::After> {
                enum Place { $($field),+ }
                $(const $field: u32 = Place::$field as u32;)+
                // A bit for each.
                const { assert!([$($field),+].len() <= u32::BITS as usize) };
                let mut met = 0_u32;
                json.object(at, |at| {
                    let (place, at) = $crate::quick::named!(json, at, [
                        $($name => $field,)+ $($($other => $crate::quick::OTHER),+)?
                    ]);
                    // A member that is there twice is odd.
                    let bit = 1_u32.unbounded_shl(place);
                    match place {
                        _ if met & bit != 0 => None,
                        $($field => {
                            met |= bit;
                            self.$field.fill(json, at)
                        })+
                        _ => json.skip(at),
                    }
                })
            }
        }
    };
}
pub(crate) use quick;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_as_serde_reads_it_or_left_to_that() {
        let lengths = (0..18).map(|length| "9876543210987654321"[..length].to_owned());
        let powers = (0..18).map(|length| format!("1{}", "0".repeat(length)));
        let odd = [
            "",
            "-1",
            "00",
            "01",
            "1.5",
            "1e3",
            "1E3",
            "12345678.5",
            "1x",
            "/1",
            ":1",
            "1:",
            "1\u{e9}",
        ];
        for text in lengths.chain(powers).chain(odd.map(str::to_owned)) {
            for after in ["", ",", "}", "]       ", ",\"name\":1"] {
                let json = format!("{text}{after}");
                let mut read = 0_i64;
                let Some(end) = read.fill(Json::of(&json), 0) else {
                    // Never for what nearly all numbers are.
                    let is_usual = text.len() < 8 && !text.starts_with('0') || text == "0";
                    assert!(!is_usual || text.parse::<u32>().is_err(), "{json}");
                    continue;
                };
                let number = &json[..end.get()];
                assert_eq!(serde_json::from_str::<i64>(number).ok(), Some(read), "{json}");
                let goes_on = text.starts_with(number) && text.len() > number.len();
                assert!(!goes_on || !text[number.len()..].starts_with(['.', 'e', 'E']), "{json}");
            }
        }
    }

    #[test]
    fn digits_are_told_from_all_other_bytes() {
        for byte in 0..=u8::MAX {
            for place in 0..8 {
                let mut text = [b'9'; 8];
                text[place] = byte;
                let expected = if byte.is_ascii_digit() { 8 } else { place as u32 };
                assert_eq!(
                    digits_at_start(u64::from_le_bytes(text)),
                    expected,
                    "{byte} at {place}"
                );
            }
        }
        for number_ in [0_u32, 7, 10, 99_999_999, 12_345_678, 90_000_001] {
            let text = format!("{number_:08}");
            let eight = u64::from_le_bytes(*text.as_bytes().first_chunk().unwrap());
            assert_eq!(number(eight), u64::from(number_));
        }
    }
}
