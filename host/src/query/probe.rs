//! Which tables, columns and years a statement reads, as SQLite itself finds out while it prepares the
//! statement over empty tables. The authorizer is called for every table and column, those behind views
//! included. A virtual table is told which comparisons with constants all rows that are read must meet.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    ffi::{CStr, CString, c_int},
    marker::PhantomData,
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rusqlite::{
    Connection, Result, ffi,
    types::ValueRef,
    vtab::{
        Context, CreateVTab, Filters, IndexConstraintOp, IndexInfo, Module, VTab, VTabConfig,
        VTabConnection, VTabCursor, VTabKind,
    },
};

use super::{QueryError, ask, columns, functions, guard, sqlite_type, typed_select};
use crate::{
    answer::Answer,
    catalog::{View, quoted},
    schema::{PARTITION_COLUMN, TableSchema},
};

/// The bit that stands for this column and all after it.
const LAST_BIT: usize = 63;
/// All years.
const ALL_YEARS: RangeInclusive<i64> = i64::MIN..=i64::MAX;

/// What a statement reads of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The columns.
    pub columns: BTreeSet<String>,
    /// The years that rows are of.
    pub years: RangeInclusive<i64>,
}

/// Tables and views without a row.
pub struct Probe {
    connection: Connection,
    reads: Arc<Mutex<Reads>>,
    tables: Vec<String>,
    /// The columns of each of the tables.
    columns: Vec<Vec<String>>,
}

/// What statements read.
#[derive(Default)]
struct Reads {
    /// The columns by table or view.
    columns: BTreeMap<String, BTreeSet<String>>,
    /// The years by table.
    years: BTreeMap<usize, RangeInclusive<i64>>,
    /// The columns by table, a bit for each; the last bit stands for all columns from there on. The authorizer
    /// isn't called for the columns that `USING` and `NATURAL` compare.
    used: BTreeMap<usize, u64>,
}

impl Probe {
    /// Makes these tables, and these views over them.
    ///
    /// # Errors
    ///
    /// If SQLite takes none of them.
    pub fn new(tables: &[&TableSchema], views: &[View]) -> Result<Self, QueryError> {
        let connection = Connection::open_in_memory()?;
        guard::harden(&connection)?;
        functions::register(&connection)?;
        let reads = Arc::new(Mutex::new(Reads::default()));
        for (place, table) in tables.iter().enumerate() {
            let module = format!("store_table_{place}");
            let aux = Aux::new(place, table, Arc::clone(&reads));
            connection.create_module(module.as_str(), &EmptyTable::MODULE, Some(aux))?;
            let name = quoted(&table.name);
            connection.execute_batch(&format!("CREATE VIRTUAL TABLE {name} USING {module}"))?;
        }
        for view in views {
            let (name, select) = (quoted(&view.name), typed_select(view));
            connection.execute_batch(&format!("CREATE VIEW {name} AS\n{select}"))?;
        }
        let read = Arc::clone(&reads);
        guard::allow_reading(&connection, move |table, column| {
            lock(&read).columns.entry(table.to_owned()).or_default().insert(column.to_owned());
        })?;
        let names =
            |table: &&TableSchema| columns(table).map(|(name, _)| name.to_owned()).collect();
        let columns = tables.iter().map(names).collect();
        let tables = tables.iter().map(|table| table.name.clone()).collect();
        Ok(Probe { connection, reads, tables, columns })
    }

    /// Returns what a statement reads, by table.
    ///
    /// # Errors
    ///
    /// If it is not a single `SELECT`, or not one that SQLite understands.
    pub fn needs(&self, sql: &str) -> Result<BTreeMap<String, Need>, QueryError> {
        *lock(&self.reads) = Reads::default();
        ask::prepare(&self.connection, sql).map_err(|error| self.with_names(error))?;
        let reads = std::mem::take(&mut *lock(&self.reads));
        let mut needs = BTreeMap::new();
        for (place, table) in self.tables.iter().enumerate() {
            let is_it = |name: &String| name.eq_ignore_ascii_case(table);
            let read: Vec<_> = reads.columns.iter().filter(|(name, _)| is_it(name)).collect();
            if read.is_empty() && !reads.used.contains_key(&place) {
                continue;
            }
            let used = reads.used.get(&place).copied().unwrap_or(u64::MAX);
            let is_used = |at: usize| used >> at.min(LAST_BIT) & 1 == 1;
            let compared = self.columns[place].iter().enumerate();
            let compared = compared.filter(|(at, _)| is_used(*at)).map(|(_, name)| name.clone());
            let columns = read.into_iter().flat_map(|(_, columns)| columns.clone());
            let columns = columns.chain(compared);
            let years = reads.years.get(&place).cloned().unwrap_or(ALL_YEARS);
            needs.insert(table.clone(), Need { columns: columns.collect(), years });
        }
        let is_schema = |name: &String| name.to_ascii_lowercase().starts_with("sqlite_");
        if !needs.is_empty() && reads.columns.keys().any(is_schema) {
            return Err(QueryError::Schema);
        }
        Ok(needs)
    }

    /// Answers a statement that reads no table.
    ///
    /// # Errors
    ///
    /// If it is not a single `SELECT`, or not one that SQLite understands.
    pub fn ask(&self, sql: &str) -> Result<Answer, QueryError> {
        ask::ask(&self.connection, sql)
    }

    /// Adds the names that there are to an error about one that there isn't.
    pub fn with_names(&self, error: QueryError) -> QueryError {
        match error {
            QueryError::Sql { problem, .. } if problem.to_string().contains("no such table") => {
                let names = self
                    .connection
                    .prepare("SELECT name FROM sqlite_master ORDER BY name")
                    .and_then(|mut all| {
                        all.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>>>()
                    });
                let names = names.unwrap_or_default().join(", ");
                let hint = format!(" (there are {names}, without a database's name before them)");
                QueryError::Sql { hint, problem }
            }
            error => error,
        }
    }
}

fn lock(reads: &Mutex<Reads>) -> MutexGuard<'_, Reads> {
    reads.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an empty table is made of.
struct Aux {
    place: usize,
    declaration: CString,
    year_column: c_int,
    reads: Arc<Mutex<Reads>>,
}

impl Aux {
    fn new(place: usize, table: &TableSchema, reads: Arc<Mutex<Reads>>) -> Self {
        let declared: Vec<String> = columns(table)
            .map(|(name, kind)| format!("{} {}", quoted(name), sqlite_type(kind)))
            .collect();
        let year = columns(table).position(|(name, _)| name == PARTITION_COLUMN);
        let declaration = format!("CREATE TABLE x ({})", declared.join(", "));
        Aux {
            place,
            // A name has no NUL in it; SQLite refuses an empty declaration.
            declaration: CString::new(declaration).unwrap_or_default(),
            year_column: year.and_then(|year| c_int::try_from(year).ok()).unwrap_or(-1),
            reads,
        }
    }
}

/// A table without rows that notes which years are asked for.
#[repr(C)]
struct EmptyTable {
    /// SQLite's part, which has to be first.
    base: ffi::sqlite3_vtab,
    place: usize,
    year_column: c_int,
    reads: Arc<Mutex<Reads>>,
}

impl EmptyTable {
    const MODULE: Module<'static, EmptyTable> = Module::read_only_module();
}

// SAFETY: the type is `repr(C)` and begins with SQLite's part, as the trait requires.
unsafe impl<'vtab> VTab<'vtab> for EmptyTable {
    type Aux = Aux;
    type Cursor = NoRows<'vtab>;

    fn connect(
        connection: &mut VTabConnection,
        aux: Option<&Aux>,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: &[&[u8]],
    ) -> Result<(Cow<'static, CStr>, Self)> {
        let missing = || rusqlite::Error::ModuleError("no table is given".to_owned());
        let aux = aux.ok_or_else(missing)?;
        // Views may read it.
        connection.config(VTabConfig::Innocuous)?;
        let table = EmptyTable {
            base: ffi::sqlite3_vtab::default(),
            place: aux.place,
            year_column: aux.year_column,
            reads: Arc::clone(&aux.reads),
        };
        Ok((Cow::Owned(aux.declaration.clone()), table))
    }

    fn best_index(&self, info: &mut IndexInfo) -> Result<bool> {
        let (mut years, mut narrowing) = (ALL_YEARS, Vec::new());
        for (place, constraint) in info.constraints().enumerate() {
            if constraint.column() == self.year_column
                && constraint.is_usable()
                // None unless it is a constant.
                && let Ok(Some(ValueRef::Integer(year))) = info.rhs_value(place)
            {
                years = narrowed(&years, constraint.operator(), year);
                narrowing.push(place);
            }
        }
        // SQLite calls all constraints usable at first, also those in the ON of an outer join that don't filter this
        // table. Only if one of these is claimed, it asks again without it, and all years count then.
        for (number, place) in (1..).zip(narrowing) {
            info.constraint_usage(place).set_argv_index(number);
        }
        let used = info.col_used();
        // Each way to read the table that SQLite considers, and each place where it stands, counts.
        let mut reads = lock(&self.reads);
        let known = reads.years.get(&self.place);
        let all = known.map_or(years.clone(), |known| {
            *known.start().min(years.start())..=*known.end().max(years.end())
        });
        reads.years.insert(self.place, all);
        *reads.used.entry(self.place).or_default() |= used;
        Ok(true)
    }

    fn open(&'vtab mut self) -> Result<NoRows<'vtab>> {
        Ok(NoRows { base: ffi::sqlite3_vtab_cursor::default(), table: PhantomData })
    }
}

impl CreateVTab<'_> for EmptyTable {
    const KIND: VTabKind = VTabKind::Default;
}

/// Returns the years that meet a comparison as well.
fn narrowed(
    years: &RangeInclusive<i64>,
    operator: IndexConstraintOp,
    year: i64,
) -> RangeInclusive<i64> {
    let (first, last) = (*years.start(), *years.end());
    match operator {
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ => first.max(year)..=last.min(year),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GT => first.max(year.saturating_add(1))..=last,
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GE => first.max(year)..=last,
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LT => first..=last.min(year.saturating_sub(1)),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LE => first..=last.min(year),
        _ => first..=last,
    }
}

/// A cursor over no rows.
#[repr(C)]
struct NoRows<'vtab> {
    /// SQLite's part, which has to be first.
    base: ffi::sqlite3_vtab_cursor,
    table: PhantomData<&'vtab EmptyTable>,
}

// SAFETY: the type is `repr(C)` and begins with SQLite's part, as the trait requires.
unsafe impl VTabCursor for NoRows<'_> {
    fn filter(&mut self, _: c_int, _: Option<&str>, _: &Filters<'_>) -> Result<()> {
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        Ok(())
    }

    fn eof(&self) -> bool {
        true
    }

    fn column(&self, _: &mut Context, _: c_int) -> Result<()> {
        Ok(())
    }

    fn rowid(&self) -> Result<i64> {
        Ok(0)
    }
}
