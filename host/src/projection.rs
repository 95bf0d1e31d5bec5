//! What plugins look at in a page: a page is read once, and each plugin gets what it says it reads and the
//! way to it.
//!
//! Patterns are member names joined by dots, with array levels left out, beginning at any depth. What a
//! pattern names is kept whole. Arrays keep their length: what is left of an element may be an empty object.
//! Pages are JSON that was read before, so nothing is checked here but what memory safety asks for.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
};

use spotify_etl_plugin::strings::quote_or_backslash;

/// How many plugins can be served at once; further ones get pages as they are.
const READERS_MAX: usize = 32;
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
    names: Names,
}

/// One plugin's patterns as a machine: from a state, by a name, to a state.
#[derive(Debug)]
struct Reader {
    /// By state, then by name.
    next: Vec<Vec<u16>>,
}

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
        let mut names = Names::default();
        // Plugins that read the same get the same.
        let mut distinct: Vec<&[String]> = Vec::new();
        let mut places = Vec::new();
        for patterns in plugins {
            let known = distinct.iter().position(|known| Some(*known) == patterns);
            let place = known.or_else(|| {
                distinct.push(patterns.filter(|_| distinct.len() < READERS_MAX)?);
                Some(distinct.len() - 1)
            });
            places.push(place);
        }
        let split = |pattern: &String, names: &mut Names| -> Vec<u16> {
            pattern.split('.').map(|name| names.add(name.as_bytes())).collect()
        };
        let patterns: Vec<Vec<Vec<u16>>> = distinct
            .iter()
            .map(|patterns| patterns.iter().map(|one| split(one, &mut names)).collect())
            .collect();
        names.close();
        let count = names.by_number.len();
        let readers = patterns.iter().map(|patterns| Reader::of(patterns, count)).collect();
        Projection { plugins: places, readers, names }
    }

    /// Cuts pages for all plugins.
    pub fn cut<'p>(&'p self, pages: &'p [impl AsRef<str>]) -> Cut<'p> {
        let cut = |page: &'p str| {
            let mut walk = Walk::new(self, page.as_bytes());
            let end = walk.run();
            // Cut between whole characters, or it is not what was meant.
            // What ends too early is no JSON, and stays as it is.
            let is_whole = end <= page.len();
            let kept = walk.kept.into_iter().map(|mut kept| {
                kept.flush(page.as_bytes());
                String::from_utf8(kept.bytes).ok().filter(|_| is_whole)
            });
            (page, kept.collect())
        };
        Cut { projection: self, pages: pages.iter().map(AsRef::as_ref).map(cut).collect() }
    }
}

/// Pages as plugins get them.
pub struct Cut<'p> {
    projection: &'p Projection,
    /// Each as it is, and what is left of it for each reader.
    pages: Vec<(&'p str, Vec<Option<String>>)>,
}

impl Cut<'_> {
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
    fn of(patterns: &[Vec<u16>], names: usize) -> Self {
        // How far each pattern that has begun has got.
        type Begun = Vec<(usize, usize)>;
        let mut states: Vec<Begun> = vec![Vec::new()];
        let mut numbers: HashMap<Begun, u16> = HashMap::new();
        let mut next: Vec<Vec<u16>> = Vec::new();
        while let Some(begun) = states.get(next.len()).cloned() {
            let again = (0..patterns.len()).map(|pattern| (pattern, 0));
            let mut by_name: BTreeMap<u16, Begun> = BTreeMap::new();
            for (pattern, at) in begun.into_iter().chain(again) {
                by_name.entry(patterns[pattern][at]).or_default().push((pattern, at + 1));
            }
            let mut row = vec![NOTHING; names];
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
            next.push(row);
        }
        Reader { next }
    }

    fn after(&self, state: u16, name: u16) -> u16 {
        self.next[usize::from(state)].get(usize::from(name)).copied().unwrap_or(NOTHING)
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
        let whole = |eight: Option<&[u8; 8]>| eight.copied().map_or(0, u64::from_le_bytes);
        let half = |four: Option<&[u8; 4]>| u64::from(four.copied().map_or(0, u32::from_le_bytes));
        let byte = |at: usize| u64::from(name.get(at).copied().unwrap_or_default());
        let length = name.len();
        let head = match length {
            HEAD_BYTES.. => whole(name.first_chunk()),
            4.. => half(name.first_chunk()) | half(name.last_chunk()) << 32,
            _ => byte(0) | byte(1) << 8 | byte(2) << 16,
        };
        let tail = if length > HEAD_BYTES { whole(name.last_chunk()) } else { 0 };
        Ends { head, tail, length }
    }

    #[inline(always)]
    fn slot(self, multiplier: u64) -> usize {
        let mixed = self.head ^ self.tail.rotate_right(29) ^ (self.length as u64).rotate_right(8);
        (mixed.wrapping_mul(multiplier) >> (u64::BITS - SLOT_BITS)) as usize
    }
}

/// Where each plugin is, on the way down to a value.
type States = [u16; READERS_MAX];

/// A member of an object, up to its value: where its parts are.
struct Member<'w> {
    /// None before the first.
    comma: &'w Range<usize>,
    name: Range<usize>,
    colon: usize,
    value: usize,
}

/// One way through a page.
struct Walk<'w> {
    projection: &'w Projection,
    page: &'w [u8],
    /// What is kept for each plugin.
    kept: Vec<Kept>,
    /// How much that was before each value that may turn out to have nothing to be kept.
    marks: Vec<Mark>,
}

/// What is kept of a page. What lies side by side there is copied at once.
struct Kept {
    bytes: Vec<u8>,
    /// What is kept after that, and not yet copied.
    open: Range<usize>,
}

/// How much was kept at one time.
struct Mark {
    bytes: usize,
    open: Range<usize>,
}

impl Kept {
    #[inline(always)]
    fn add(&mut self, page: &[u8], range: &Range<usize>) {
        if self.open.end != range.start {
            self.flush(page);
            self.open.start = range.start;
        }
        self.open.end = range.end;
    }

    fn flush(&mut self, page: &[u8]) {
        self.bytes.extend_from_slice(page.get(self.open.clone()).unwrap_or_default());
        self.open.start = self.open.end;
    }

    fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), open: self.open.clone() }
    }

    fn back_to(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        self.open = mark.open;
    }
}

impl<'w> Walk<'w> {
    fn new(projection: &'w Projection, page: &'w [u8]) -> Self {
        // Half of a page is more than is read of most.
        let room =
            || Kept { bytes: Vec::with_capacity((page.len() / 2).min(ROOM_MAX)), open: 0..0 };
        let kept = projection.readers.iter().map(|_| room()).collect();
        Walk { projection, page, kept, marks: Vec::new() }
    }

    /// Writes what is kept of the page, and says where it came to.
    fn run(&mut self) -> usize {
        match (0..self.projection.readers.len()).fold(0, |all, place| all | 1 << place) {
            0 => 0,
            all => self.value(self.blank(0), all, &[NOTHING; READERS_MAX], 0).0,
        }
    }

    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        self.page.get(at).copied().unwrap_or_default()
    }

    #[inline(always)]
    fn is_container(&self, at: usize) -> bool {
        matches!(self.byte(at), b'{' | b'[')
    }

    /// The place after the blank that may be at a place.
    #[inline(always)]
    fn blank(&self, at: usize) -> usize {
        if self.byte(at) > b' ' { at } else { self.after_blank(at) }
    }

    fn after_blank(&self, mut at: usize) -> usize {
        while matches!(self.byte(at), b' ' | b'\n' | b'\r' | b'\t') {
            at += 1;
        }
        at
    }

    /// Writes what is kept of a value for each plugin of a set, and says where it ends, and for which that is
    /// anything.
    fn value(&mut self, at: usize, readers: u32, states: &States, level: usize) -> (usize, u32) {
        if level == LEVELS_MAX && self.is_container(at) {
            let end = self.skip(at, true).unwrap_or(self.page.len());
            self.write(readers, &(at..end));
            return (end, readers);
        }
        match self.byte(at) {
            b'{' => self.object(at, readers, states, level + 1),
            b'[' => self.array(at, readers, states, level + 1),
            _ => {
                let end = self.scalar(at);
                self.write(readers, &(at..end));
                (end, 0)
            }
        }
    }

    fn array(&mut self, begun: usize, readers: u32, states: &States, level: usize) -> (usize, u32) {
        let mut at = self.write_byte(readers, begun);
        let mut kept = 0;
        loop {
            at = self.blank(at);
            match self.byte(at) {
                b']' => return (self.write_byte(readers, at), kept),
                b'}' | 0 => return (at, kept),
                b',' => at = self.write_byte(readers, at),
                _ => {
                    let (end, found) = self.value(at, readers, states, level);
                    at = end;
                    kept |= found;
                }
            }
        }
    }

    fn object(
        &mut self,
        begun: usize,
        readers: u32,
        states: &States,
        level: usize,
    ) -> (usize, u32) {
        let mut at = self.write_byte(readers, begun);
        // The plugins that keep a member.
        let mut kept = 0;
        let mut comma = 0..0;
        loop {
            at = self.blank(at);
            match self.byte(at) {
                b'"' => {
                    let (end, found) = self.member(at, &comma, readers, states, kept, level);
                    at = end;
                    kept |= found;
                }
                b',' => {
                    comma = at..at + 1;
                    at += 1;
                }
                _ => return (self.write_byte(readers, at), kept),
            }
        }
    }

    /// Writes a member for each plugin that keeps it, and says where it ends, and which do.
    #[inline(always)]
    fn member(
        &mut self,
        begun: usize,
        comma: &Range<usize>,
        readers: u32,
        states: &States,
        before: u32,
        level: usize,
    ) -> (usize, u32) {
        let (end, is_escaped) = string_end(self.page, begun + 1);
        let colon = self.blank(end);
        let value = self.blank(colon + 1);
        let member = Member { comma, name: begun..end, colon, value };
        let number = self.number(&member.name, is_escaped);
        let is_container = self.is_container(value);
        if number == UNNAMED && !is_container {
            return (self.scalar(value), 0);
        }
        let mut after = [NOTHING; READERS_MAX];
        let (mut whole, mut on_the_way) = (0, 0);
        if number != UNNAMED {
            for place in places(readers) {
                match self.projection.readers[place].after(states[place], number) {
                    WHOLE => whole |= 1 << place,
                    NOTHING => {}
                    state => {
                        on_the_way |= 1 << place;
                        after[place] = state;
                    }
                }
            }
        }
        if !is_container {
            let end = self.scalar(value);
            self.begin(on_the_way | whole, &member, before);
            self.write(on_the_way | whole, &(value..end));
            return (end, on_the_way | whole);
        }
        let inside = readers & !whole;
        // Many arrays have only texts or numbers in them, which are kept on the way to something alone.
        let passed = match self.byte(value) {
            _ if inside == 0 => self.skip(value, true),
            b'[' if on_the_way == 0 => self.skip(value, false),
            _ => None,
        };
        let end = passed.unwrap_or_else(|| {
            let marks = self.marks.len();
            self.marks.extend(places(inside).map(|place| self.kept[place].mark()));
            self.begin(inside, &member, before);
            let (end, found) = self.value(value, inside, &after, level);
            let found = found | on_the_way;
            for (place, mark) in places(inside).zip(self.marks.drain(marks..)) {
                if found & (1 << place) == 0 {
                    self.kept[place].back_to(mark);
                }
            }
            on_the_way |= found & inside;
            end
        });
        self.begin(whole, &member, before);
        self.write(whole, &(value..end));
        (end, on_the_way | whole)
    }

    /// Writes a member's name.
    #[inline(always)]
    fn begin(&mut self, readers: u32, member: &Member<'_>, before: u32) {
        self.write(readers & before, member.comma);
        if member.name.end == member.colon && member.colon + 1 == member.value {
            // As it usually stands there, in one piece.
            self.write(readers, &(member.name.start..member.value));
        } else {
            self.write(readers, &member.name);
            self.write(readers, &(member.colon..member.colon + 1));
        }
    }

    /// The number of a member's name, which stands there with its quotes.
    #[inline(always)]
    fn number(&self, name: &Range<usize>, is_escaped: bool) -> u16 {
        let quoted = self.page.get(name.clone()).unwrap_or_default();
        let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
        if !is_escaped {
            return self.projection.names.find(inner);
        }
        let spelled = serde_json::from_slice::<String>(quoted);
        spelled.map_or(UNNAMED, |name| self.projection.names.find(name.as_bytes()))
    }

    #[inline(always)]
    fn write(&mut self, readers: u32, range: &Range<usize>) {
        for place in places(readers) {
            self.kept[place].add(self.page, range);
        }
    }

    /// Writes what is at a place, and says where it ends.
    #[inline(always)]
    fn write_byte(&mut self, readers: u32, at: usize) -> usize {
        self.write(readers, &(at..at + 1));
        at + 1
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
    fn skip(&self, begun: usize, may_hold_objects: bool) -> Option<usize> {
        let (mut at, mut depth) = (begun, 0_usize);
        loop {
            match self.byte(at) {
                b'"' => {
                    at = string_end(self.page, at + 1).0;
                    continue;
                }
                b'{' if !may_hold_objects => return None,
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

/// The places of a set.
fn places(mut set: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = set.trailing_zeros() as usize;
        set &= set.checked_sub(1)?;
        Some(place)
    })
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
        // What is passed over to the end is not looked at again and again.
        let open = "{".to_owned() + &"\"m\":[{],".repeat(1_000_000);
        assert_eq!(projection.cut(&[open]).pages_for(0).len(), 1);
    }
}
