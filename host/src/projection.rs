//! What plugins look at in a page: a page is read once, and each plugin gets what it says it reads and the
//! way to it.
//!
//! Patterns are member names joined by dots, with array levels left out, beginning at any depth. What a
//! pattern names is kept whole. Arrays keep their length: what is left of an element may be an empty object.
//! Pages are JSON that was read before, so nothing is checked here but what memory safety asks for.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

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
}

/// The name that is found at a place, if it is the one that was looked for.
#[derive(Clone, Copy, Debug)]
struct Slot {
    head: u64,
    length: usize,
    number: u16,
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
    pub fn cut<'p>(&'p self, pages: &'p [String]) -> Cut<'p> {
        let cut = |page: &'p String| {
            let mut walk = Walk::new(self, page.as_bytes());
            walk.run();
            // Cut between whole characters, or it is not what was meant.
            // What ends too early is no JSON, and stays as it is.
            let is_whole = walk.at <= page.len();
            let kept = walk.kept.into_iter().map(|mut kept| {
                kept.flush(page.as_bytes());
                String::from_utf8(kept.bytes).ok().filter(|_| is_whole)
            });
            (page.as_str(), kept.collect())
        };
        Cut { projection: self, pages: pages.iter().map(cut).collect() }
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
        self.slots = vec![Slot { head: 0, length: 0, number: UNNAMED }; 1 << SLOT_BITS];
        for (number, name) in (0..).zip(&self.by_number) {
            let (head, length) = (head(name), name.len());
            let slot = &mut self.slots[slot(head, length)];
            let number = if slot.number == UNNAMED { number } else { SHARED };
            *slot = Slot { head, length, number };
        }
    }

    fn find(&self, name: &[u8]) -> u16 {
        let head = head(name);
        let slot = self.slots[slot(head, name.len())];
        if slot.number == SHARED {
            return self.numbers.get(name).copied().unwrap_or(UNNAMED);
        }
        // All of a short name is in its head.
        let is_rest = || {
            let known = self.by_number.get(usize::from(slot.number));
            name.len() <= HEAD_BYTES || known.is_some_and(|known| known == name)
        };
        let is_it = slot.head == head && slot.length == name.len() && is_rest();
        if is_it { slot.number } else { UNNAMED }
    }
}

/// What a name begins with; with its length, all that a short one is.
fn head(name: &[u8]) -> u64 {
    let half =
        |at: usize| u64::from(name[at..].first_chunk().copied().map_or(0, u32::from_le_bytes));
    let byte = |at: usize| u64::from(name.get(at).copied().unwrap_or_default());
    match name.len() {
        HEAD_BYTES.. => name.first_chunk().copied().map_or(0, u64::from_le_bytes),
        length @ 4.. => half(0) | half(length - 4) << 32,
        _ => byte(0) | byte(1) << 8 | byte(2) << 16,
    }
}

fn slot(head: u64, length: usize) -> usize {
    // A multiplier that mixes well, of the golden ratio.
    let mixed = (head ^ (length as u64).rotate_right(8)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (u64::BITS - SLOT_BITS)) as usize
}

/// Where each plugin is, on the way down to a value.
type States = [u16; READERS_MAX];

/// What was passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    NoObject,
    Objects,
}

/// A member of an object, up to its value: where its parts are.
struct Member {
    /// None before the first.
    comma: Range<usize>,
    name: Range<usize>,
    colon: Range<usize>,
    is_escaped: bool,
}

/// One way through a page.
struct Walk<'w> {
    projection: &'w Projection,
    page: &'w [u8],
    at: usize,
    level: usize,
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
        Walk { projection, page, at: 0, level: 0, kept, marks: Vec::new() }
    }

    fn run(&mut self) {
        let all = (0..self.projection.readers.len()).fold(0, |all, place| all | 1 << place);
        if all != 0 {
            self.blank();
            self.value(all, &[NOTHING; READERS_MAX]);
        }
    }

    #[inline(always)]
    fn byte(&self) -> u8 {
        self.page.get(self.at).copied().unwrap_or_default()
    }

    #[inline(always)]
    fn blank(&mut self) {
        if self.byte() <= b' ' {
            self.pass_blank();
        }
    }

    fn pass_blank(&mut self) {
        while matches!(self.byte(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    /// Writes what is kept of a value for each plugin of a set, and says for which that is anything.
    fn value(&mut self, readers: u32, states: &States) -> u32 {
        let begun = self.at;
        let is_container = matches!(self.byte(), b'{' | b'[');
        if is_container && self.level == LEVELS_MAX {
            self.skip();
            self.write(readers, &(begun..self.at));
            return readers;
        }
        self.level += 1;
        let kept = match self.byte() {
            b'{' => self.object(readers, states),
            b'[' => self.array(readers, states),
            _ => {
                let range = self.scalar();
                self.write(readers, &range);
                0
            }
        };
        self.level -= 1;
        kept
    }

    fn array(&mut self, readers: u32, states: &States) -> u32 {
        self.write_byte(readers);
        let mut kept = 0;
        loop {
            self.blank();
            match self.byte() {
                b']' => break self.write_byte(readers),
                b'}' | 0 => break,
                b',' => self.write_byte(readers),
                _ => kept |= self.value(readers, states),
            }
        }
        kept
    }

    fn object(&mut self, readers: u32, states: &States) -> u32 {
        self.write_byte(readers);
        // The plugins that keep a member.
        let mut kept = 0;
        let mut comma = 0..0;
        loop {
            self.blank();
            match self.byte() {
                b'"' => {}
                b',' => {
                    comma = self.at..self.at + 1;
                    self.at += 1;
                    continue;
                }
                _ => break,
            }
            let (end, is_escaped) = string_end(self.page, self.at + 1);
            let name = self.at..end;
            self.at = end;
            self.blank();
            let colon = self.at..self.at + 1;
            self.at += 1;
            self.blank();
            let member = Member { comma: comma.clone(), name, colon, is_escaped };
            kept |= self.member(&member, readers, states, kept);
        }
        self.write_byte(readers);
        kept
    }

    /// Writes a member for each plugin that keeps it, and says which do.
    fn member(&mut self, member: &Member, readers: u32, states: &States, before: u32) -> u32 {
        let number = self.number(&member.name, member.is_escaped);
        let is_container = matches!(self.byte(), b'{' | b'[');
        if number == UNNAMED && !is_container {
            self.scalar();
            return 0;
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
        let begun = self.at;
        if !is_container {
            let value = self.scalar();
            self.begin(on_the_way | whole, member, before);
            self.write(on_the_way | whole, &value);
            return on_the_way | whole;
        }
        let inside = readers & !whole;
        // Many arrays have only texts or numbers in them, which are kept on the way to something alone.
        if inside == 0 || (on_the_way == 0 && self.byte() == b'[') {
            let found = self.skip();
            if inside != 0 && found == Inside::Objects {
                self.at = begun;
            }
        }
        if self.at == begun {
            let marks = self.marks.len();
            self.marks.extend(places(inside).map(|place| self.kept[place].mark()));
            self.begin(inside, member, before);
            let found = self.value(inside, &after) | on_the_way;
            for (place, mark) in places(inside).zip(self.marks.drain(marks..)) {
                if found & (1 << place) == 0 {
                    self.kept[place].back_to(mark);
                }
            }
            on_the_way |= found & inside;
        }
        self.begin(whole, member, before);
        self.write(whole, &(begun..self.at));
        on_the_way | whole
    }

    /// Writes a member's name.
    fn begin(&mut self, readers: u32, member: &Member, before: u32) {
        self.write(readers & before, &member.comma);
        self.write(readers, &member.name);
        self.write(readers, &member.colon);
    }

    /// The number of a member's name, which stands there with its quotes.
    fn number(&self, name: &Range<usize>, is_escaped: bool) -> u16 {
        let quoted = self.page.get(name.clone()).unwrap_or_default();
        let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
        if !is_escaped {
            return self.projection.names.find(inner);
        }
        let spelled = serde_json::from_slice::<String>(quoted);
        spelled.map_or(UNNAMED, |name| self.projection.names.find(name.as_bytes()))
    }

    fn write(&mut self, readers: u32, range: &Range<usize>) {
        for place in places(readers) {
            self.kept[place].add(self.page, range);
        }
    }

    /// Writes what is at its place, and goes on.
    fn write_byte(&mut self, readers: u32) {
        self.write(readers, &(self.at..self.at + 1));
        self.at += 1;
    }

    /// Passes over a text, number or word, and says where it was.
    fn scalar(&mut self) -> Range<usize> {
        let begun = self.at;
        if self.byte() == b'"' {
            self.text();
        } else {
            while !matches!(self.byte(), b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t' | 0) {
                self.at += 1;
            }
        }
        begun..self.at
    }

    fn text(&mut self) {
        self.at = string_end(self.page, self.at + 1).0;
    }

    /// Passes over an array or object.
    fn skip(&mut self) -> Inside {
        let mut depth = 0_usize;
        let mut inside = Inside::NoObject;
        loop {
            match self.byte() {
                b'"' => {
                    self.text();
                    continue;
                }
                b'{' => {
                    inside = Inside::Objects;
                    depth += 1;
                }
                b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                // Not even the end of it is there: nothing in it is looked at again.
                0 => return Inside::NoObject,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return inside;
            }
        }
    }
}

/// The place after a string that is open at a place, and whether something in it is escaped. Most strings
/// are so short that eight bytes at a time are quicker than a search made for long ones.
pub(crate) fn string_end(json: &[u8], from: usize) -> (usize, bool) {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    // The highest bit of the first byte that is zero is set; of bytes after that one it may lie.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let (mut at, mut is_escaped) = (from, false);
    while let Some(eight) = json.get(at..at + 8).and_then(|eight| eight.try_into().ok()) {
        let word = u64::from_le_bytes(eight);
        let found =
            zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\')));
        if found == 0 {
            at += 8;
            continue;
        }
        at += found.trailing_zeros() as usize / 8;
        if json[at] == b'"' {
            return (at + 1, is_escaped);
        }
        // What is escaped is no end.
        is_escaped = true;
        at += 2;
    }
    loop {
        match json.get(at) {
            Some(b'"') => return (at + 1, is_escaped),
            Some(b'\\') => {
                is_escaped = true;
                at += 2;
            }
            Some(_) => at += 1,
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
