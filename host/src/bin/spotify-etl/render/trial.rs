//! What became of a plugin that was tried.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::{Map, Value};
use spotify_etl::{
    config::{Bytes, Limits},
    document::Document,
    pipeline::{
        check::{CheckReport, Verdict},
        report::SkipReport,
        trial::{Attempt, Budget, TestReport, Tests, to_csv},
        tried::Tried,
    },
    plugin::Plugin,
    schema::ColumnType,
    table::Table,
};

use super::{counted, one_line, plain_table, right, rows, trimmed};

/// The rows that a plugin made of a document, to be shown.
#[derive(Serialize)]
pub struct Shown {
    document: String,
    tables: Vec<ShownTable>,
    skips: Vec<SkipReport>,
    /// Why there is none, if so.
    pub problem: Option<String>,
    budget: Budget,
    milliseconds: f64,
}

#[derive(Serialize)]
struct ShownTable {
    table: String,
    rows: Vec<Map<String, Value>>,
    #[serde(skip)]
    columns: Vec<(String, ColumnType)>,
    #[serde(skip)]
    csv: Vec<u8>,
}

impl Shown {
    /// What came out, or one table of it.
    ///
    /// # Errors
    ///
    /// If there is no such table.
    pub fn of(
        plugin: &Plugin,
        document: &Document,
        attempt: Attempt,
        only: Option<&str>,
        limits: &Limits,
    ) -> Result<Self> {
        if let Some(only) = only.filter(|only| !plugin.fills(only)) {
            let names: Vec<_> = plugin.tables().iter().map(|table| table.name.as_str()).collect();
            bail!("no table `{only}`; the plugin fills {}", names.join(", "));
        }
        let Attempt { tried, budget, milliseconds, fault } = attempt;
        let (tables, skips, problem) = match tried {
            Ok(Tried::Tables(tables, skips)) => (tables, skips, None),
            Ok(Tried::Unsupported(why)) => (Vec::new(), Vec::new(), Some(why)),
            Err(problem) => (Vec::new(), Vec::new(), Some(problem.to_string())),
        };
        let mut shown = Vec::new();
        for table in
            tables.iter().filter(|table| only.is_none_or(|only| table.schema().name == only))
        {
            shown.push(ShownTable::of(table, to_csv(table, document, plugin, limits)?));
        }
        let fault = fault.map(|fault| format!("plugin `{}` {fault}", plugin.name()));
        Ok(Shown {
            document: document.id().to_string(),
            tables: shown,
            skips,
            problem: problem.or(fault),
            budget,
            milliseconds,
        })
    }

    /// As the files of the tables have it.
    ///
    /// # Errors
    ///
    /// If there are several tables.
    pub fn csv(&self) -> Result<String> {
        match self.tables.as_slice() {
            [] => Ok(String::new()),
            [table] => Ok(String::from_utf8(table.csv.clone())?),
            tables => {
                let names: Vec<_> = tables.iter().map(|table| table.table.as_str()).collect();
                bail!("CSV is of one table: name it with --table ({})", names.join(", "))
            }
        }
    }

    /// On a screen.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for table in &self.tables {
            let _ = writeln!(text, "{}, {}", table.table, rows(table.rows.len() as u64));
            let _ = writeln!(text, "{}\n", table.text());
        }
        for SkipReport { position, reason } in &self.skips {
            let _ = writeln!(text, "skipped entry {position}: {reason}");
        }
        let _ = writeln!(text, "{} in {:.1} ms", budget(&self.budget), self.milliseconds);
        text
    }
}

impl ShownTable {
    fn of(table: &Table, csv: Vec<u8>) -> Self {
        let columns: Vec<_> = table
            .schema()
            .columns
            .iter()
            .map(|column| (column.name.clone(), column.column_type))
            .collect();
        let row = |row: usize| {
            let cells = columns.iter().enumerate();
            cells
                .map(|(index, (name, kind))| (name.clone(), value(table.cell(row, index), *kind)))
                .collect()
        };
        let rows = (0..table.rows()).map(row).collect();
        ShownTable { table: table.schema().name.clone(), rows, columns, csv }
    }

    fn text(&self) -> String {
        let mut shown = plain_table();
        shown.set_header(self.columns.iter().map(|(name, _)| name));
        for row in &self.rows {
            shown.add_row(self.columns.iter().map(|(name, _)| match &row[name] {
                Value::Null => String::new(),
                Value::String(text) => one_line(text),
                other => other.to_string(),
            }));
        }
        for (index, (_, kind)) in self.columns.iter().enumerate() {
            if matches!(kind, ColumnType::Int64 | ColumnType::Float64) {
                right(&mut shown, index);
            }
        }
        trimmed(&shown)
    }
}

fn value(cell: Option<std::borrow::Cow<'_, str>>, kind: ColumnType) -> Value {
    let Some(cell) = cell else { return Value::Null };
    match kind {
        ColumnType::Int64 => cell.parse::<i64>().map_or(Value::Null, Value::from),
        ColumnType::Float64 => cell.parse::<f64>().map_or(Value::Null, Value::from),
        ColumnType::Boolean => Value::Bool(cell == "true"),
        ColumnType::Text | ColumnType::Date | ColumnType::Timestamp => Value::from(cell.as_ref()),
    }
}

fn budget(budget: &Budget) -> String {
    let Budget { fuel, fuel_per_byte, memory_bytes, output_bytes } = budget;
    format!(
        "{:.2} million instructions ({fuel_per_byte} a byte), {} of memory, {} returned,",
        *fuel as f64 / 1e6,
        Bytes(*memory_bytes),
        Bytes(*output_bytes)
    )
}

/// What was found out about a plugin.
pub fn checked(report: &CheckReport) -> String {
    let mut table = plain_table();
    for finding in &report.findings {
        let mark = match finding.verdict {
            Verdict::Good => "✓",
            Verdict::Warning => "!",
            Verdict::Bad => "✗",
        };
        table.add_row([mark.to_owned(), finding.what.to_owned(), finding.words.clone()]);
    }
    format!("{}\n{}\n", report.plugin, trimmed(&table))
}

/// What tests of plugins found.
pub fn tested(report: &TestReport, tests: &Tests) -> String {
    let mut text = format!("{}\n\n", taken(report));
    faults(&mut text, report, tests);
    text
}

/// What each fixture took.
fn taken(report: &TestReport) -> String {
    let mut table = plain_table();
    table.set_header([
        "",
        "fixture",
        "plugin",
        "instructions",
        "a byte",
        "memory",
        "returned",
        "ms",
    ]);
    for case in &report.cases {
        let mark = if case.faults.is_empty() { "✓" } else { "✗" };
        for (plugin, taken) in &case.budgets {
            table.add_row([
                mark.to_owned(),
                case.case.clone(),
                plugin.clone(),
                taken.fuel.to_string(),
                taken.fuel_per_byte.to_string(),
                Bytes(taken.memory_bytes).to_string(),
                Bytes(taken.output_bytes).to_string(),
                format!("{:.1}", case.milliseconds.get(plugin).copied().unwrap_or_default()),
            ]);
        }
        if case.budgets.is_empty() {
            table.add_row([mark.to_owned(), case.case.clone()]);
        }
    }
    for column in 3..8 {
        right(&mut table, column);
    }
    trimmed(&table)
}

/// What is wrong, and whether all is good.
fn faults(text: &mut String, report: &TestReport, tests: &Tests) {
    for case in &report.cases {
        for fault in &case.faults {
            let _ = writeln!(text, "✗ {}: {fault}", case.case);
        }
    }
    for path in &report.unreferenced {
        let _ = writeln!(
            text,
            "✗ {}: nothing gives this golden file (delete it, or --update does)",
            tests.golden.join(path).display()
        );
    }
    if !report.others.is_empty() {
        let _ = writeln!(
            text,
            "golden tables of other plugins are there too ({}), and were not looked at",
            report.others.join(", ")
        );
    }
    if !report.has_budget {
        let _ = writeln!(
            text,
            "no budget in {}: nothing was held against one (--update writes it)",
            tests.budget.display()
        );
    }
    let faulty = report.cases.iter().filter(|case| !case.faults.is_empty()).count();
    let is_faulty = faulty > 0;
    let _ = match (report.is_good(), report.written) {
        (false, 0) if !is_faulty => writeln!(
            text,
            "✗ {} good, and {} that nothing gives",
            counted(report.cases.len(), "fixture"),
            counted(report.unreferenced.len(), "golden file")
        ),
        (true, 0) => writeln!(text, "✓ {} good", counted(report.cases.len(), "fixture")),
        (_, 0) => writeln!(text, "✗ {faulty} of {} failed", counted(report.cases.len(), "fixture")),
        (_, written) => writeln!(
            text,
            "{} kept as golden tables and budget: look at the difference before you commit",
            counted(written, "file")
        ),
    };
}
