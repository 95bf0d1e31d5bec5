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
    /// Takes the value at a place, before which no blank is; none if something is odd. It is as it was made
    /// before that: it takes one value in all.
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
        if let Some(after) = self.take(self.begin(at), b'}') {
            return Some(after);
        }
        loop {
            at = self.begin(member(at)?.get());
            match self.byte(at) {
                b',' => at += 1,
                _ => return self.take(at, b'}'),
            }
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
            at = self.begin(element(at)?.get());
            match self.byte(at) {
                b',' => at = self.begin(at + 1),
                _ => return self.take(at, b']'),
            }
        }
    }

    /// What a name begins with, to be compared with those that are known; nothing like them at the end.
    #[inline(always)]
    pub(crate) fn first(self, at: usize) -> u64 {
        self.eight(at).unwrap_or_default()
    }

    #[inline(always)]
    fn eight(self, at: usize) -> Option<u64> {
        let eight = self.0.as_bytes().get(at..)?.first_chunk()?;
        Some(u64::from_le_bytes(*eight))
    }

    /// The place of a member's value, if its name is this one and written as it usually is.
    #[inline(always)]
    pub(crate) fn after_name(self, at: usize, first: u64, name: &Name) -> Option<usize> {
        let rest = |word: usize| {
            name.masks[word] == 0
                || self.eight(at + word * 8).is_some_and(|eight| name.has(word, eight))
        };
        let is_it = name.has(0, first) && rest(1) && rest(2) && rest(3);
        is_it.then_some(at + name.len)
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
        *self = number;
        if is_plain { After::new(at) } else { None }
    }
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
            _ => {
                set(self, Some(T::default()));
                self.as_mut()?.fill(json, at)
            }
        }
    }
}

impl<'a, T: Quick<'a>> Quick<'a> for Vec<T> {
    fn fill(&mut self, json: Json<'a>, at: usize) -> Option<After> {
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

/// Which of these names a member has, and the place of its value; none of the function around it if
/// something is odd. What else it may be called is for an expression that gets that place.
macro_rules! named {
    ($json:ident, $at:ident, { $($name:literal => $known:expr,)+ _ => $other:expr $(,)? }) => {{
        let first = $json.first($at);
        let (known, $at) = $(if let Some(after) = $json.after_name($at, first, const { &$crate::quick::Name::new($name) }) {
            ($known, after)
        } else)+ {
            let (name, $at) = $json.name($at)?;
            let $at = $json.begin($at);
            let known = match name {
                $($name => $known,)+
                _ => $other,
            };
            (known, $at)
        };
        (known, $json.begin($at))
    }};
}
pub(crate) use named;

/// Reads an object into a struct whose fields can all be missing. Other members are passed over.
macro_rules! quick {
    ($object:ident { $($name:literal => $field:ident),+ $(,)? }) => {
        impl<'a> $crate::quick::Quick<'a> for $object<'a> {
            fn fill(
                &mut self,
                json: $crate::quick::Json<'a>,
                at: usize,
            ) -> Option<$crate::quick::After> {
                #[derive(Clone, Copy)]
                #[expect(non_camel_case_types, reason = "named for fields")]
                enum Place { $($field),+ }
                let mut met = 0_u32;
                json.object(at, |at| {
                    let (place, at) = $crate::quick::named!(json, at, {
                        $($name => Place::$field,)+
                        _ => return json.skip(at),
                    });
                    // A member that is there twice is odd.
                    let bit = 1 << place as u32;
                    if met & bit != 0 {
                        return None;
                    }
                    met |= bit;
                    match place {
                        $(Place::$field => self.$field.fill(json, at),)+
                    }
                })
            }
        }
    };
}
pub(crate) use quick;
