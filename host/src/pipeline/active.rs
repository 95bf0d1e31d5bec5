//! The plugins of a run: those that lie among the plugins, each checked against its tables'
//! records; where one is refused, the version of history that was active last and fits.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Instant,
};

use futures_util::{StreamExt, stream};
use serde::Serialize;
use time::OffsetDateTime;

use super::{
    PipelineError,
    loads::{Ended, Load, LoadRecords},
    owners::reject_newcomers,
    plugin_files::{IgnoredFiles, PluginFiles, plugin_files},
    records::{Records, Target, is_removed, missing_owners},
    report::{Action, PluginReport, PluginStatus, Problem},
    required::Required,
    versions::{HistoryRecord, UPLOAD, file_of, keep, versions},
};
use crate::{
    config::Limits,
    document::sha256,
    layout::{self, Key, is_plugin_name},
    plugin::{Engine, EngineError, Plugin},
    store::{Listed, Store, StoreError, Tag, list_all},
};

/// So many plugins are read and compiled at a time.
const LOADS_AT_ONCE: usize = 8;

/// Where plugins come from.
#[derive(Clone, Copy)]
pub struct PluginPlace<'s> {
    /// The store that they lie in.
    pub store: &'s dyn Store,
    /// The prefix of their keys there.
    pub prefix: &'s str,
}

/// A file that was loaded; or why it was refused, with its SHA-256.
type Verdict = Result<Arc<Plugin>, (String, Problem)>;

/// Plugins that were loaded, for as long as the program runs: one whose file is the same as before
/// is not loaded again, and one whose file is gone is dropped.
pub struct Shelf {
    limits: Limits,
    cache: Option<PathBuf>,
    shipped: Option<PathBuf>,
    records: Option<LoadRecords>,
    engine: OnceLock<Arc<Engine>>,
    /// When the time of the run is up, if it has an end: no plugin is waited for any longer.
    end: Mutex<Option<Instant>>,
    /// By key: what was loaded, or why it was refused, with its file's SHA-256.
    loaded: Mutex<HashMap<String, (Tag, Verdict)>>,
    /// The records of versions that are known to be in history.
    remembered: Mutex<HashSet<String>>,
    /// The records of versions that are known to be published.
    published: Mutex<HashSet<String>>,
}

impl Shelf {
    /// An empty one. Compiled plugins are kept in a folder, if one is given.
    pub fn new(limits: &Limits, cache: Option<PathBuf>) -> Self {
        let limits = limits.clone();
        Shelf {
            limits,
            cache,
            shipped: None,
            records: None,
            engine: OnceLock::new(),
            end: Mutex::default(),
            loaded: Mutex::default(),
            remembered: Mutex::default(),
            published: Mutex::default(),
        }
    }

    /// The same, with a record in the store of what is compiled and of what was refused.
    #[must_use]
    pub fn with_records(mut self, records: LoadRecords) -> Self {
        self.records = Some(records);
        self
    }

    /// Sets when the time of the run is up.
    pub fn set_end(&self, end: Option<Instant>) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = end;
    }

    fn end(&self) -> Option<Instant> {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, with a folder of compiled plugins that came with this program.
    #[must_use]
    pub fn with_shipped(mut self, folder: PathBuf) -> Self {
        self.shipped = Some(folder);
        self
    }

    /// The engine, made when it is needed first.
    ///
    /// # Errors
    ///
    /// If the machine can't run WebAssembly.
    pub fn engine(&self) -> Result<Arc<Engine>, EngineError> {
        if let Some(engine) = self.engine.get() {
            return Ok(Arc::clone(engine));
        }
        let engine = Engine::new(&self.limits, self.cache.as_deref())?;
        let engine = Arc::new(engine.with_shipped(self.shipped.clone()));
        Ok(Arc::clone(self.engine.get_or_init(|| engine)))
    }

    fn loaded(&self) -> MutexGuard<'_, HashMap<String, (Tag, Verdict)>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remembered(&self) -> MutexGuard<'_, HashSet<String>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn published(&self) -> MutexGuard<'_, HashSet<String>> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a plugin is known to be published.
    pub(super) fn is_published(&self, plugin: &Plugin) -> bool {
        self.published().contains(&record_key(plugin))
    }

    /// Remembers that a plugin is published.
    pub(super) fn remember_published(&self, plugin: &Plugin) {
        self.published().insert(record_key(plugin));
    }

    /// The plugin of an object that didn't change since it was loaded.
    fn find(&self, listed: &Listed) -> Option<Verdict> {
        let loaded = self.loaded();
        let (tag, plugin) = loaded.get(&listed.key)?;
        (listed.tag.as_ref() == Some(tag)).then(|| plugin.clone())
    }

    fn keep(&self, key: &str, tag: Tag, plugin: Verdict) {
        self.loaded().insert(key.to_owned(), (tag, plugin));
    }

    fn drop_others(&self, listed: &[(String, Listed)]) {
        self.loaded().retain(|key, _| listed.iter().any(|(_, listed)| listed.key == *key));
    }
}

/// A plugin that takes part in a run.
#[derive(Clone)]
pub struct ActivePlugin {
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// Where the rows of each of its tables go, in its order.
    pub targets: Vec<Target>,
}

/// The plugins of a run, and what became of all that were found.
pub struct ActiveSet {
    /// Those that take part, by name.
    pub plugins: Vec<ActivePlugin>,
    /// All that were found, by name.
    pub reports: Vec<PluginReport>,
    /// All that were found and are plugins, fit for their tables or not.
    pub seen: Vec<Arc<Plugin>>,
    /// The files that are ignored because of their names.
    pub ignored: IgnoredFiles,
    /// The names of those that were refused because another plugin owns their table.
    newcomers: BTreeSet<String>,
    /// The records of history, where they were listed.
    history: Option<HashSet<String>>,
}

impl ActiveSet {
    fn refuse(&mut self, name: &str, problem: &Problem) {
        for report in self.reports.iter_mut().filter(|report| report.name == name) {
            report.status = PluginStatus::Refused;
            report.problem = Some(problem.clone());
        }
    }

    /// Returns all that were found and are plugins, without those whose table another plugin owns.
    pub fn without_newcomers(self) -> Vec<Arc<Plugin>> {
        let ActiveSet { mut seen, newcomers, .. } = self;
        seen.retain(|plugin| !newcomers.contains(plugin.name()));
        seen
    }

    /// Returns the names of the plugins whose rows are missing, in whichever version. A newcomer is not among
    /// them: the owner of its table makes the rows.
    pub fn refused(&self) -> Vec<String> {
        let is_absent = |report: &&PluginReport| {
            matches!(report.status, PluginStatus::Refused | PluginStatus::Missing)
                && !self.newcomers.contains(&report.name)
        };
        let refused = self.reports.iter().filter(is_absent);
        refused.map(|report| report.name.clone()).collect()
    }
}

/// Loads the plugins, and writes what that changes: table records and history.
///
/// # Errors
///
/// If there are none, or the store fails.
pub async fn activate(
    records: &Records<'_>,
    place: PluginPlace<'_>,
    shelf: &Shelf,
    now: OffsetDateTime,
) -> Result<ActiveSet, PipelineError> {
    let mut set = choose(records, place, shelf).await?;
    let mut active = Vec::new();
    for ActivePlugin { plugin, targets: chosen } in std::mem::take(&mut set.plugins) {
        if chosen.iter().all(|target| target.is_recorded) {
            active.push(ActivePlugin { plugin, targets: chosen });
            continue;
        }
        // Another run may have changed a record since the choice.
        let targets = match records.extend(&plugin).await? {
            Ok(()) => records.targets(&plugin).await?,
            Err(problem) => Err(problem),
        };
        match targets {
            Ok(targets) => active.push(ActivePlugin { plugin, targets }),
            Err(problem) => set.refuse(plugin.name(), &problem),
        }
    }
    set.plugins = active;
    remember_new(records.store, place, shelf, &set, now).await?;
    Ok(set)
}

/// Keeps in history what is not there yet.
async fn remember_new(
    store: &dyn Store,
    place: PluginPlace<'_>,
    shelf: &Shelf,
    set: &ActiveSet,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let is_remembered = |plugin: &&Arc<Plugin>| !shelf.remembered().contains(&record_key(plugin));
    let unknown: Vec<&Arc<Plugin>> = set.seen.iter().filter(is_remembered).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    // Where plugins lie in the store itself, their history was listed with them.
    let listed = match &set.history {
        Some(history) => history.clone(),
        None => history_of(&list_all(store, layout::HISTORY).await?),
    };
    for plugin in unknown {
        let record = record_key(plugin);
        if !listed.contains(&record) {
            // It may have been replaced since it was loaded.
            if !remember(store, place, plugin, now).await? {
                continue;
            }
        }
        shelf.remembered().insert(record);
    }
    Ok(())
}

/// Loads the plugins, so that who needs them next finds them loaded. What can't be loaded, or not now,
/// is found out then.
///
/// # Errors
///
/// If the store fails.
pub async fn load_ahead(place: PluginPlace<'_>, shelf: &Shelf) -> Result<(), PipelineError> {
    let found = active_plugins(place).await?;
    let loads = stream::iter(&found).map(|(name, listed)| loaded(place, shelf, name, listed));
    let mut loads = loads.buffer_unordered(LOADS_AT_ONCE);
    while let Some(loaded) = loads.next().await {
        loaded?;
    }
    Ok(())
}

/// Loads the plugins and checks them against the records. Writes nothing.
///
/// # Errors
///
/// If there are none, or the store fails.
pub async fn choose(
    records: &Records<'_>,
    place: PluginPlace<'_>,
    shelf: &Shelf,
) -> Result<ActiveSet, PipelineError> {
    let listed = list_all(place.store, place.prefix).await?;
    let history = (place.prefix == layout::PLUGINS).then(|| history_of(&listed));
    let flag = Key::RequirePublish.to_string();
    // Plugins from elsewhere are held to what the store asks for, too.
    let may_be_required = history.is_none() || listed.iter().any(|listed| listed.key == flag);
    let required = match may_be_required {
        true => Required::of(records.store).await?,
        false => None,
    };
    let choice = Choice { records, place, shelf, required: required.as_ref() };
    let PluginFiles { plugins: found, ignored } = PluginFiles::among(listed, place);
    shelf.drop_others(&found);
    let mut candidates = candidates(&choice, &found).await?;
    if candidates.is_empty() {
        return Err(PipelineError::no_plugins(place, &ignored));
    }
    let newcomers = reject_newcomers(records, &mut candidates).await?;
    refuse_shared_tables(&mut candidates, &newcomers);
    let mut set = ActiveSet {
        plugins: Vec::new(),
        reports: Vec::new(),
        seen: Vec::new(),
        ignored,
        newcomers,
        history,
    };
    for candidate in candidates {
        set.seen.extend(candidate.plugin.clone());
        let Candidate { name, sha256, plugin, targets, problem, shares_table, .. } = candidate;
        let (status, active) = match (&problem, plugin) {
            (None, Some(plugin)) => (PluginStatus::Active, Some(ActivePlugin { plugin, targets })),
            _ if shares_table || set.newcomers.contains(&name) => (PluginStatus::Refused, None),
            _ => match fallback(&choice, &name, &sha256, &set).await? {
                Some(active) => (PluginStatus::Fallback, Some(active)),
                None => (PluginStatus::Refused, None),
            },
        };
        let ran = active.as_ref().map(|active| &active.plugin);
        set.reports.push(PluginReport {
            name,
            status,
            version: ran.map(|plugin| plugin.version().to_owned()),
            refused_sha256: (status == PluginStatus::Fallback).then(|| sha256.clone()),
            sha256: ran.map_or(sha256, |plugin| plugin.sha256().to_owned()),
            tables: ran.map_or(Vec::new(), |plugin| table_names(plugin)),
            problem,
        });
        set.plugins.extend(active);
    }
    let missing = missing_plugins(records.store, place, &set.reports).await?;
    set.reports.extend(missing);
    Ok(set)
}

/// Reports the plugins that tables of a store belong to, and that are not among those found, although no
/// command removed them. Without them a document's tables are not complete.
///
/// # Errors
///
/// If the store fails.
pub async fn missing_plugins(
    store: &dyn Store,
    place: PluginPlace<'_>,
    found: &[PluginReport],
) -> Result<Vec<PluginReport>, StoreError> {
    let mut missing = Vec::new();
    for (name, tables) in missing_owners(store, found).await? {
        let key = format!("{}{name}.wasm", place.prefix);
        let list = tables.join("`, `");
        // It may have been put there since the plugins were listed.
        let problem = match place.store.head(&key).await? {
            Some(_) => {
                let message = "was uploaded while this run began (run the same command again)";
                Problem { action: Action::Retry, ..Problem::of_plugin(&name, message) }
            }
            None => Problem::of_plugin(
                &name,
                format!(
                    "is missing: table `{list}` belongs to it, and {} is not there (upload it again; or, to fill the table no more: spotify-etl plugin remove {name})",
                    place.store.location(&key)
                ),
            ),
        };
        missing.push(PluginReport {
            name,
            status: PluginStatus::Missing,
            version: None,
            sha256: String::new(),
            refused_sha256: None,
            tables,
            problem: Some(problem),
        });
    }
    Ok(missing)
}

/// What plugins are chosen with.
struct Choice<'c> {
    records: &'c Records<'c>,
    place: PluginPlace<'c>,
    shelf: &'c Shelf,
    /// Whether only published versions may run.
    required: Option<&'c Required>,
}

/// A file among the plugins, looked at.
pub(super) struct Candidate {
    pub(super) name: String,
    sha256: String,
    plugin: Option<Arc<Plugin>>,
    /// The plugin of a file that can't be used because of its name, or because nobody published it.
    unusable: Option<Arc<Plugin>>,
    targets: Vec<Target>,
    pub(super) problem: Option<Problem>,
    shares_table: bool,
}

impl Candidate {
    /// Returns the names of the tables that the file declares, whatever its own name is.
    pub(super) fn tables(&self) -> Vec<String> {
        let plugin = self.plugin.as_ref().or(self.unusable.as_ref());
        plugin.map_or_else(Vec::new, |plugin| table_names(plugin))
    }
}

async fn candidates(
    choice: &Choice<'_>,
    found: &[(String, Listed)],
) -> Result<Vec<Candidate>, PipelineError> {
    let looked_at =
        stream::iter(found).map(|(name, listed)| candidate(choice, name.clone(), listed));
    let mut candidates = Vec::new();
    let mut looked_at = looked_at.buffered(LOADS_AT_ONCE);
    while let Some(candidate) = looked_at.next().await {
        candidates.extend(candidate?);
    }
    Ok(candidates)
}

async fn candidate(
    choice: &Choice<'_>,
    name: String,
    listed: &Listed,
) -> Result<Option<Candidate>, PipelineError> {
    let Choice { records, place, shelf, required } = *choice;
    let mut candidate = Candidate {
        name,
        sha256: String::new(),
        plugin: None,
        unusable: None,
        targets: Vec::new(),
        problem: None,
        shares_table: false,
    };
    match loaded(place, shelf, &candidate.name, listed).await? {
        Loaded::Gone => return Ok(None),
        Loaded::Plugin(plugin) if !may_run(required, records.store, shelf, &plugin).await? => {
            candidate.sha256 = plugin.sha256().to_owned();
            candidate.problem = Some(Problem::of_plugin(
                &candidate.name,
                "is refused: nobody published this version, and the store takes no other (publish it: spotify-etl plugin publish FILE; or take uploads again: spotify-etl plugin require-publish off)",
            ));
            candidate.unusable = Some(plugin);
        }
        Loaded::Plugin(plugin) => {
            candidate.sha256 = plugin.sha256().to_owned();
            match records.targets(&plugin).await? {
                Ok(targets) => candidate.targets = targets,
                Err(problem) => candidate.problem = Some(problem),
            }
            candidate.plugin = Some(plugin);
        }
        Loaded::Refused { sha256, problem } => {
            candidate.sha256 = sha256;
            candidate.problem = Some(problem);
            if !is_plugin_name(&candidate.name) {
                candidate.unusable = misnamed(place, shelf, listed).await?;
            }
        }
    }
    Ok(Some(candidate))
}

/// Loads a file whose name is no plugin's name, to see which tables it declares. None if it can't be loaded.
async fn misnamed(
    place: PluginPlace<'_>,
    shelf: &Shelf,
    listed: &Listed,
) -> Result<Option<Arc<Plugin>>, PipelineError> {
    const NAME: &str = "misnamed";
    if shelf.engine()?.check_size(listed.size).is_err() {
        return Ok(None);
    }
    let Some(object) = place.store.get(&listed.key).await? else { return Ok(None) };
    let sha256 = sha256(&object.bytes);
    let bytes = object.bytes.into();
    let file = File { store: place.store, name: NAME, sha256: &sha256, bytes };
    let (loaded, _) = load_recorded(shelf, file).await?;
    Ok(loaded.ok())
}

/// Whether a version may run: any, or only a published one.
async fn may_run(
    required: Option<&Required>,
    store: &dyn Store,
    shelf: &Shelf,
    plugin: &Plugin,
) -> Result<bool, StoreError> {
    match required {
        Some(required) => required.takes_plugin(store, shelf, plugin).await,
        None => Ok(true),
    }
}

/// The key of a version's record in history.
fn record_key(plugin: &Plugin) -> String {
    let (name, sha256) = (plugin.name().to_owned(), plugin.sha256().to_owned());
    Key::HistoryRecord { name, sha256 }.to_string()
}

/// What became of a file among the plugins.
enum Loaded {
    Plugin(Arc<Plugin>),
    Refused {
        sha256: String,
        problem: Problem,
    },
    /// It was there a moment ago.
    Gone,
}

/// Loads a plugin, unless it is loaded already.
async fn loaded(
    place: PluginPlace<'_>,
    shelf: &Shelf,
    name: &str,
    listed: &Listed,
) -> Result<Loaded, PipelineError> {
    let engine = shelf.engine()?;
    if let Err(refusal) = engine.check_size(listed.size) {
        let problem = Problem::of_plugin(name, format!("is refused: {refusal}"));
        return Ok(Loaded::Refused { sha256: String::new(), problem });
    }
    match shelf.find(listed) {
        Some(Ok(plugin)) => return Ok(Loaded::Plugin(plugin)),
        Some(Err((sha256, problem))) => return Ok(Loaded::Refused { sha256, problem }),
        None => {}
    }
    let Some(object) = place.store.get(&listed.key).await? else { return Ok(Loaded::Gone) };
    let (sha256, tag) = (sha256(&object.bytes), object.tag());
    let file = File { store: place.store, name, sha256: &sha256, bytes: object.bytes.into() };
    let (loaded, lasting) = load_recorded(shelf, file).await?;
    let loaded = loaded.map_err(|problem| (sha256, problem));
    // Where a listing has no tags, it would not be found again.
    if listed.tag.is_some() && lasting == Lasting::Yes {
        shelf.keep(&listed.key, tag, loaded.clone());
    }
    Ok(match loaded {
        Ok(plugin) => Loaded::Plugin(plugin),
        Err((sha256, problem)) => Loaded::Refused { sha256, problem },
    })
}

/// What lies among the plugins, by name.
///
/// # Errors
///
/// If the store fails.
pub async fn active_plugins(place: PluginPlace<'_>) -> Result<Vec<(String, Listed)>, StoreError> {
    Ok(plugin_files(place).await?.plugins)
}

/// The keys of the records of history.
fn history_of(listed: &[Listed]) -> HashSet<String> {
    let is_record = |key: &str| matches!(key.parse(), Ok(Key::HistoryRecord { .. }));
    let keys = listed.iter().map(|listed| &listed.key).filter(|key| is_record(key));
    keys.cloned().collect()
}

/// Keeps an uploaded version in history. Says whether it is there: not if another file lies among the
/// plugins by now.
async fn remember(
    store: &dyn Store,
    place: PluginPlace<'_>,
    plugin: &Plugin,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let active = format!("{}{}.wasm", place.prefix, plugin.name());
    let object = place.store.get(&active).await?;
    let Some(object) = object.filter(|object| sha256(&object.bytes) == plugin.sha256()) else {
        return Ok(false);
    };
    keep(store, &HistoryRecord::of(plugin, UPLOAD, now), &object.bytes).await?;
    Ok(true)
}

/// Loads a plugin, away from what must not block.
///
/// # Errors
///
/// If the machine can't run it, whatever it is.
pub(super) async fn load(
    engine: &Arc<Engine>,
    name: &str,
    bytes: Vec<u8>,
) -> Result<Result<Arc<Plugin>, Problem>, EngineError> {
    Ok(attempt(engine, name, bytes).await?.map_err(|refused| refused.problem(name)))
}

/// Why a file is not used as a plugin, in words.
struct NotLoaded {
    why: String,
    lasting: Lasting,
}

/// Whether it would be refused again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lasting {
    Yes,
    No,
}

impl NotLoaded {
    fn problem(&self, name: &str) -> Problem {
        let problem = Problem::of_plugin(name, format!("is refused: {}", self.why));
        match self.lasting {
            Lasting::Yes => problem,
            Lasting::No => Problem { action: Action::Retry, ..problem },
        }
    }
}

async fn attempt(
    engine: &Arc<Engine>,
    name: &str,
    bytes: Vec<u8>,
) -> Result<Result<Arc<Plugin>, NotLoaded>, EngineError> {
    if !is_plugin_name(name) {
        let why = "a plugin's file is named with letters, digits, `_`, `-` and `.`, begins with a letter or digit, and has at most 64 characters (rename it)";
        return Ok(Err(NotLoaded { why: why.to_owned(), lasting: Lasting::Yes }));
    }
    let (engine, owned) = (engine.clone(), name.to_owned());
    let (why, lasting) =
        match tokio::task::spawn_blocking(move || engine.load(&owned, &bytes)).await {
            Ok(Ok(plugin)) => return Ok(Ok(Arc::new(plugin))),
            Ok(Err(refusal)) => match refusal.of_machine() {
                Some(cause) => return Err(EngineError::Setup(cause)),
                None if refusal.is_transient() => (refusal.to_string(), Lasting::No),
                None => (refusal.to_string(), Lasting::Yes),
            },
            Err(panic) => {
                let why = format!(
                    "looking at it failed inside the host: {panic} (have its author build it again)"
                );
                (why, Lasting::Yes)
            }
        };
    Ok(Err(NotLoaded { why, lasting }))
}

/// A plugin's file, with the store that has it.
struct File<'f> {
    store: &'f dyn Store,
    name: &'f str,
    sha256: &'f str,
    bytes: Vec<u8>,
}

/// Loads a file as far as the time of the run allows. If it has to be compiled, that is recorded first, where
/// records are kept; a file whose record speaks against it is not loaded. Says whether the result is worth
/// keeping.
async fn load_recorded(
    shelf: &Shelf,
    file: File<'_>,
) -> Result<(Result<Arc<Plugin>, Problem>, Lasting), PipelineError> {
    let name = file.name.to_owned();
    let loading = load_in_turn(shelf, file);
    match shelf.end() {
        Some(end) => tokio::time::timeout_at(end.into(), loading)
            .await
            .unwrap_or(Err(PipelineError::NoTimeToLoad { name })),
        None => loading.await,
    }
}

async fn load_in_turn(
    shelf: &Shelf,
    file: File<'_>,
) -> Result<(Result<Arc<Plugin>, Problem>, Lasting), PipelineError> {
    let engine = shelf.engine()?;
    let File { store, name, sha256, mut bytes } = file;
    let mut noted = None;
    if let Some(records) = shelf.records {
        let (looking, sha256) = (Arc::clone(&engine), sha256.to_owned());
        let looked_at = tokio::task::spawn_blocking(move || {
            let must_compile = looking.must_compile(&bytes, &sha256);
            (must_compile, bytes)
        });
        let must_compile;
        (must_compile, bytes) = match looked_at.await {
            Ok(looked_at) => looked_at,
            Err(panic) => {
                let message = format!(
                    "is refused: looking at it failed inside the host: {panic} (have its author build it again)"
                );
                return Ok((Err(Problem::of_plugin(name, message)), Lasting::Yes));
            }
        };
        if must_compile {
            noted =
                Some((Load { store, limits: &shelf.limits, name, sha256: file.sha256 }, records));
        }
    }
    if let Some((load, records)) = &noted
        && let Err(why) = load.begin(*records).await
    {
        return Ok((Err(Problem::of_plugin(name, why)), Lasting::No));
    }
    let loaded = attempt(&engine, name, bytes).await;
    if let Some((load, _)) = &noted {
        load.end(match &loaded {
            Ok(Ok(_)) => Ended::Loaded,
            Ok(Err(NotLoaded { why, lasting: Lasting::Yes })) => Ended::Refused(why),
            Ok(Err(_)) | Err(_) => Ended::Passing,
        })
        .await;
    }
    Ok(match loaded? {
        Ok(plugin) => (Ok(plugin), Lasting::Yes),
        Err(refused) => (Err(refused.problem(name)), refused.lasting),
    })
}

/// Refuses all plugins that declare the same table, if no record of the table names its owner.
fn refuse_shared_tables(candidates: &mut [Candidate], newcomers: &BTreeSet<String>) {
    let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Candidate { name, plugin, .. } in
        candidates.iter().filter(|candidate| !newcomers.contains(&candidate.name))
    {
        for table in plugin.iter().flat_map(|plugin| plugin.tables()) {
            owners.entry(table.name.clone()).or_default().push(name.clone());
        }
    }
    for (table, names) in owners.iter().filter(|(_, names)| names.len() > 1) {
        let all = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ");
        for candidate in candidates.iter_mut().filter(|found| names.contains(&found.name)) {
            let message = format!(
                "is refused: table `{table}` is declared by {all}, and one table has one plugin \
                 (take all but one of them away)"
            );
            candidate.problem = Some(Problem::of_plugin(&candidate.name, message));
            candidate.shares_table = true;
        }
    }
}

/// The version of history that was active last and still loads and fits, other than the one that was refused.
/// None for a plugin that was removed by a command.
async fn fallback(
    choice: &Choice<'_>,
    name: &str,
    refused: &str,
    set: &ActiveSet,
) -> Result<Option<ActivePlugin>, PipelineError> {
    let Choice { records, shelf, required, .. } = *choice;
    if is_removed(records.store, name).await? {
        return Ok(None);
    }
    // A refused upload is in history too.
    let may_run = |record: &HistoryRecord| required.is_none_or(|required| required.takes(record));
    let all = versions(records.store, Some(name)).await?;
    let taken: Vec<String> =
        set.plugins.iter().flat_map(|active| table_names(&active.plugin)).collect();
    for record in all.into_iter().rev().filter(|record| record.sha256 != refused && may_run(record))
    {
        let Some(bytes) = file_of(records.store, &record).await? else { continue };
        let file = File { store: records.store, name, sha256: &record.sha256, bytes };
        let (Ok(plugin), _) = load_recorded(shelf, file).await? else { continue };
        let free = table_names(&plugin).iter().all(|table| !taken.contains(table));
        if free && let Ok(targets) = records.targets(&plugin).await? {
            return Ok(Some(ActivePlugin { plugin, targets }));
        }
    }
    Ok(None)
}

fn table_names(plugin: &Plugin) -> Vec<String> {
    plugin.tables().iter().map(|table| table.name.clone()).collect()
}

pub(super) fn pretty<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}
