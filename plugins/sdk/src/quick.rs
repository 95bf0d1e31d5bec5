//! The quick way through JSON in which nothing is odd: nearly all of it.
//!
//! Whatever takes a closer look (a value of another type, a member that is there twice, a number that is
//! not plain) is None here. Then the same text is read with `serde_json`, which decides what it is: to say
//! None is never wrong, and nothing has to be told of what was wrong.

/// A place in a JSON text.
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

/// What is read from JSON in the quick way, in its place: values that are handed on are copied on the way.
pub(crate) trait Quick<'a>: Default {
    /// Takes the value at the cursor, which is after it then; none if something is odd.
    fn fill(&mut self, json: &mut Cursor<'a>) -> Option<()>;
}

/// Reads a whole text.
pub(crate) fn whole<'a, T>(
    text: &'a str,
    read: impl FnOnce(&mut Cursor<'a>) -> Option<T>,
) -> Option<T> {
    let mut json = Cursor { text, at: 0 };
    let value = read(&mut json)?;
    json.peek();
    (json.at == text.len()).then_some(value)
}

/// What there is after the end of a text. In JSON it is not.
const END: u8 = 0;

impl<'a> Cursor<'a> {
    #[inline(always)]
    fn byte(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(END)
    }

    /// What the next value begins with.
    #[inline(always)]
    pub(crate) fn peek(&mut self) -> u8 {
        let byte = self.byte();
        if byte > b' ' { byte } else { self.peek_after_blank() }
    }

    fn peek_after_blank(&mut self) -> u8 {
        while matches!(self.byte(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
        self.byte()
    }

    /// Where the next value begins, if something looked at it.
    pub(crate) fn place(&self) -> usize {
        self.at
    }

    /// The text from a place on.
    pub(crate) fn since(&self, place: usize) -> Option<&'a str> {
        self.text.get(place..self.at)
    }

    /// Goes back to where it was.
    pub(crate) fn back_to(&mut self, place: usize) {
        self.at = place;
    }

    #[inline(always)]
    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek() == byte).then(|| self.at += 1)
    }

    /// The same without white space before it.
    #[inline(always)]
    fn pass(&mut self, byte: u8) -> Option<()> {
        (self.byte() == byte).then(|| self.at += 1)
    }

    fn word<const N: usize>(&mut self, word: &[u8; N]) -> Option<()> {
        let is_there = self.text.as_bytes().get(self.at..)?.first_chunk() == Some(word);
        is_there.then(|| self.at += N)
    }

    /// The members of an object, each at its name.
    #[inline(always)]
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.take(b'{')?;
        if self.take(b'}').is_some() {
            return Some(());
        }
        loop {
            member(self)?;
            match self.peek() {
                b',' => self.at += 1,
                _ => return self.take(b'}'),
            }
        }
    }

    /// What a name begins with, to be compared with those that are known; nothing like them at the end.
    #[inline(always)]
    pub(crate) fn first(&self) -> u64 {
        self.eight(0).unwrap_or_default()
    }

    #[inline(always)]
    fn eight(&self, after: usize) -> Option<u64> {
        let eight = self.text.as_bytes().get(self.at + after..)?.first_chunk()?;
        Some(u64::from_le_bytes(*eight))
    }

    /// Passes over a name, if it is this one and written as it usually is.
    #[inline(always)]
    pub(crate) fn is(&mut self, first: u64, name: &Name) -> bool {
        let rest = |word: usize| {
            name.masks[word] == 0
                || self.eight(word * 8).is_some_and(|eight| name.has(word, eight))
        };
        let is_it = name.has(0, first) && rest(1) && rest(2) && rest(3);
        if is_it {
            self.at += name.len;
        }
        is_it
    }

    /// Passes over a name however it is written.
    pub(crate) fn name(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let begun = self.at;
        self.at = special(self.text.as_bytes(), begun);
        let name = self.text.as_bytes().get(begun..self.at)?;
        self.pass(b'"')?;
        self.take(b':')?;
        Some(name)
    }

    /// The elements of an array.
    #[inline(always)]
    pub(crate) fn array(&mut self, mut element: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.take(b'[')?;
        if self.take(b']').is_some() {
            return Some(());
        }
        loop {
            element(self)?;
            match self.peek() {
                b',' => self.at += 1,
                _ => return self.take(b']'),
            }
        }
    }

    /// A text in which nothing is escaped.
    #[inline(always)]
    pub(crate) fn plain(&mut self) -> Option<&'a str> {
        let begun = self.at + 1;
        if self.byte() != b'"' {
            return None;
        }
        let end = special(self.text.as_bytes(), begun);
        if self.text.as_bytes().get(end) != Some(&b'"') {
            return None;
        }
        let text = self.text.get(begun..end)?;
        self.at = end + 1;
        Some(text)
    }

    /// Any text.
    #[cold]
    pub(crate) fn string(&mut self) -> Option<String> {
        self.peek();
        let begun = self.at;
        self.pass_string()?;
        serde_json::from_str(self.text.get(begun..self.at)?).ok()
    }

    fn pass_string(&mut self) -> Option<()> {
        self.take(b'"')?;
        loop {
            self.at = special(self.text.as_bytes(), self.at);
            match self.byte() {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                // What is escaped is no end.
                b'\\' => self.at += 2,
                _ => return None,
            }
        }
    }

    /// Passes over a value, of which no more is looked at than where it ends.
    pub(crate) fn skip(&mut self) -> Option<&'a str> {
        self.peek();
        let begun = self.at;
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                b'"' => self.pass_string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => self.at += 1,
                b',' | b':' => return None,
                _ => self.pass_word()?,
            }
            if depth == 0 {
                return self.text.get(begun..self.at);
            }
        }
    }

    /// Passes over a number, or a word; none if there is nothing of that kind.
    fn pass_word(&mut self) -> Option<()> {
        let begun = self.at;
        while matches!(self.byte(), b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'+' | b'-' | b'.') {
            self.at += 1;
        }
        (self.at > begun).then_some(())
    }
}

impl<'a> Quick<'a> for i64 {
    fn fill(&mut self, json: &mut Cursor<'a>) -> Option<()> {
        const DIGITS_MAX: usize = 15;
        json.peek();
        let begun = json.at;
        let mut number = 0_i64;
        while json.byte().is_ascii_digit() && json.at - begun <= DIGITS_MAX {
            number = number * 10 + i64::from(json.byte() - b'0');
            json.at += 1;
        }
        let digits = json.at - begun;
        let is_plain = !matches!(json.byte(), b'.' | b'e' | b'E')
            && (1..=DIGITS_MAX).contains(&digits)
            && (digits == 1 || json.text.as_bytes()[begun] != b'0');
        *self = number;
        is_plain.then_some(())
    }
}

impl<'a> Quick<'a> for bool {
    fn fill(&mut self, json: &mut Cursor<'a>) -> Option<()> {
        *self = json.peek() == b't';
        match *self {
            true => json.word(b"true"),
            false => json.pass(b'f').and_then(|()| json.word(b"alse")),
        }
    }
}

impl<'a, T: Quick<'a>> Quick<'a> for Option<T> {
    #[inline(always)]
    fn fill(&mut self, json: &mut Cursor<'a>) -> Option<()> {
        match json.peek() {
            b'n' => {
                *self = None;
                json.word(b"null")
            }
            _ => self.insert(T::default()).fill(json),
        }
    }
}

impl<'a, T: Quick<'a>> Quick<'a> for Vec<T> {
    fn fill(&mut self, json: &mut Cursor<'a>) -> Option<()> {
        json.array(|json| self.push_mut(T::default()).fill(json))
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
            let byte = if at == 0 || at == end { b'"' } else if at < end { name[at - 1] } else { b':' };
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

/// Which of these names a member has, the cursor at its value then; what it has instead if it is none of
/// them; none if something is odd.
macro_rules! named {
    ($json:ident, { $($name:literal => $known:expr,)+ _ => $other:expr $(,)? }) => {{
        let first = $json.first();
        $(if $json.is(first, const { &$crate::quick::Name::new($name) }) { $known } else)+ {
            match $json.name()? {
                $($name => $known,)+
                _ => $other,
            }
        }
    }};
}
pub(crate) use named;

/// Reads an object into a struct whose fields can all be missing. Other members are passed over.
macro_rules! quick {
    ($object:ident { $($name:literal => $field:ident),+ $(,)? }) => {
        impl<'a> $crate::quick::Quick<'a> for $object<'a> {
            fn fill(&mut self, json: &mut $crate::quick::Cursor<'a>) -> Option<()> {
                #[derive(Clone, Copy)]
                #[expect(non_camel_case_types, reason = "named for fields")]
                enum Place { $($field),+ }
                let mut met = 0_u32;
                json.object(|json| {
                    let place = $crate::quick::named!(json, {
                        $($name => Place::$field,)+
                        _ => return json.skip().map(drop),
                    });
                    // A member that is there twice is odd.
                    let bit = 1 << place as u32;
                    if met & bit != 0 {
                        return None;
                    }
                    met |= bit;
                    match place {
                        $(Place::$field => self.$field.fill(json),)+
                    }
                })
            }
        }
    };
}
pub(crate) use quick;

/// Where the next quote or backslash is, from a place on, or the end. Looks at eight bytes at a time.
#[inline(always)]
fn special(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(sixteen) = bytes.get(at..at + 16) {
        for (eight, after) in sixteen.as_chunks::<8>().0.iter().zip([0, 8]) {
            let found = specials(*eight);
            if found != 0 {
                return at + after + found.trailing_zeros() as usize / 8;
            }
        }
        at += 16;
    }
    special_one_by_one(bytes, at)
}

/// The highest bit of the first byte that is a quote or a backslash is set; of bytes after that one it may
/// lie.
#[inline(always)]
fn specials(eight: [u8; 8]) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let word = u64::from_le_bytes(eight);
    zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\')))
}

/// The same near the end.
#[cold]
fn special_one_by_one(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    let found = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'));
    found.map_or(bytes.len(), |found| from + found)
}
