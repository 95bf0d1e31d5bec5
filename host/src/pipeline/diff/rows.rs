//! Two versions of a table's rows from one document, held against each other.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use serde::Serialize;

use crate::table::Table;

/// So many changes of each kind are kept of each table, for people.
const EXAMPLES_MAX: usize = 3;

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Only the candidate has it.
    Added,
    /// Only the active version has it.
    Removed,
    /// Both have it, with other values.
    Changed,
}

/// A row that is not the same in both versions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RowChange {
    /// The document.
    pub document: String,
    /// The table.
    pub table: String,
    /// What became of it.
    pub change: Kind,
    /// Its key, or its number where the key itself is another one.
    pub key: BTreeMap<String, String>,
    /// The values that are others: of a row that only one version has, all that it has.
    pub cells: Vec<CellChange>,
}

/// A value that is not the same in both versions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CellChange {
    /// The column.
    pub column: String,
    /// What it was; none for null.
    pub before: Option<String>,
    /// What it is; none for null.
    pub after: Option<String>,
}

/// A table over all documents.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TableDiff {
    /// The table.
    pub table: String,
    /// How many rows the active version makes.
    pub rows_before: u64,
    /// How many the candidate makes.
    pub rows_after: u64,
    /// Rows that only the candidate has.
    pub rows_added: u64,
    /// Rows that only the active version has.
    pub rows_removed: u64,
    /// Rows that both have, with other values in columns that the active version has: also those that lose
    /// one with a column that is gone.
    pub rows_changed: u64,
    /// How many values are others, by column.
    pub cells_changed: BTreeMap<String, u64>,
    /// Columns that only the candidate has, with how many of its rows have a value there.
    pub new_columns: BTreeMap<String, u64>,
    /// Columns that only the active version has, with how many of its rows have a value there.
    pub gone_columns: BTreeMap<String, u64>,
    /// Columns that are gone, and the new ones that have the same values in every row.
    pub renamed: BTreeMap<String, String>,
    /// Whether only the candidate fills it.
    pub is_new: bool,
    /// Whether only the active version fills it: its rows stay as they are.
    pub is_left: bool,
    /// Whether rows are matched by their order, since the key is another one.
    pub matched_by_order: bool,
    /// Some of what is not the same.
    pub examples: Vec<RowChange>,
    /// Of each column that is gone, the new ones that had the same values so far.
    #[serde(skip)]
    alike: Option<BTreeMap<String, Vec<String>>>,
}

impl TableDiff {
    /// A table that nothing was compared of.
    pub fn new(table: &str) -> Self {
        TableDiff { table: table.to_owned(), ..TableDiff::default() }
    }

    /// How many rows are not the same.
    pub fn rows_differing(&self) -> u64 {
        self.rows_added + self.rows_removed + self.rows_changed
    }

    /// Counts rows that are the same in both.
    pub fn add_equal(&mut self, rows: u64) {
        self.rows_before += rows;
        self.rows_after += rows;
    }

    /// Adds the rows of a document, and gives those that are not the same: in the order of the active
    /// version's rows, then those that only the candidate has.
    pub fn add(
        &mut self,
        document: &str,
        before: Option<&Table>,
        after: Option<&Table>,
    ) -> Vec<RowChange> {
        self.rows_before += before.map_or(0, Table::rows) as u64;
        self.rows_after += after.map_or(0, Table::rows) as u64;
        let columns = Columns::of(before, after);
        let alike = match (before, after) {
            (Some(before), Some(after)) => self.add_columns(before, after),
            _ => Vec::new(),
        };
        let mut changes = Vec::new();
        for (was, is) in self.matched(before, after) {
            let (change, side) = match (was, is) {
                (Some(was), Some(_)) => (Kind::Changed, was),
                (Some(was), None) => (Kind::Removed, was),
                (None, Some(is)) => (Kind::Added, is),
                (None, None) => continue,
            };
            let cells = columns.cells(was, is, &alike);
            if change == Kind::Changed && cells.is_empty() {
                continue;
            }
            let key = side.key(self.matched_by_order);
            let (document, table) = (document.to_owned(), self.table.clone());
            changes.push(RowChange { document, table, change, key, cells });
        }
        changes.iter().for_each(|change| self.count(change));
        changes
    }

    fn count(&mut self, change: &RowChange) {
        let rows = match change.change {
            Kind::Added => &mut self.rows_added,
            Kind::Removed => &mut self.rows_removed,
            Kind::Changed => &mut self.rows_changed,
        };
        *rows += 1;
        if *rows <= EXAMPLES_MAX as u64 {
            self.examples.push(change.clone());
        }
        if change.change == Kind::Changed {
            for cell in &change.cells {
                *self.cells_changed.entry(cell.column.clone()).or_default() += 1;
            }
        }
    }

    /// The rows that are the same one, where both have it.
    fn matched<'t>(
        &mut self,
        before: Option<&'t Table>,
        after: Option<&'t Table>,
    ) -> Vec<(Option<Row<'t>>, Option<Row<'t>>)> {
        let rows = |table: Option<&'t Table>| {
            let rows = table.map_or(0, Table::rows);
            (0..rows).filter_map(move |row| Some(Row { table: table?, row })).collect::<Vec<_>>()
        };
        let (was, is) = (rows(before), rows(after));
        self.matched_by_order |= matches!(
            (before, after),
            (Some(before), Some(after)) if before.schema().key != after.schema().key
        );
        if self.matched_by_order {
            let longer = was.len().max(is.len());
            return (0..longer).map(|row| (was.get(row).copied(), is.get(row).copied())).collect();
        }
        let mut by_key: HashMap<Vec<Cow<'_, str>>, Row<'_>> =
            is.iter().map(|row| (row.key_cells(), *row)).collect();
        let mut matched: Vec<_> =
            was.into_iter().map(|row| (Some(row), by_key.remove(&row.key_cells()))).collect();
        let only_new = is.into_iter().filter(|row| by_key.contains_key(&row.key_cells()));
        matched.extend(only_new.map(|row| (None, Some(row))));
        matched
    }

    /// Counts what is in columns that only one version has, and says which of the gone ones have all their
    /// values in a new one, here.
    fn add_columns(&mut self, before: &Table, after: &Table) -> Vec<String> {
        let only = |one: &Table, other: &Table| -> Vec<(usize, String)> {
            let columns = one.schema().columns.iter().enumerate();
            let missing = columns.filter(|(_, column)| place(other, &column.name).is_none());
            missing.map(|(index, column)| (index, column.name.clone())).collect()
        };
        let (gone, new) = (only(before, after), only(after, before));
        for (table, columns, counts) in
            [(before, &gone, &mut self.gone_columns), (after, &new, &mut self.new_columns)]
        {
            for (index, name) in columns {
                let values = (0..table.rows()).filter(|row| table.cell(*row, *index).is_some());
                *counts.entry(name.clone()).or_default() += values.count() as u64;
            }
        }
        if gone.is_empty() || new.is_empty() {
            return Vec::new();
        }
        let is_same = |was: usize, is: usize| {
            let kind = |table: &Table, index: usize| table.schema().columns[index].column_type;
            kind(before, was) == kind(after, is)
                && before.rows() == after.rows()
                && (0..before.rows()).all(|row| before.cell(row, was) == after.cell(row, is))
        };
        let alike = gone.iter().map(|(was, old)| {
            let same = new.iter().filter(|(is, _)| is_same(*was, *is));
            (old.clone(), same.map(|(_, name)| name.clone()).collect::<Vec<_>>())
        });
        let alike: BTreeMap<_, _> = alike.collect();
        let here = alike.iter().filter(|(_, same)| !same.is_empty()).map(|(old, _)| old.clone());
        let here = here.collect();
        let so_far = self.alike.get_or_insert_with(|| alike.clone());
        for (old, names) in so_far {
            let same = alike.get(old);
            names.retain(|name| same.is_some_and(|same| same.contains(name)));
        }
        here
    }

    /// Concludes which columns have only got another name: those with values, all of them the same.
    pub fn conclude(&mut self) {
        let mut taken = Vec::new();
        for (old, names) in self.alike.take().unwrap_or_default() {
            let has_values = self.gone_columns.get(&old).is_some_and(|values| *values > 0);
            if let Some(name) = names.into_iter().find(|name| has_values && !taken.contains(name)) {
                self.gone_columns.remove(&old);
                self.new_columns.remove(&name);
                taken.push(name.clone());
                self.renamed.insert(old, name);
            }
        }
    }
}

/// A row of one version.
#[derive(Clone, Copy)]
struct Row<'t> {
    table: &'t Table,
    row: usize,
}

impl<'t> Row<'t> {
    fn cell(self, column: &str) -> Option<Cow<'t, str>> {
        self.table.cell(self.row, place(self.table, column)?)
    }

    fn key_cells(self) -> Vec<Cow<'t, str>> {
        let key = self.table.schema().key.iter();
        key.map(|column| self.cell(column).unwrap_or_default()).collect()
    }

    fn key(self, by_order: bool) -> BTreeMap<String, String> {
        if by_order {
            return [("row".to_owned(), (self.row + 1).to_string())].into();
        }
        let key = self.table.schema().key.iter().cloned();
        key.zip(self.key_cells().into_iter().map(Cow::into_owned)).collect()
    }
}

/// The columns of two versions: each with its place in either.
struct Columns<'t>(Vec<(&'t str, Option<usize>, Option<usize>)>);

impl<'t> Columns<'t> {
    fn of(before: Option<&'t Table>, after: Option<&'t Table>) -> Self {
        let names = |table: Option<&'t Table>| {
            let columns = table.into_iter().flat_map(|table| &table.schema().columns);
            columns.map(|column| column.name.as_str())
        };
        let at = |table: Option<&Table>, name: &str| place(table?, name);
        let gone = names(before).filter(|name| at(after, name).is_none());
        let all = names(after).chain(gone);
        Columns(all.map(|name| (name, at(before, name), at(after, name))).collect())
    }

    /// The values that are not the same. Of a row that both have those in new columns don't count, and
    /// those in gone ones don't that are elsewhere now.
    fn cells(
        &self,
        was: Option<Row<'_>>,
        is: Option<Row<'_>>,
        alike: &[String],
    ) -> Vec<CellChange> {
        let cell = |row: Option<Row<'_>>, column: Option<usize>| {
            let Row { table, row } = row?;
            Some(table.cell(row, column?)?.into_owned())
        };
        let is_meant = |(name, before, _): &&(&str, Option<usize>, Option<usize>)| {
            let is_matched = was.is_some() && is.is_some();
            !is_matched || (before.is_some() && !alike.iter().any(|old| old == name))
        };
        let changes = self.0.iter().filter(is_meant).map(|(name, before, after)| CellChange {
            column: (*name).to_owned(),
            before: cell(was, *before),
            after: cell(is, *after),
        });
        changes.filter(|cell| cell.before != cell.after).collect()
    }
}

fn place(table: &Table, column: &str) -> Option<usize> {
    table.schema().columns.iter().position(|known| known.name == column)
}
