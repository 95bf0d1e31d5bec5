//! Amazon Athena: runs a statement, waits for it, and brings what it gives.

use std::time::Duration;

use aws_sdk_athena::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::{
        ColumnInfo, QueryExecution, QueryExecutionContext, QueryExecutionState,
        ResultConfiguration, Row,
    },
};
use tokio::time::{Instant, sleep};

use crate::{
    answer::{Answer, Cell},
    aws::{self, NoRegion, Refusal},
    config::Bytes,
};

/// How long is waited before it is asked for the first time whether a statement has run.
const FIRST_WAIT: Duration = Duration::from_millis(150);
/// And at most from then on.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Where and how statements run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AthenaSettings {
    /// The workgroup; its own default otherwise.
    pub workgroup: Option<String>,
    /// Where results are kept, `s3://bucket/prefix/`, unless the workgroup says.
    pub output: Option<String>,
    /// The database that names are looked for in.
    pub database: Option<String>,
    /// As much as one statement may read, in bytes; then it is stopped.
    pub scan_bytes_max: Option<u64>,
    /// How long one statement may take.
    pub patience: Duration,
}

/// What a statement gave, and what it took.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Its rows.
    pub answer: Answer,
    /// How much it read, in bytes, by which Athena is paid.
    pub bytes_scanned: u64,
    /// How long it took there, in milliseconds.
    pub milliseconds: u64,
    /// Athena's name for it.
    pub query_id: String,
}

/// Athena.
pub struct Athena {
    client: Client,
    settings: AthenaSettings,
}

impl Athena {
    /// Gets it ready. Nothing is asked of it yet.
    ///
    /// # Errors
    ///
    /// If no region is known to look for it in.
    pub async fn open(settings: AthenaSettings) -> Result<Self, NoRegion> {
        Ok(Athena { client: Client::new(&aws::settings().await?), settings })
    }

    /// Runs a statement.
    ///
    /// # Errors
    ///
    /// If it is refused, fails, is stopped, or takes too long.
    pub async fn ask(&self, sql: &str) -> Result<Asked, AthenaError> {
        let (query_id, execution) = self.run(sql).await?;
        let statistics = execution.statistics();
        let number = |number: Option<i64>| u64::try_from(number.unwrap_or_default()).unwrap_or(0);
        Ok(Asked {
            answer: self.results(&query_id).await?,
            bytes_scanned: number(statistics.and_then(|all| all.data_scanned_in_bytes())),
            milliseconds: number(statistics.and_then(|all| all.total_execution_time_in_millis())),
            query_id,
        })
    }

    /// Runs a statement that gives nothing.
    ///
    /// # Errors
    ///
    /// If it is refused, fails, is stopped, or takes too long.
    pub async fn execute(&self, sql: &str) -> Result<(), AthenaError> {
        self.run(sql).await.map(|_| ())
    }

    async fn run(&self, sql: &str) -> Result<(String, QueryExecution), AthenaError> {
        let AthenaSettings { workgroup, output, database, .. } = &self.settings;
        let place =
            output.as_ref().map(|place| ResultConfiguration::builder().output_location(place));
        let context =
            database.as_ref().map(|database| QueryExecutionContext::builder().database(database));
        let started = self.client.start_query_execution().query_string(sql);
        let started = started
            .set_work_group(workgroup.clone())
            .set_result_configuration(place.map(|place| place.build()))
            .set_query_execution_context(context.map(|context| context.build()))
            .send()
            .await
            .map_err(|error| refused("run the statement", &error))?;
        let query_id = started.query_execution_id().unwrap_or_default().to_owned();
        let execution = self.wait(&query_id).await?;
        Ok((query_id, execution))
    }

    async fn wait(&self, query_id: &str) -> Result<QueryExecution, AthenaError> {
        let until = Instant::now() + self.settings.patience;
        let mut pause = FIRST_WAIT;
        loop {
            let found = self.client.get_query_execution().query_execution_id(query_id);
            let found = found.send().await;
            let found = found.map_err(|error| refused("look after the statement", &error))?;
            let Some(execution) = found.query_execution else {
                return Err(AthenaError::Lost { query_id: query_id.to_owned() });
            };
            let status = execution.status();
            let reason = status.and_then(|status| status.state_change_reason());
            let reason = reason.unwrap_or("it says no more").to_owned();
            match status.and_then(|status| status.state()) {
                Some(QueryExecutionState::Succeeded) => return Ok(execution),
                Some(QueryExecutionState::Failed) => {
                    let advice = advice_on(&reason);
                    return Err(AthenaError::Failed { reason, advice });
                }
                Some(QueryExecutionState::Cancelled) => {
                    return Err(AthenaError::Cancelled { reason });
                }
                _ => {}
            }
            let scanned = execution.statistics().and_then(|all| all.data_scanned_in_bytes());
            let scanned = u64::try_from(scanned.unwrap_or_default()).unwrap_or_default();
            if let Some(max) = self.settings.scan_bytes_max.filter(|max| scanned > *max) {
                self.stop(query_id).await;
                return Err(AthenaError::Scan { scanned, max });
            }
            if Instant::now() + pause > until {
                self.stop(query_id).await;
                let seconds = self.settings.patience.as_secs();
                return Err(AthenaError::Slow { query_id: query_id.to_owned(), seconds });
            }
            sleep(pause).await;
            pause = (pause * 3 / 2).min(WAIT_MAX);
        }
    }

    /// Stops a statement that nobody waits for; it costs what it reads.
    async fn stop(&self, query_id: &str) {
        let stop = self.client.stop_query_execution().query_execution_id(query_id);
        if let Err(error) = stop.send().await {
            tracing::warn!("{}", refused("stop the statement", &error));
        }
    }

    async fn results(&self, query_id: &str) -> Result<Answer, AthenaError> {
        let (mut answer, mut next) = (Answer::default(), None);
        let mut kinds = Vec::new();
        loop {
            let page = self.client.get_query_results().query_execution_id(query_id);
            let page = page.set_next_token(next).send().await;
            let page = page.map_err(|error| refused("fetch the rows", &error))?;
            let Some(set) = page.result_set() else { return Ok(answer) };
            let mut rows = set.rows();
            if answer.columns.is_empty() {
                let columns =
                    set.result_set_metadata().map_or(&[][..], |metadata| metadata.column_info());
                answer.columns = columns.iter().map(|column| column.name().to_owned()).collect();
                kinds = columns.iter().map(Kind::of).collect();
                // A SELECT's rows begin with the names of its columns.
                if let Some((first, rest)) = rows.split_first()
                    && texts(first).eq(answer.columns.iter().map(|name| Some(name.as_str())))
                {
                    rows = rest;
                }
            }
            for row in rows {
                let mut texts: Vec<Option<&str>> = texts(row).collect();
                // DESCRIBE and its kind give a row as one text.
                if let [Some(whole)] = texts.as_slice()
                    && kinds.len() > 1
                {
                    texts = whole.split('\t').map(|text| Some(text.trim())).collect();
                }
                texts.resize(kinds.len(), None);
                let cells = texts.into_iter().zip(&kinds).map(|(text, kind)| kind.cell(text));
                answer.rows.push(cells.collect());
            }
            match page.next_token() {
                Some(token) => next = Some(token.to_owned()),
                None => return Ok(answer),
            }
        }
    }
}

fn texts(row: &Row) -> impl Iterator<Item = Option<&str>> {
    row.data().iter().map(|datum| datum.var_char_value())
}

/// What the text of a cell stands for.
enum Kind {
    Integer,
    Real,
    Text,
}

impl Kind {
    fn of(column: &ColumnInfo) -> Self {
        match column.r#type() {
            "tinyint" | "smallint" | "integer" | "bigint" => Kind::Integer,
            "float" | "real" | "double" => Kind::Real,
            _ => Kind::Text,
        }
    }

    fn cell(&self, text: Option<&str>) -> Cell {
        let Some(text) = text else { return Cell::Null };
        let number = match self {
            Kind::Integer => text.parse().ok().map(Cell::Integer),
            Kind::Real => text.parse().ok().map(Cell::Real),
            Kind::Text => None,
        };
        number.unwrap_or_else(|| Cell::Text(text.to_owned()))
    }
}

fn refused<E>(what: &'static str, error: &SdkError<E>) -> AthenaError
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let words = aws::message(error).unwrap_or_default();
    let advice = |code: &str, _| advice(code, &words);
    AthenaError::Refused { what, source: Refusal::of(error, advice) }
}

fn advice(code: &str, words: &str) -> Option<&'static str> {
    Some(match code {
        "AccessDeniedException" | "AccessDenied" => {
            "these credentials must be allowed athena:StartQueryExecution, GetQueryExecution, GetQueryResults and StopQueryExecution on the workgroup, glue:Get*, Create*, Update* and Delete* on the database and its tables, and to read the store and write where results are kept"
        }
        "TooManyRequestsException" | "ThrottlingException" => {
            "Athena takes only so many statements at a time: run the same command again in a while"
        }
        "InvalidRequestException" if words.contains("utput location") => {
            "say where results are kept with --output s3://bucket/prefix/ (SPOTIFY_ETL_QUERY_OUTPUT), or name a --workgroup that says it"
        }
        "InvalidRequestException" if words.contains("orkGroup") || words.contains("orkgroup") => {
            "name a workgroup that is there with --workgroup (SPOTIFY_ETL_WORKGROUP)"
        }
        "InvalidRequestException" => "mend the statement, and run it again",
        _ => return None,
    })
}

/// What to do about a statement that Athena took, and that failed.
fn advice_on(reason: &str) -> &'static str {
    let has = |word: &str| reason.contains(word);
    if has("TABLE_NOT_FOUND") || has("SCHEMA_NOT_FOUND") || has("EntityNotFound") {
        " (make the tables and views there: spotify-etl catalog apply)"
    } else if has("not authorized") || has("Access Denied") || has("AccessDenied") {
        " (these credentials must be allowed to read the store, glue:Get*, Create* and Update* on the database and its tables, and to write where results are kept)"
    } else if has("TYPE_MISMATCH") && has("date") {
        " (days and moments are text in the views: write '2026-07-06', and date(snapshot_date) before a function that takes a date)"
    } else {
        ""
    }
}

/// Why a statement gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum AthenaError {
    /// It was refused, or Athena can't be reached.
    #[error("Athena could not {what}: {source}")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// What it says.
        source: Refusal,
    },
    /// It failed.
    #[error("Athena says: {reason}{advice}")]
    Failed {
        /// Why.
        reason: String,
        /// What to do.
        advice: &'static str,
    },
    /// Somebody stopped it.
    #[error("the statement was cancelled in Athena: {reason} (run it again)")]
    Cancelled {
        /// Why.
        reason: String,
    },
    /// It read too much.
    #[error(
        "stopped after it had read {}, and {} is the most (--max-scan raises that; a filter on snapshot_year reads less)",
        Bytes(*.scanned),
        Bytes(*.max)
    )]
    Scan {
        /// What it had read.
        scanned: u64,
        /// The limit.
        max: u64,
    },
    /// It took too long.
    #[error(
        "stopped, as the statement {query_id} was not done after {seconds} seconds (raise that with --limit query_seconds=...)"
    )]
    Slow {
        /// Athena's name for it.
        query_id: String,
        /// The limit.
        seconds: u64,
    },
    /// Athena doesn't know it any more.
    #[error("Athena knows nothing of the statement {query_id} (run it again)")]
    Lost {
        /// Its name.
        query_id: String,
    },
}
