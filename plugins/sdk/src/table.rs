//! Tables: columns, and the rows that fill them.

use std::hash::{Hash, Hasher};

use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::bindings::spotify_etl::plugin::types as wit;

/// A table while it is filled. `R` is what a row is made from.
///
/// Each column says what it is and how to get its value from a row, once:
///
/// ```
/// use spotify_etl_plugin::{Table, TrackEntry};
///
/// fn song<'a>() -> Table<TrackEntry<'a>> {
///     Table::<TrackEntry<'_>>::snapshot("song", "A track of a playlist")
///         .key(["position"])
///         .int64("position", "its place, from 1", |entry| Some(entry.position.into()))
///         .required()
///         .text("song_name", "its name", |entry| entry.track.name.as_deref())
/// }
/// ```
pub struct Table<R> {
    schema: wit::Table,
    columns: Vec<Column<R>>,
}

/// What fills a column.
enum Column<R> {
    Text(Fill<R, TextBuilder>, TextBuilder),
    Int64(Fill<R, Builder<i64>>, Builder<i64>),
    Float64(Fill<R, Builder<f64>>, Builder<f64>),
    Boolean(Fill<R, Builder<bool>>, Builder<bool>),
    Date(Fill<R, Builder<i32>>, Builder<i32>),
    Timestamp(Fill<R, Builder<i64>>, Builder<i64>),
}

/// Adds the values of all rows: one call for each column and not for each value.
type Fill<R, B> = Box<dyn Fn(&[&R], &mut B)>;

impl<R> Table<R> {
    /// A table whose rows belong to their snapshot: the newest snapshot is its newest state.
    pub fn snapshot(name: &str, description: &str) -> Self {
        Self::new(name, description, wit::Scope::Snapshot)
    }

    /// A table of things that outlive a snapshot: the newest row of each key is its newest state.
    pub fn entity(name: &str, description: &str) -> Self {
        Self::new(name, description, wit::Scope::Entity)
    }

    fn new(name: &str, description: &str, scope: wit::Scope) -> Self {
        let schema = wit::Table {
            name: name.to_owned(),
            description: description.to_owned(),
            scope,
            columns: Vec::new(),
            key: Vec::new(),
        };
        Table { schema, columns: Vec::new() }
    }

    /// The columns that tell the rows of one document apart. Without: at most one row a document.
    pub fn key<const N: usize>(mut self, columns: [&str; N]) -> Self {
        self.schema.key = columns.map(str::to_owned).into();
        self
    }

    /// The column last added is never null. The host refuses a batch in which it is.
    pub fn required(mut self) -> Self {
        if let Some(column) = self.schema.columns.last_mut() {
            column.nullable = false;
        }
        self
    }

    /// A column of text.
    pub fn text<F>(self, name: &str, description: &str, value: F) -> Self
    where
        F: Fn(&R) -> Option<&str> + 'static,
    {
        let fill = move |rows: &[&R], builder: &mut TextBuilder| builder.add(rows, &value);
        let column = Column::Text(Box::new(fill), TextBuilder::default());
        self.column(name, description, wit::ColumnType::Text, column)
    }

    /// A column of 64 bit integers.
    pub fn int64<F>(self, name: &str, description: &str, value: F) -> Self
    where
        F: Fn(&R) -> Option<i64> + 'static,
    {
        let column = Column::Int64(fill(value), Builder::default());
        self.column(name, description, wit::ColumnType::Int64, column)
    }

    /// A column of 64 bit floats. NaN and infinity are refused by the host.
    pub fn float64<F>(self, name: &str, description: &str, value: F) -> Self
    where
        F: Fn(&R) -> Option<f64> + 'static,
    {
        let column = Column::Float64(fill(value), Builder::default());
        self.column(name, description, wit::ColumnType::Float64, column)
    }

    /// A column of booleans.
    pub fn boolean<F>(self, name: &str, description: &str, value: F) -> Self
    where
        F: Fn(&R) -> Option<bool> + 'static,
    {
        let column = Column::Boolean(fill(value), Builder::default());
        self.column(name, description, wit::ColumnType::Boolean, column)
    }

    /// A column of days since 1970-01-01.
    pub fn date<F>(self, name: &str, description: &str, value: F) -> Self
    where
        F: Fn(&R) -> Option<i32> + 'static,
    {
        let column = Column::Date(fill(value), Builder::default());
        self.column(name, description, wit::ColumnType::Date, column)
    }

    /// A column of milliseconds since 1970-01-01T00:00:00Z.
    pub fn timestamp<F>(self, name: &str, description: &str, value: F) -> Self
    where
        F: Fn(&R) -> Option<i64> + 'static,
    {
        let column = Column::Timestamp(fill(value), Builder::default());
        self.column(name, description, wit::ColumnType::Timestamp, column)
    }

    fn column(
        mut self,
        name: &str,
        description: &str,
        type_: wit::ColumnType,
        column: Column<R>,
    ) -> Self {
        self.schema.columns.push(wit::Column {
            name: name.to_owned(),
            type_,
            nullable: true,
            description: description.to_owned(),
        });
        self.columns.push(column);
        self
    }

    /// Adds a row.
    pub fn push(&mut self, row: &R) {
        for column in &mut self.columns {
            column.add(&[row]);
        }
    }

    /// The rows added, for an [`Extraction`](crate::Extraction).
    pub fn finish(self) -> Batch {
        Batch(wit::Batch { columns: self.columns.into_iter().map(Column::pack).collect() })
    }

    /// The table with these rows.
    pub fn of<'r>(mut self, rows: impl IntoIterator<Item = &'r R>) -> Batch
    where
        R: 'r,
    {
        let rows: Vec<&R> = rows.into_iter().collect();
        for column in &mut self.columns {
            column.add(&rows);
        }
        self.finish()
    }

    pub(crate) fn into_schema(self) -> wit::Table {
        self.schema
    }
}

/// The rows of one table, packed.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch(pub(crate) wit::Batch);

impl<R> Column<R> {
    fn add(&mut self, rows: &[&R]) {
        match self {
            Column::Text(fill, builder) => fill(rows, builder),
            Column::Int64(fill, builder) => fill(rows, builder),
            Column::Float64(fill, builder) => fill(rows, builder),
            Column::Boolean(fill, builder) => fill(rows, builder),
            Column::Date(fill, builder) => fill(rows, builder),
            Column::Timestamp(fill, builder) => fill(rows, builder),
        }
    }

    fn pack(self) -> wit::PackedColumn {
        let (values, nulls) = match self {
            Column::Text(_, TextBuilder { values, nulls }) => (wit::Values::Text(values), nulls),
            Column::Int64(_, Builder { values, nulls }) => (wit::Values::Int64(values), nulls),
            Column::Float64(_, Builder { values, nulls }) => (wit::Values::Float64(values), nulls),
            Column::Boolean(_, Builder { values, nulls }) => (wit::Values::Boolean(values), nulls),
            Column::Date(_, Builder { values, nulls }) => (wit::Values::Date(values), nulls),
            Column::Timestamp(_, Builder { values, nulls }) => {
                (wit::Values::Timestamp(values), nulls)
            }
        };
        wit::PackedColumn { values, nulls }
    }
}

/// What fills a column of which every value takes the same room.
fn fill<R, T: Default>(value: impl Fn(&R) -> Option<T> + 'static) -> Fill<R, Builder<T>> {
    Box::new(move |rows, builder| builder.add(rows, &value))
}

#[derive(Default)]
struct Builder<T> {
    values: Vec<T>,
    nulls: Vec<u32>,
}

impl<T: Default> Builder<T> {
    fn add<R>(&mut self, rows: &[&R], value: &impl Fn(&R) -> Option<T>) {
        self.values.reserve(rows.len());
        for row in rows {
            let value = value(row);
            if value.is_none() {
                self.nulls.push(self.values.len() as u32);
            }
            self.values.push(value.unwrap_or_default());
        }
    }
}

/// So much room there is for each text at first: an id of Spotify's takes 22 bytes.
const TEXT_BYTES: usize = 24;

struct TextBuilder {
    values: wit::TextValues,
    nulls: Vec<u32>,
}

impl Default for TextBuilder {
    fn default() -> Self {
        let values = wit::TextValues { text: String::new(), ends: Vec::new() };
        TextBuilder { values, nulls: Vec::new() }
    }
}

impl TextBuilder {
    fn add<R>(&mut self, rows: &[&R], value: &impl Fn(&R) -> Option<&str>) {
        self.values.ends.reserve(rows.len());
        self.values.text.reserve(rows.len() * TEXT_BYTES);
        for row in rows {
            match value(row) {
                Some(text) => self.values.text.push_str(text),
                None => self.nulls.push(self.values.ends.len() as u32),
            }
            self.values.ends.push(self.values.text.len() as u32);
        }
    }
}

/// An id to look for rows by: told from others eight bytes at a time.
#[derive(Clone, Copy, Debug, Eq)]
pub struct Id<'a>(pub &'a str);

impl Id<'_> {
    /// All bytes of an id that has 16 to 24, as Spotify's have.
    fn parts(&self) -> Option<[u64; 3]> {
        let bytes = self.0.as_bytes();
        let ([first, second], _) = bytes.get(..16)?.as_chunks::<8>() else { return None };
        let last = bytes.last_chunk::<8>().filter(|_| bytes.len() <= 24)?;
        Some([first, second, last].map(|eight| u64::from_le_bytes(*eight)))
    }
}

impl Hash for Id<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.parts() {
            Some([first, second, last]) => {
                state.write_u64(first ^ second.rotate_left(21) ^ last.rotate_left(42));
            }
            None => self.0.hash(state),
        }
    }
}

impl PartialEq for Id<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self.parts(), other.parts()) {
            (Some(one), Some(another)) => self.0.len() == other.0.len() && one == another,
            _ => self.0 == other.0,
        }
    }
}

/// One row for each id, in order of first appearance. The first row of an id wins, but a later
/// one that has a name replaces one that has none, whole and at its place: Spotify describes the
/// same artist with and without a name in one answer.
pub fn first_named<'r, R>(
    rows: impl IntoIterator<Item = &'r R>,
    id: fn(&R) -> Option<&str>,
    name: fn(&R) -> Option<&str>,
) -> Vec<&'r R> {
    let rows: Vec<&'r R> = rows.into_iter().collect();
    let mut kept: Vec<&'r R> = Vec::with_capacity(rows.len());
    let mut places = FxHashMap::with_capacity_and_hasher(rows.len(), FxBuildHasher);
    for row in rows {
        let Some(key) = id(row) else { continue };
        let place = *places.entry(Id(key)).or_insert(kept.len());
        match kept.get_mut(place) {
            None => kept.push(row),
            Some(first) if has_text(name(first)) || !has_text(name(row)) => {}
            Some(first) => *first = row,
        }
    }
    kept
}

fn has_text(text: Option<&str>) -> bool {
    text.is_some_and(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use rustc_hash::FxBuildHasher;

    use super::Id;

    #[test]
    fn ids_are_equal_where_their_texts_are() {
        for length in [0, 7, 8, 15, 16, 17, 22, 24, 25, 40] {
            let text = "x".repeat(length);
            let id = Id(&text);
            assert_eq!(
                (id, FxBuildHasher.hash_one(id)),
                (Id(&text.clone()), FxBuildHasher.hash_one(Id(&text)))
            );
            assert_ne!(id, Id(&"x".repeat(length + 1)));
            for place in 0..length {
                let mut other = text.clone();
                other.replace_range(place..=place, "y");
                assert_ne!(id, Id(&other), "{length} {place}");
                assert_ne!(
                    FxBuildHasher.hash_one(id),
                    FxBuildHasher.hash_one(Id(&other)),
                    "{length} {place}"
                );
            }
        }
    }
}
