//! What plugins look at in a page: a page is cut to what a plugin says it reads, and the way to it. Plugins that
//! read the same share what is left.
//!
//! Patterns are member names joined by dots, with array levels left out, beginning at any depth. What a
//! pattern names is kept whole. Arrays keep their length: what is left of an element may be an empty object.
//! Pages are JSON that was read before, so nothing is checked here but what memory safety asks for.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use spotify_etl_plugin::strings::{TOGETHER, quote, quote_or_backslash, same};

/// How deep a page is cut; what lies deeper is kept whole.
const LEVELS_MAX: usize = 256;
/// How many members are remembered: more than Spotify's pages have.
const KNOWN_MAX: usize = 1_000;
/// How many of them are looked at for one.
const LOOKS_MAX: usize = 64;
/// In a page no more than as many and one in so many bytes: nobody can make that take long.
const BYTES_PER_LOOK: usize = 16;
/// How many pieces are kept until they are copied.
const PIECES_MAX: usize = 4_096;
/// Nothing of a pattern is matched so far.
const NOTHING: u16 = 0;
/// A pattern is matched to its end.
const WHOLE: u16 = u16::MAX;

/// What several plugins read.
#[derive(Debug)]
pub struct Projection {
    /// Of each plugin, in order: which reader has what it reads, or none if it wants pages as they are.
    plugins: Vec<Option<usize>>,
    readers: Vec<Reader>,
}

/// One plugin's patterns as a machine: from a state, by a name, to a state.
#[derive(Debug)]
struct Reader {
    /// Each name that patterns have, and its number.
    names: HashMap<Vec<u8>, u16>,
    /// By state, then by name.
    next: Vec<u16>,
}

impl Projection {
    /// What plugins read, each its patterns; none for one that wants pages as they are.
    pub fn of<'p>(plugins: impl IntoIterator<Item = Option<&'p [String]>>) -> Self {
        // Plugins that read the same get the same.
        let mut distinct: Vec<&[String]> = Vec::new();
        let mut place = |patterns| {
            distinct.iter().position(|known| *known == patterns).unwrap_or_else(|| {
                distinct.push(patterns);
                distinct.len() - 1
            })
        };
        let plugins = plugins.into_iter().map(|patterns| patterns.map(&mut place)).collect();
        Projection { plugins, readers: distinct.into_iter().map(Reader::of).collect() }
    }

    /// Cuts pages for all plugins.
    pub fn cut<'p>(&self, pages: &'p [impl AsRef<str>]) -> Cut<'_, 'p> {
        let cut = |page: &'p str| {
            let kept = self.readers.iter().map(|reader| Walk::over(reader, page));
            (page, kept.collect())
        };
        Cut { projection: self, pages: pages.iter().map(AsRef::as_ref).map(cut).collect() }
    }
}

/// Pages as plugins get them.
pub struct Cut<'c, 'p> {
    projection: &'c Projection,
    /// Each as it is, and what is left of it for each reader.
    pages: Vec<(&'p str, Vec<Option<String>>)>,
}

impl Cut<'_, '_> {
    /// What a plugin gets, by its place among those that the projection was made of.
    pub fn pages_for(&self, plugin: usize) -> Vec<&str> {
        let reader = self.projection.plugins.get(plugin).copied().flatten();
        self.pages
            .iter()
            .map(|(whole, kept)| reader.and_then(|reader| kept[reader].as_deref()).unwrap_or(whole))
            .collect()
    }
}

impl Reader {
    /// All states that patterns can be in together, by the names that lead there.
    fn of(patterns: &[String]) -> Self {
        // How far each pattern that has begun has got.
        type Begun = Vec<(usize, usize)>;
        let mut names = HashMap::new();
        let mut number = |name: &str| {
            // Plugins may name 2,000.
            let next = names.len() as u16;
            *names.entry(name.as_bytes().to_vec()).or_insert(next)
        };
        let mut split = |pattern: &String| pattern.split('.').map(&mut number).collect();
        let patterns: Vec<Vec<u16>> = patterns.iter().map(&mut split).collect();
        let mut states: Vec<Begun> = vec![Vec::new()];
        let mut numbers: HashMap<Begun, u16> = HashMap::new();
        let (mut next, mut done) = (Vec::new(), 0);
        while let Some(begun) = states.get(done).cloned() {
            let again = (0..patterns.len()).map(|pattern| (pattern, 0));
            let mut by_name: BTreeMap<u16, Begun> = BTreeMap::new();
            for (pattern, at) in begun.into_iter().chain(again) {
                by_name.entry(patterns[pattern][at]).or_default().push((pattern, at + 1));
            }
            let mut row = vec![NOTHING; names.len()];
            for (name, mut after) in by_name {
                after.sort_unstable();
                after.dedup();
                let is_whole = after.iter().any(|(pattern, at)| patterns[*pattern].len() == *at);
                row[usize::from(name)] = match numbers.get(&after) {
                    _ if is_whole => WHOLE,
                    Some(state) => *state,
                    None => {
                        let state = u16::try_from(states.len()).unwrap_or(NOTHING);
                        numbers.insert(after.clone(), state);
                        states.push(after);
                        state
                    }
                };
            }
            next.extend(row);
            done += 1;
        }
        Reader { names, next }
    }

    /// The state after a name that some pattern has.
    #[inline(always)]
    fn after(&self, state: u16, name: u16) -> u16 {
        self.next[usize::from(state) * self.names.len() + usize::from(name)]
    }
}

/// One way through a page, for one reader.
struct Walk<'w> {
    reader: &'w Reader,
    text: &'w str,
    page: &'w [u8],
    /// What is kept and copied.
    kept: String,
    /// What is kept after that, and how many bytes there are of both.
    pieces: Vec<Range<usize>>,
    bytes: usize,
    /// What is kept after that: what lies side by side in the page is one piece.
    open: Range<usize>,
    /// Whether the page was no JSON, so that what was to be kept of it is no text.
    is_torn: bool,
    /// Where the first object is in the array that was looked at last for one: arrays before it have it in them.
    object_at: usize,
    /// The members that were met. Objects that lie in the same member nearly all have the same ones in the same
    /// order, so that each is looked for where it was before.
    known: Vec<Known>,
    /// How many of them may still be looked at where another one was expected.
    looks_left: usize,
}

/// A member that was met before.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Known {
    /// Its name as it stands in the page, with its quotes and colon, and nothing after it.
    spelled: [u8; TOGETHER],
    /// A bit for each byte that counts.
    bytes: u32,
    len: u32,
    /// The state after its name.
    after: u16,
    /// The place of the one that came after it, and of the first one in the objects that lie in it.
    next: u16,
    inner: u16,
}

/// How much was kept at one time.
struct Mark {
    copied: usize,
    pieces: usize,
    bytes: usize,
    open: Range<usize>,
}

/// A member of an object, up to its value: where its parts are.
struct Member {
    /// From its first quote to the place after its last.
    name: Range<usize>,
    colon: usize,
    value: usize,
    /// The state after its name.
    after: u16,
    /// Its place among those that are known.
    place: usize,
}

/// The place of what stands for all members that are not remembered, and is none of them.
const UNKNOWN: usize = 0;
/// The place of what stands for a member that has the page as its value.
const OUTERMOST: usize = 1;

impl<'w> Walk<'w> {
    /// What a reader keeps of a page; none if it ends too early, or would be cut inside of a character, which JSON
    /// never is: then it stays as it is.
    fn over(reader: &'w Reader, text: &'w str) -> Option<String> {
        let page = text.as_bytes();
        let known = vec![Known::new(b"", NOTHING), Known::new(b"", NOTHING)];
        let mut walk = Walk {
            reader,
            text,
            page,
            kept: String::new(),
            pieces: Vec::new(),
            bytes: 0,
            open: 0..0,
            is_torn: false,
            object_at: 0,
            known,
            looks_left: KNOWN_MAX + page.len() / BYTES_PER_LOOK,
        };
        let (end, _) = walk.value(walk.blank(0), NOTHING, OUTERMOST, 0);
        walk.close();
        walk.copy();
        (end <= page.len() && !walk.is_torn).then_some(walk.kept)
    }

    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        self.page.get(at).copied().unwrap_or_default()
    }

    /// The place after the blank that may be at a place.
    #[inline(always)]
    fn blank(&self, at: usize) -> usize {
        if self.byte(at) > b' ' { at } else { self.after_blank(at) }
    }

    #[cold]
    fn after_blank(&self, mut at: usize) -> usize {
        while matches!(self.byte(at), b' ' | b'\n' | b'\r' | b'\t') {
            at += 1;
        }
        at
    }

    /// Keeps what there is of a value, and says where it ends, and whether anything in it is read.
    fn value(&mut self, at: usize, state: u16, of: usize, level: usize) -> (usize, bool) {
        match self.byte(at) {
            b'{' | b'[' if level == LEVELS_MAX => {
                let end = self.skip(at, true).unwrap_or(self.page.len());
                self.keep(at..end);
                (end, true)
            }
            b'{' => self.object(at, state, of, level + 1),
            b'[' => self.array(at, state, of, level + 1),
            _ => {
                let end = self.scalar(at);
                self.keep(at..end);
                (end, false)
            }
        }
    }

    fn array(&mut self, begun: usize, state: u16, of: usize, level: usize) -> (usize, bool) {
        let mut at = self.keep_byte(begun);
        let mut is_read = false;
        loop {
            at = self.blank(at);
            match self.byte(at) {
                b']' => return (self.keep_byte(at), is_read),
                b'}' | 0 => return (at, is_read),
                b',' => at = self.keep_byte(at),
                _ => {
                    let (end, found) = self.value(at, state, of, level);
                    at = end;
                    is_read |= found;
                }
            }
        }
    }

    fn object(&mut self, begun: usize, state: u16, of: usize, level: usize) -> (usize, bool) {
        let mut at = self.keep_byte(begun);
        // Where the comma is before what is next, if there is one.
        let mut comma = at;
        let mut is_read = false;
        let mut place = usize::from(self.known[of].inner);
        loop {
            let member = match self.known(at, place) {
                Some(member) => member,
                None => {
                    at = self.blank(at);
                    match self.byte(at) {
                        b'"' => self.member(at, state, of, place),
                        b',' => {
                            (comma, at) = (at, at + 1);
                            continue;
                        }
                        _ => return (self.keep_byte(at), is_read),
                    }
                }
            };
            place = usize::from(self.known[member.place].next);
            let from = if is_read { comma } else { at };
            let (end, is_kept) = match self.byte(member.value) {
                b'{' | b'[' => self.container(&member, from, level),
                _ => {
                    let end = self.scalar(member.value);
                    if member.after != NOTHING {
                        self.keep_member(&member, from, end);
                    }
                    (end, member.after != NOTHING)
                }
            };
            is_read |= is_kept;
            // What is next, in most cases.
            (comma, at) = match self.byte(end) {
                b',' => (end, end + 1),
                b'}' => return (self.keep_byte(end), is_read),
                _ => (end, end),
            };
        }
    }

    /// The member that begins at a place, if it is the one that is known by a place.
    #[inline(always)]
    fn known(&self, at: usize, place: usize) -> Option<Member> {
        let known = &self.known[place];
        if !known.is_in(self.page.get(at..at + TOGETHER)?.first_chunk()?) {
            return None;
        }
        let colon = at + known.len as usize - 1;
        let value = self.blank(colon + 1);
        Some(Member { name: at..colon, colon, value, after: known.after, place })
    }

    /// The member that begins at a place, whichever it is, of the objects that lie in another.
    #[inline(never)]
    fn member(&mut self, begun: usize, state: u16, of: usize, expected: usize) -> Member {
        if let Some(member) = self.known(begun, expected) {
            return member;
        }
        // From the first one on.
        let (mut last, mut next) = (UNKNOWN, usize::from(self.known[of].inner));
        for _ in 0..self.looks_left.min(LOOKS_MAX) {
            if next == UNKNOWN {
                break;
            }
            self.looks_left -= 1;
            if let Some(member) = self.known(begun, next) {
                return member;
            }
            (last, next) = (next, usize::from(self.known[next].next));
        }
        let (end, is_escaped) = string_end(self.page, begun + 1);
        let after = self.after(state, begun, (end, is_escaped));
        let colon = self.blank(end);
        let value = self.blank(colon + 1);
        let is_usual = colon == end && !is_escaped && of != UNKNOWN && next == UNKNOWN;
        let place = if is_usual { self.remember(begun..end + 1, after, of, last) } else { UNKNOWN };
        Member { name: begun..end, colon, value, after, place }
    }

    /// Remembers a member of the objects that lie in another, after the last one that is known of them, and gives
    /// its place.
    fn remember(&mut self, spelled: Range<usize>, after: u16, of: usize, last: usize) -> usize {
        let place = self.known.len();
        let spelled = self.page.get(spelled).filter(|spelled| spelled.len() <= TOGETHER);
        let (Some(spelled), true) = (spelled, place < KNOWN_MAX) else { return UNKNOWN };
        match last {
            UNKNOWN => self.known[of].inner = place as u16,
            _ => self.known[last].next = place as u16,
        }
        self.known.push(Known::new(spelled, after));
        place
    }

    /// Keeps what there is of a member that holds an array or object, and says where it ends, and whether that
    /// is anything.
    fn container(&mut self, member: &Member, kept_from: usize, level: usize) -> (usize, bool) {
        // Many arrays have only texts or numbers in them, which are kept on the way to something alone.
        let passed = match (member.after, self.byte(member.value)) {
            (WHOLE, _) => self.skip(member.value, true),
            (NOTHING, b'[') if member.value >= self.object_at => self.skip(member.value, false),
            _ => None,
        };
        match passed {
            Some(end) if member.after == WHOLE => {
                self.keep_member(member, kept_from, end);
                (end, true)
            }
            Some(end) => (end, false),
            None => {
                let mark = self.mark();
                self.keep_member(member, kept_from, member.value);
                let (end, found) = self.value(member.value, member.after, member.place, level);
                let is_kept = found || member.after != NOTHING;
                if !is_kept {
                    self.back_to(mark);
                }
                (end, is_kept)
            }
        }
    }

    /// The state after a member's name, which stands there with its quotes.
    fn after(&self, state: u16, begun: usize, (end, is_escaped): (usize, bool)) -> u16 {
        let quoted = self.page.get(begun..end).unwrap_or_default();
        let number = if is_escaped {
            let spelled = serde_json::from_slice::<String>(quoted);
            spelled.ok().and_then(|name| self.reader.names.get(name.as_bytes()))
        } else {
            self.reader.names.get(quoted.get(1..quoted.len() - 1).unwrap_or_default())
        };
        number.map_or(NOTHING, |number| self.reader.after(state, *number))
    }

    /// Keeps a member from the comma before it, or its name, to a place in its value, without blank before that.
    #[inline(always)]
    fn keep_member(&mut self, member: &Member, from: usize, end: usize) {
        let Member { ref name, colon, value, .. } = *member;
        if name.end == colon && colon + 1 == value && name.start - from <= 1 {
            // As it usually stands there, in one piece.
            return self.keep(from..end);
        }
        if from < name.start {
            self.keep(from..from + 1);
        }
        self.keep(name.clone());
        self.keep(colon..colon + 1);
        self.keep(value..end);
    }

    #[inline(always)]
    fn keep(&mut self, range: Range<usize>) {
        if self.open.end != range.start {
            self.close();
            self.open.start = range.start;
        }
        self.open.end = range.end;
    }

    /// Keeps what is open as a piece.
    #[inline(always)]
    fn close(&mut self) {
        if self.open.is_empty() {
            return;
        }
        self.bytes += self.open.len();
        self.pieces.push(self.open.clone());
        if self.pieces.len() == PIECES_MAX {
            self.copy();
        }
    }

    /// Copies what is kept in pieces.
    #[inline(never)]
    fn copy(&mut self) {
        self.kept.reserve(self.bytes.saturating_sub(self.kept.len()));
        for piece in self.pieces.drain(..) {
            match self.text.get(piece) {
                Some(piece) => self.kept.push_str(piece),
                None => self.is_torn = true,
            }
        }
    }

    #[inline(always)]
    fn mark(&self) -> Mark {
        let (copied, pieces) = (self.kept.len(), self.pieces.len());
        Mark { copied, pieces, bytes: self.bytes, open: self.open.clone() }
    }

    fn back_to(&mut self, mark: Mark) {
        match self.kept.len() == mark.copied {
            true => self.pieces.truncate(mark.pieces),
            // What was kept then was copied since.
            false => {
                self.pieces.clear();
                if !self.is_torn {
                    self.kept.truncate(mark.bytes);
                }
            }
        }
        self.bytes = mark.bytes;
        self.open = mark.open;
    }

    /// Keeps what is at a place, and says where it ends.
    #[inline(always)]
    fn keep_byte(&mut self, at: usize) -> usize {
        self.keep(at..at + 1);
        at + 1
    }

    /// The place after a text, number or word.
    #[inline(always)]
    fn scalar(&self, begun: usize) -> usize {
        if self.byte(begun) == b'"' {
            return self.text_end(begun + 1);
        }
        let mut at = begun;
        while !matches!(self.byte(at), b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t' | 0) {
            at += 1;
        }
        at
    }

    /// The place after a text that is open at a place.
    #[inline(always)]
    fn text_end(&self, from: usize) -> usize {
        match quote(self.page, from) {
            // Whether it is escaped takes a closer look.
            Some(end) if self.byte(end.wrapping_sub(1)) != b'\\' => end + 1,
            _ => string_end(self.page, from).0,
        }
    }

    /// The place after an array or object that is passed over; none if there is an object in it, and may not be.
    fn skip(&mut self, begun: usize, may_hold_objects: bool) -> Option<usize> {
        let (mut at, mut depth) = (begun, 0_usize);
        loop {
            match self.byte(at) {
                b'"' => {
                    at = self.text_end(at + 1);
                    continue;
                }
                b'{' if !may_hold_objects => {
                    self.object_at = at;
                    return None;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                // Not even the end of it is there: nothing in it is looked at again.
                0 => return Some(at),
                _ => {}
            }
            at += 1;
            if depth == 0 {
                return Some(at);
            }
        }
    }
}

impl Known {
    /// One of which nothing else is known.
    fn new(spelled: &[u8], after: u16) -> Self {
        let len = spelled.len() as u32;
        let bytes = u32::MAX.unbounded_shr(u32::BITS - len);
        let (next, inner) = (UNKNOWN as u16, UNKNOWN as u16);
        let mut known = Known { spelled: [0; TOGETHER], bytes, len, after, next, inner };
        known.spelled[..spelled.len()].copy_from_slice(spelled);
        known
    }

    /// Whether a text begins with it.
    #[inline(always)]
    fn is_in(&self, text: &[u8; TOGETHER]) -> bool {
        self.bytes != 0 && !same(&self.spelled, text) & self.bytes == 0
    }
}

/// The place after a string that is open at a place, and whether something in it is escaped.
pub(crate) fn string_end(json: &[u8], from: usize) -> (usize, bool) {
    let (mut at, mut is_escaped) = (from, false);
    loop {
        at = quote_or_backslash(json, at);
        match json.get(at) {
            Some(b'"') => return (at + 1, is_escaped),
            // What is escaped is no end.
            Some(_) => {
                is_escaped = true;
                at += 2;
            }
            None => return (json.len(), is_escaped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_keeps_what_it_names_and_the_way_to_it() {
        for (page, patterns, expected) in [
            (r#"{"a":{"b":1,"c":2},"d":3}"#, "a.b", r#"{"a":{"b":1}}"#),
            (r#"{"x":{"a":{"b":1}},"b":2}"#, "a.b", r#"{"x":{"a":{"b":1}}}"#),
            (r#"[{"a":[{"b":{"c":1}},null,5]}]"#, "a.b", r#"[{"a":[{"b":{"c":1}},null,5]}]"#),
            (r#"{"a":{},"b":[],"c":5}"#, "a.x b.x c.x", r#"{"a":{},"b":[],"c":5}"#),
            (r#"{"items":[{"m":["DE","FR"]},null]}"#, "items.id", r#"{"items":[{},null]}"#),
            (r#"{"m":["DE","FR"],"n":{"o":1}}"#, "id", "{}"),
            (r#" { "a" : [ 1 , { "b" : "x\"}" } ] , "c" : 2 } "#, "b", r#"{"a":[1,{"b":"x\"}"}]}"#),
            (r#"{"\u0061":{"b":1},"a":2}"#, "a.b", r#"{"\u0061":{"b":1},"a":2}"#),
            (r#"{"a":[[{"b":1}],"b"]}"#, "b", r#"{"a":[[{"b":1}],"b"]}"#),
            ("5", "a", "5"),
            ("[]", "", "[]"),
        ] {
            let patterns: Vec<_> = patterns.split(' ').map(str::to_owned).collect();
            let projection = Projection::of([Some(patterns.as_slice()), None]);
            let pages = [page.to_owned()];
            let found = projection.cut(&pages);
            let found = [found.pages_for(0), found.pages_for(1)];
            assert_eq!(found, [[expected], [page]], "{patterns:?}");
        }
    }

    #[test]
    fn every_name_is_found_also_where_no_more_are_remembered() {
        // More than there are places, of all lengths, alike at their beginnings and ends.
        let name = |number: usize| {
            format!("{}{number:04}{}", "a".repeat(number % 9), "z".repeat(number % 7))
        };
        let names: Vec<_> = (0..2_000).map(name).collect();
        let (known, other) = names.split_at(1_500);
        let projection = Projection::of([Some(known)]);
        let member = |name: &String| format!("\"{name}\":1");
        let page = |names: &[String]| {
            format!("{{{}}}", names.iter().map(member).collect::<Vec<_>>().join(","))
        };
        let pages = [page(&names), page(other)];
        assert_eq!(projection.cut(&pages).pages_for(0), [page(known).as_str(), "{}"]);
        // Also again and again, in another order, and more of them than are remembered.
        let backwards: Vec<_> = names.iter().rev().cloned().collect();
        let objects = format!("[{},{},{}]", page(&names), page(&backwards), page(&names));
        let backwards: Vec<_> = known.iter().rev().cloned().collect();
        let expected = format!("[{},{},{}]", page(known), page(&backwards), page(known));
        assert_eq!(projection.cut(&[objects]).pages_for(0), [expected]);
    }

    #[test]
    fn what_is_no_json_or_too_deep_comes_to_an_end() {
        let patterns = ["a.b".to_owned()];
        let projection = Projection::of([Some(&patterns[..])]);
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        for page in [
            deep.as_str(),
            "{",
            "[}",
            "{\"a\"",
            "{\"a",
            "{\"a\":",
            "[1,,\"",
            "\"\\",
            "{]",
            "{\"a\"}}",
        ] {
            assert_eq!(projection.cut(&[page.to_owned()]).pages_for(0).len(), 1);
        }
        assert_eq!(projection.cut(std::slice::from_ref(&deep)).pages_for(0)[0].len(), deep.len());
        // What is passed over to the end is not looked at again and again, nor what is looked through for objects.
        for member in ["\"m\":[{],", "\"m\":[x[],"] {
            let open = "{".to_owned() + &member.repeat(1_000_000) + "{";
            assert_eq!(projection.cut(&[open]).pages_for(0).len(), 1);
        }
    }

    #[test]
    fn what_is_kept_in_many_pieces_and_given_up_again_is_as_if_never_kept() {
        let patterns = ["id".to_owned()];
        let projection = Projection::of([Some(&patterns[..])]);
        // A comma and a blank between elements: each is a piece.
        let many = vec!["1"; 3 * PIECES_MAX].join(", ");
        let (dropped, kept) = (format!("{{\"x\":[{many},{{}}]}}"), format!("[{many}]"));
        let page = format!(
            "{{\"a\":{{\"id\":1,\"b\":{dropped},\"c\":5}},\"d\":{dropped},\"id\":{kept},\"e\":{dropped}}}"
        );
        let expected = format!("{{\"a\":{{\"id\":1}},\"id\":{kept}}}");
        assert_eq!(projection.cut(&[page]).pages_for(0), [expected]);
        // Elements of an array lose the blank between them.
        let page = format!("[{many},{{\"id\":\"é\", \"x\":{kept}}}]");
        let expected = format!("[{},{{\"id\":\"é\"}}]", many.replace(' ', ""));
        assert_eq!(projection.cut(&[page]).pages_for(0), [expected]);
    }

    #[test]
    fn any_text_is_cut_to_some_text() {
        let patterns = ["a.b".to_owned(), "é".to_owned()];
        let projection = Projection::of([Some(&patterns[..]), Some(&[]), None]);
        let parts = [
            "{", "}", "[", "]", "\"", ",", ":", "\\", "é", "a", "b", "0", "\0", " ", "\"a\":",
            "\"b\":",
        ];
        let mut random = 1_u64;
        let mut text = || {
            let mut next = |below: usize| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (random >> 33) as usize % below
            };
            let length = next(40);
            (0..length).map(|_| parts[next(parts.len())]).collect::<String>()
        };
        for page in (0..100_000).map(|_| text()) {
            let pages = [page.clone()];
            let cut = projection.cut(&pages);
            assert!(
                cut.pages_for(0)[0].len() <= page.len() && cut.pages_for(1)[0].len() <= page.len()
            );
            assert_eq!(cut.pages_for(2), [page.as_str()]);
        }
    }
}
