//! Rows as they come from a plugin: packed columns.
//!
//! Nothing here can be trusted until `table` has looked at it, which makes a table of it, or says why not.

/// One column: a value for each row, and which rows are null.
#[derive(Clone, Debug, PartialEq)]
pub struct RawColumn {
    /// The values.
    pub values: RawValues,
    /// The rows that are null, counted from 0.
    pub nulls: Vec<u32>,
}

/// The values of a column, by type.
#[derive(Clone, Debug, PartialEq)]
pub enum RawValues {
    /// All values in one string, and where each ends.
    Text {
        /// The values, one after another.
        text: String,
        /// The offset in bytes of each value's end.
        ends: Vec<u32>,
    },
    /// Integers.
    Int64(Vec<i64>),
    /// Floats.
    Float64(Vec<f64>),
    /// Booleans.
    Boolean(Vec<bool>),
    /// Days since 1970-01-01.
    Date(Vec<i32>),
    /// Milliseconds since 1970-01-01T00:00:00Z.
    Timestamp(Vec<i64>),
}

/// The rows of one table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawBatch {
    /// Its columns.
    pub columns: Vec<RawColumn>,
}

/// What a plugin made of a document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawExtraction {
    /// One batch for each table, if the plugin keeps its word.
    pub batches: Vec<RawBatch>,
    /// The entries it passed over: position and reason.
    pub skips: Vec<(u32, String)>,
}

impl RawExtraction {
    /// How many bytes its values have.
    pub fn bytes(&self) -> u64 {
        let column = |column: &RawColumn| {
            let values = match &column.values {
                RawValues::Text { text, ends } => text.len() + size_of_val(ends.as_slice()),
                RawValues::Int64(values) | RawValues::Timestamp(values) => {
                    size_of_val(values.as_slice())
                }
                RawValues::Float64(values) => size_of_val(values.as_slice()),
                RawValues::Boolean(values) => size_of_val(values.as_slice()),
                RawValues::Date(values) => size_of_val(values.as_slice()),
            };
            (values + size_of_val(column.nulls.as_slice())) as u64
        };
        let columns = self.batches.iter().flat_map(|batch| &batch.columns);
        let skips = self.skips.iter().map(|(_, reason)| (size_of::<u32>() + reason.len()) as u64);
        columns.map(column).sum::<u64>() + skips.sum::<u64>()
    }

    /// How many rows there are of each batch.
    pub fn rows(&self) -> impl Iterator<Item = usize> {
        self.batches.iter().map(|batch| match batch.columns.first().map(|column| &column.values) {
            None => 0,
            Some(RawValues::Text { ends, .. }) => ends.len(),
            Some(RawValues::Int64(values) | RawValues::Timestamp(values)) => values.len(),
            Some(RawValues::Float64(values)) => values.len(),
            Some(RawValues::Boolean(values)) => values.len(),
            Some(RawValues::Date(values)) => values.len(),
        })
    }
}
