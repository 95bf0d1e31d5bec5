//! What plugins look at in a page: a page is cut to what a plugin says it reads, and the way to it. Plugins that
//! read the same share what is left.
//!
//! Patterns are member names joined by dots, with array levels left out, beginning at any depth. What a
//! pattern names is kept whole. Arrays keep their length: what is left of an element may be an empty object.
//! Pages are JSON that was read before, so nothing is checked here but what memory safety asks for.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
};

use spotify_etl_plugin::strings::quote_or_backslash;

/// How deep a page is cut; what lies deeper is kept whole.
const LEVELS_MAX: usize = 256;
/// No member of this name is in any pattern.
const UNNAMED: u16 = u16::MAX;
/// Several names have this place.
const SHARED: u16 = UNNAMED - 1;
/// There are two to this power of places for names: enough for most to have one to themselves.
const SLOT_BITS: u32 = 10;
/// Mixes well: of the golden ratio.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
/// How many bytes of a name its head has.
const HEAD_BYTES: usize = 8;
/// So much room there is at first for what is kept of a page, in bytes.
const ROOM_MAX: usize = 1 << 20;
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
    names: Names,
    /// By state, then by name.
    next: Vec<u16>,
    /// By state: which names may lead on, at a glance.
    glances: Vec<Glance>,
}

/// Which names may lead on from a state: by their length, one bit for what they begin with.
#[derive(Clone, Debug, Default)]
struct Glance([u32; GLANCE_LENGTHS]);

/// Longer names count as shorter ones do.
const GLANCE_LENGTHS: usize = 32;

/// The names that patterns have, found by their bytes.
#[derive(Debug, Default)]
struct Names {
    numbers: HashMap<Vec<u8>, u16>,
    by_number: Vec<Vec<u8>>,
    /// By a number that most names have to themselves.
    slots: Vec<Slot>,
    /// Makes these numbers, and so that none is shared if any does.
    multiplier: u64,
}

/// The name that is found at a place, if it is the one that was looked for.
#[derive(Clone, Copy, Debug)]
struct Slot {
    ends: Ends,
    number: u16,
}

/// What a name begins and ends with, and its length: all that most names are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Ends {
    head: u64,
    /// None of a name that is not longer than its head.
    tail: u64,
    length: usize,
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
        let mut names = Names::default();
        let mut split = |pattern: &String| -> Vec<u16> {
            pattern.split('.').map(|name| names.add(name.as_bytes())).collect()
        };
        let patterns: Vec<Vec<u16>> = patterns.iter().map(&mut split).collect();
        names.close();
        let mut states: Vec<Begun> = vec![Vec::new()];
        let mut numbers: HashMap<Begun, u16> = HashMap::new();
        let (mut next, mut glances) = (Vec::new(), Vec::new());
        while let Some(begun) = states.get(glances.len()).cloned() {
            let again = (0..patterns.len()).map(|pattern| (pattern, 0));
            let mut by_name: BTreeMap<u16, Begun> = BTreeMap::new();
            for (pattern, at) in begun.into_iter().chain(again) {
                by_name.entry(patterns[pattern][at]).or_default().push((pattern, at + 1));
            }
            let mut row = vec![NOTHING; names.by_number.len()];
            let mut glance = Glance::default();
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
                glance.add(&names.by_number[usize::from(name)]);
            }
            next.extend(row);
            glances.push(glance);
        }
        Reader { names, next, glances }
    }

    /// The state after a name that some pattern has.
    #[inline(always)]
    fn after(&self, state: u16, name: u16) -> u16 {
        self.next[usize::from(state) * self.names.by_number.len() + usize::from(name)]
    }
}

impl Glance {
    fn add(&mut self, name: &[u8]) {
        self.0[name.len() % GLANCE_LENGTHS] |= Self::bit(name);
    }

    /// Whether a name may be one of them.
    #[inline(always)]
    fn has(&self, name: &[u8]) -> bool {
        self.0[name.len() % GLANCE_LENGTHS] & Self::bit(name) != 0
    }

    #[inline(always)]
    fn bit(name: &[u8]) -> u32 {
        1 << (name.first().copied().unwrap_or_default() % 32)
    }
}

impl Names {
    fn add(&mut self, name: &[u8]) -> u16 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = u16::try_from(self.by_number.len()).unwrap_or(UNNAMED);
        self.by_number.push(name.to_vec());
        self.numbers.insert(name.to_vec(), number);
        number
    }

    /// Gets ready for being asked.
    fn close(&mut self) {
        let ends: Vec<_> = self.by_number.iter().map(|name| Ends::of(name)).collect();
        let is_distinct = |multiplier: &u64| {
            let slots: BTreeSet<_> = ends.iter().map(|ends| ends.slot(*multiplier)).collect();
            slots.len() == ends.len()
        };
        let mut multipliers = (0..u64::BITS).map(|turn| MULTIPLIER.rotate_left(turn) | 1);
        self.multiplier = multipliers.find(is_distinct).unwrap_or(MULTIPLIER);
        self.slots = vec![Slot { ends: Ends::default(), number: UNNAMED }; 1 << SLOT_BITS];
        for (number, ends) in (0..).zip(ends) {
            let slot = &mut self.slots[ends.slot(self.multiplier)];
            let number = if slot.number == UNNAMED { number } else { SHARED };
            *slot = Slot { ends, number };
        }
    }

    #[inline(always)]
    fn find(&self, name: &[u8]) -> u16 {
        let ends = Ends::of(name);
        let slot = &self.slots[ends.slot(self.multiplier)];
        if slot.number == SHARED {
            return self.numbers.get(name).copied().unwrap_or(UNNAMED);
        }
        let is_between = || {
            let known = self.by_number.get(usize::from(slot.number));
            name.len() <= 2 * HEAD_BYTES || known.is_some_and(|known| known == name)
        };
        if slot.ends == ends && is_between() { slot.number } else { UNNAMED }
    }
}

impl Ends {
    #[inline(always)]
    fn of(name: &[u8]) -> Self {
        let length = name.len();
        if let (Some(head), Some(tail)) = (name.first_chunk(), name.last_chunk()) {
            let tail = if length > HEAD_BYTES { u64::from_le_bytes(*tail) } else { 0 };
            return Ends { head: u64::from_le_bytes(*head), tail, length };
        }
        let half = |four: Option<&[u8; 4]>| u64::from(four.copied().map_or(0, u32::from_le_bytes));
        let byte = |at: usize| u64::from(name.get(at).copied().unwrap_or_default());
        let head = match length {
            4.. => half(name.first_chunk()) | half(name.last_chunk()) << 32,
            _ => byte(0) | byte(1) << 8 | byte(2) << 16,
        };
        Ends { head, tail: 0, length }
    }

    #[inline(always)]
    fn slot(self, multiplier: u64) -> usize {
        let mixed = self.head ^ self.tail.rotate_right(29) ^ (self.length as u64).rotate_right(8);
        (mixed.wrapping_mul(multiplier) >> (u64::BITS - SLOT_BITS)) as usize
    }
}

/// One way through a page, for one reader.
struct Walk<'w> {
    reader: &'w Reader,
    text: &'w str,
    page: &'w [u8],
    /// What is kept.
    kept: String,
    /// What is kept after that, and not yet copied: what lies side by side in the page is copied at once.
    open: Range<usize>,
    /// Whether the page was no JSON, so that what was to be kept of it is no text.
    is_torn: bool,
    /// Where the first object is in the array that was looked at last for one: arrays before it have it in them.
    object_at: usize,
}

/// How much was kept at one time.
struct Mark {
    bytes: usize,
    open: Range<usize>,
}

/// A member of an object, up to its value: where its parts are.
struct Member {
    /// The comma before it, if one that is kept comes before it.
    comma: Option<usize>,
    /// From its first quote to the place after its last.
    name: Range<usize>,
    colon: usize,
    value: usize,
}

impl<'w> Walk<'w> {
    /// What a reader keeps of a page; none if it ends too early, or would be cut inside of a character, which JSON
    /// never is: then it stays as it is.
    fn over(reader: &'w Reader, text: &'w str) -> Option<String> {
        let page = text.as_bytes();
        // Half of a page is more than is read of most.
        let kept = String::with_capacity((page.len() / 2).min(ROOM_MAX));
        let mut walk = Walk { reader, text, page, kept, open: 0..0, is_torn: false, object_at: 0 };
        let (end, _) = walk.value(walk.blank(0), NOTHING, 0);
        walk.flush();
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
    fn value(&mut self, at: usize, state: u16, level: usize) -> (usize, bool) {
        match self.byte(at) {
            b'{' | b'[' if level == LEVELS_MAX => {
                let end = self.skip(at, true).unwrap_or(self.page.len());
                self.keep(at..end);
                (end, true)
            }
            b'{' => self.object(at, state, level + 1),
            b'[' => self.array(at, state, level + 1),
            _ => {
                let end = self.scalar(at);
                self.keep(at..end);
                (end, false)
            }
        }
    }

    fn array(&mut self, begun: usize, state: u16, level: usize) -> (usize, bool) {
        let mut at = self.keep_byte(begun);
        let mut is_read = false;
        loop {
            at = self.blank(at);
            match self.byte(at) {
                b']' => return (self.keep_byte(at), is_read),
                b'}' | 0 => return (at, is_read),
                b',' => at = self.keep_byte(at),
                _ => {
                    let (end, found) = self.value(at, state, level);
                    at = end;
                    is_read |= found;
                }
            }
        }
    }

    fn object(&mut self, begun: usize, state: u16, level: usize) -> (usize, bool) {
        let mut at = self.keep_byte(begun);
        // The comma before the next member, if one before that is kept.
        let (mut comma, mut is_read) = (None, false);
        loop {
            // A comma and a quote, in most cases.
            let (mut begun, mut byte) = (at, self.byte(at));
            if byte == b',' {
                comma = is_read.then_some(at);
                begun += 1;
                byte = self.byte(begun);
            }
            if byte != b'"' {
                begun = self.after_blank(begun);
                match self.byte(begun) {
                    b'"' => {}
                    b',' => {
                        at = begun;
                        continue;
                    }
                    _ => return (self.keep_byte(begun), is_read),
                }
            }
            let (member, after) = self.member(begun, comma, state);
            let is_kept;
            (at, is_kept) = match self.byte(member.value) {
                b'{' | b'[' => self.container(&member, after, level),
                _ => {
                    let end = self.scalar(member.value);
                    if after != NOTHING {
                        self.keep_member(&member, end);
                    }
                    (end, after != NOTHING)
                }
            };
            is_read |= is_kept;
        }
    }

    /// A member that begins at a place, and the state after its name.
    #[inline(always)]
    fn member(&self, begun: usize, comma: Option<usize>, state: u16) -> (Member, u16) {
        let end = string_end(self.page, begun + 1);
        let after = self.after(state, begun, end);
        let colon = self.blank(end.0);
        let value = self.blank(colon + 1);
        (Member { comma, name: begun..end.0, colon, value }, after)
    }

    /// Keeps what there is of a member that holds an array or object, and says where it ends, and whether that
    /// is anything.
    fn container(&mut self, member: &Member, after: u16, level: usize) -> (usize, bool) {
        // Many arrays have only texts or numbers in them, which are kept on the way to something alone.
        let passed = match (after, self.byte(member.value)) {
            (WHOLE, _) => self.skip(member.value, true),
            (NOTHING, b'[') if member.value >= self.object_at => self.skip(member.value, false),
            _ => None,
        };
        match passed {
            Some(end) if after == WHOLE => {
                self.keep_member(member, end);
                (end, true)
            }
            Some(end) => (end, false),
            None => {
                let mark = Mark { bytes: self.kept.len(), open: self.open.clone() };
                self.keep_member(member, member.value);
                let (end, found) = self.value(member.value, after, level);
                let is_kept = found || after != NOTHING;
                if !is_kept {
                    self.back_to(mark);
                }
                (end, is_kept)
            }
        }
    }

    /// The state after a member's name, which stands there with its quotes.
    #[inline(always)]
    fn after(&self, state: u16, begun: usize, (end, is_escaped): (usize, bool)) -> u16 {
        if is_escaped {
            return self.after_spelled(state, begun, end);
        }
        let name = self.page.get(begun + 1..end - 1).unwrap_or_default();
        if !self.reader.glances[usize::from(state)].has(name) {
            return NOTHING;
        }
        match self.reader.names.find(name) {
            UNNAMED => NOTHING,
            number => self.reader.after(state, number),
        }
    }

    #[cold]
    fn after_spelled(&self, state: u16, begun: usize, end: usize) -> u16 {
        let quoted = self.page.get(begun..end).unwrap_or_default();
        let spelled = serde_json::from_slice::<String>(quoted);
        match spelled.map_or(UNNAMED, |name| self.reader.names.find(name.as_bytes())) {
            UNNAMED => NOTHING,
            number => self.reader.after(state, number),
        }
    }

    /// Keeps a member to a place in its value, without blank before that.
    #[inline(always)]
    fn keep_member(&mut self, member: &Member, end: usize) {
        let begun = member.comma.unwrap_or(member.name.start);
        if member.name.end == member.colon
            && member.colon + 1 == member.value
            && member.name.start - begun <= 1
        {
            // As it usually stands there, in one piece.
            return self.keep(begun..end);
        }
        if member.comma.is_some() {
            self.keep(begun..begun + 1);
        }
        self.keep(member.name.clone());
        self.keep(member.colon..member.colon + 1);
        self.keep(member.value..end);
    }

    #[inline(always)]
    fn keep(&mut self, range: Range<usize>) {
        if self.open.end != range.start {
            self.flush();
            self.open.start = range.start;
        }
        self.open.end = range.end;
    }

    /// Keeps what is at a place, and says where it ends.
    #[inline(always)]
    fn keep_byte(&mut self, at: usize) -> usize {
        self.keep(at..at + 1);
        at + 1
    }

    /// Copies what is kept.
    fn flush(&mut self) {
        match self.text.get(self.open.clone()) {
            Some(text) => self.kept.push_str(text),
            None => self.is_torn = true,
        }
        self.open.start = self.open.end;
    }

    fn back_to(&mut self, mark: Mark) {
        self.kept.truncate(mark.bytes);
        self.open = mark.open;
    }

    /// The place after a text, number or word.
    #[inline(always)]
    fn scalar(&self, begun: usize) -> usize {
        if self.byte(begun) == b'"' {
            return string_end(self.page, begun + 1).0;
        }
        let mut at = begun;
        while !matches!(self.byte(at), b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t' | 0) {
            at += 1;
        }
        at
    }

    /// The place after an array or object that is passed over; none if there is an object in it, and may not be.
    fn skip(&mut self, begun: usize, may_hold_objects: bool) -> Option<usize> {
        let (mut at, mut depth) = (begun, 0_usize);
        loop {
            match self.byte(at) {
                b'"' => {
                    at = string_end(self.page, at + 1).0;
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

/// The place after a string that is open at a place, and whether something in it is escaped.
#[inline(always)]
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
    fn every_name_is_found_also_where_places_are_shared() {
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
