//! Plugins: begun, tried, compared, published, and rolled back.

use std::{
    fs,
    io::{IsTerminal as _, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};
use spotify_etl::{
    config::{Bytes, user},
    document::Document,
    files::{open_regular, read_regular},
    layout::Key,
    pipeline::{
        PipelineError,
        active::choose,
        cataloging::{Place, applied_database, apply, is_applied},
        check::{CheckReport, check_alone, check_in_store},
        diff::{Diff, DiffReport, RowChange},
        document_bytes,
        explain::explain,
        publish::{
            History, PublishError, PublishReport, Standing, Switch, Switched, remove, version_meant,
        },
        records::{Records, misfits, table_records},
        replay::Filter,
        report::{Empty, PluginReport, PluginStatus},
        required::{Required, Version, require, require_no_more},
        trial::{self, TestError, TestMode, Tests, Trial},
        versions::{Way, versions},
    },
    plugin::{Engine, Plugin, Refusal, precompile},
    scaffold,
    store::StoreAddress,
};

use super::{Session, Work};
use crate::{
    args::{
        DiffArgs, FUNCTION_MEMORY, Gate, OnOff, PluginCommand, Positions, SwitchArgs,
        bytes as bytes_of, plugin_name,
    },
    progress::Bar,
    render,
};

impl Session {
    /// Does what was asked for about plugins.
    pub async fn plugin(&self, command: PluginCommand) -> Result<u8> {
        match command {
            PluginCommand::New { name, to } => self.new_plugin(&name, to),
            PluginCommand::Run { file, document, table, csv } => {
                self.run_plugin(&file, &document, table.as_deref(), csv).await
            }
            PluginCommand::Check { file, name, function_memory } => {
                self.check(&file, name, function_memory).await
            }
            PluginCommand::Test { files, tests, update } => {
                let mode = if update { TestMode::Update } else { TestMode::Compare };
                self.test(&files, tests, mode).await
            }
            PluginCommand::Capture { key, entries, name, to } => {
                self.capture(&key, entries.as_ref(), name, &to).await
            }
            PluginCommand::Diff { file, name, which, csv } => {
                self.diff(&file, name, &which, csv).await
            }
            PluginCommand::Publish {
                file,
                name,
                yes,
                max_changed,
                allow_failing,
                no_test,
                which,
                switch,
            } => {
                let tests = Tests::around(&file).filter(|_| !no_test);
                let gates = Gates { yes, max_changed, allow_failing };
                self.publish(&file, name, tests, &gates, &which, &switch).await
            }
            PluginCommand::List { name } => self.list(name.as_deref()).await,
            PluginCommand::Rollback { name, sha256, switch } => {
                self.rollback(&name, sha256.as_deref(), &switch).await
            }
            PluginCommand::Remove { name, by } => self.remove_plugin(&name, by).await,
            PluginCommand::RequirePublish { state } => self.require_publish(state).await,
            PluginCommand::Inspect { file } => self.inspect(&file).await,
            PluginCommand::Compile { files, to } => self.compile(&files, &to).await,
        }
    }

    fn new_plugin(&self, name: &str, to: Option<PathBuf>) -> Result<u8> {
        let folder = to.unwrap_or_else(|| PathBuf::from(name));
        let made = scaffold::make(name, &folder)?;
        self.print(&made, || render::scaffolded(&made))?;
        Ok(0)
    }

    async fn run_plugin(
        &self,
        file: &Path,
        document: &str,
        table: Option<&str>,
        csv: bool,
    ) -> Result<u8> {
        let document = self.document(document).await?;
        let trial = self.trial(file).await?;
        let tried = Arc::clone(&trial);
        let document = Arc::new(document);
        let handed = Arc::clone(&document);
        let attempt = tokio::task::spawn_blocking(move || tried.run(&handed)).await?;
        let shown = render::Shown::of(&trial.plugin, &document, attempt, table, &self.limits)?;
        if self.common.json {
            self.print(&shown, String::new)?;
        } else if csv {
            render::csv(shown.csv()?.trim_end_matches('\n'))?;
        } else {
            render::data(&shown.text())?;
        }
        if let Some(problem) = &shown.problem {
            render::error(&anyhow::anyhow!("{problem}"));
        }
        Ok(u8::from(shown.problem.is_some()))
    }

    /// A file, standard input, or a document of the store.
    async fn document(&self, name: &str) -> Result<Document> {
        let path = Path::new(name);
        let bytes = if name == "-" {
            let mut bytes = Vec::new();
            let stdin = std::io::stdin().lock();
            stdin.take(self.limits.document_bytes + 1).read_to_end(&mut bytes)?;
            bytes
        } else if path.is_file() {
            read_regular(path).with_context(|| format!("could not read `{name}`"))?.0
        } else {
            let keys = self.keys(vec![name.to_owned()]);
            document_bytes(self.store(), &keys[0])
                .await?
                .with_context(|| {
                    format!("`{name}` is neither a file nor a document of {}", self.common.store)
                })?
                .1
        };
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        trial::document(&file, bytes, &self.limits)
            .with_context(|| format!("`{name}` can't be handed to a plugin"))
    }

    /// A plugin that can be tried.
    async fn trial(&self, file: &Path) -> Result<Arc<Trial>> {
        let bytes = self.plugin_bytes(file).await?;
        let mut trials = self.trials(vec![(stem(file), file.to_owned(), bytes)]).await?;
        trials.pop().context("no plugin")
    }

    /// Plugins that can be tried, by name, each from its file's bytes.
    async fn trials(&self, files: Vec<(String, PathBuf, Vec<u8>)>) -> Result<Vec<Arc<Trial>>> {
        let engine = self.shelf.engine()?;
        let counting = Arc::new(Engine::counting(&self.limits, self.cache.as_deref())?);
        let mut trials = Vec::new();
        for (name, file, bytes) in files {
            let (engine, counting) = (Arc::clone(&engine), Arc::clone(&counting));
            let limits = self.limits.clone();
            let loaded = tokio::task::spawn_blocking(move || {
                Trial::load(&engine, &counting, &name, &bytes, &limits)
            });
            let loaded = loaded.await?.map_err(|refusal| refused(&file, &refusal))?;
            trials.push(Arc::new(loaded));
        }
        Ok(trials)
    }

    async fn check(&self, file: &Path, name: Option<String>, function_memory: u64) -> Result<u8> {
        let name = named(file, name)?;
        let bytes = self.plugin_bytes(file).await?;
        let (report, _) = self.checked(&name, bytes, function_memory).await?;
        self.print(&report, || render::checked(&report))?;
        Ok(u8::from(!report.is_good()))
    }

    /// Looks at a plugin from all sides; in the store, if there is one.
    async fn checked(
        &self,
        name: &str,
        bytes: Vec<u8>,
        function_memory: u64,
    ) -> Result<(CheckReport, Option<Arc<Plugin>>)> {
        // Nothing is taken from the cache: how long it takes to compile is what somebody wants to know.
        let (engine, owned) = (Engine::new(&self.limits, None)?, name.to_owned());
        let loaded = tokio::task::spawn_blocking(move || engine.load(&owned, &bytes)).await?;
        let loaded = loaded.map(Arc::new);
        let mut report = CheckReport::new(name);
        check_alone(&mut report, &loaded, function_memory);
        let is_there = match &self.common.store {
            StoreAddress::Folder(path) => path.is_dir(),
            StoreAddress::Bucket { .. } => true,
        };
        if !is_there {
            report.without_store(&self.common.store.to_string());
        }
        if let (Ok(plugin), true) = (&loaded, is_there) {
            let records = Records::of(self.store());
            check_in_store(&mut report, plugin, self.plugins(), &records, &self.shelf).await?;
        }
        Ok((report, loaded.ok()))
    }

    async fn test(&self, paths: &[PathBuf], tests: Option<PathBuf>, mode: TestMode) -> Result<u8> {
        let mut files = Vec::new();
        for path in paths {
            match path.is_dir() {
                true => files.extend(scaffold::built_in(path)?),
                false => files.push(path.clone()),
            }
        }
        if let Some(missing) = files.iter().find(|file| !file.is_file()) {
            bail!("could not read `{}`: there is no such file", missing.display());
        }
        let tests = match (&tests, files.first()) {
            (Some(folder), _) => Tests::of(folder),
            (None, first) => first.and_then(|file| Tests::around(file)).with_context(|| {
                format!(
                    "there is no `tests/fixtures` around `{}` (name the folder with --tests)",
                    paths[0].display()
                )
            })?,
        };
        let mut plugins = Vec::new();
        for file in files {
            let bytes = self.plugin_bytes(&file).await?;
            plugins.push((stem(&file), file, bytes));
        }
        let report = self.tested(plugins, &tests, mode).await?;
        self.print(&report, || render::tested(&report, &tests))?;
        Ok(u8::from(!report.is_good()))
    }

    async fn tested(
        &self,
        plugins: Vec<(String, PathBuf, Vec<u8>)>,
        tests: &Tests,
        mode: TestMode,
    ) -> Result<trial::TestReport> {
        let trials = self.trials(plugins).await?;
        let (tests, limits) = (tests.clone(), self.limits.clone());
        let tested = move || trial::test(&trials, &tests, &limits, mode, &Bar);
        Ok(tokio::task::spawn_blocking(tested).await??)
    }

    async fn capture(
        &self,
        key: &str,
        entries: Option<&Positions>,
        name: Option<String>,
        to: &Path,
    ) -> Result<u8> {
        let document = self.document(key).await?;
        let document = match entries {
            Some(entries) => document.trimmed(|position| entries.has(position)),
            None => document,
        };
        if document.entries() == 0 && entries.is_some() {
            bail!("none of the document's entries is at these positions");
        }
        let name = name.unwrap_or_else(|| document.id().to_string());
        if name.contains(['/', '\\']) || name.starts_with('.') {
            bail!("`{name}` is no file's name (name the folder with --to)");
        }
        // What is left may be another thing than it was, to whoever reads it.
        trial::document("fixture.json", document.to_bytes(), &self.limits)
            .context("with these entries alone it is no document any more (take others)")?;
        let path = to.join(format!("{}.json", name.trim_end_matches(".json")));
        if path.exists() {
            bail!("`{}` is there already (name another with --name)", path.display());
        }
        fs::create_dir_all(to).with_context(|| format!("could not make `{}`", to.display()))?;
        fs::write(&path, document.to_bytes())
            .with_context(|| format!("could not write `{}`", path.display()))?;
        let captured = serde_json::json!({
            "fixture": path,
            "document": document.id().to_string(),
            "entries": document.entries(),
        });
        self.print(&captured, || {
            format!(
                "{}: {}\nnext: spotify-etl plugin test . --update, and look at its golden tables",
                path.display(),
                render::entries(document.entries())
            )
        })?;
        Ok(0)
    }

    async fn diff(
        &self,
        file: &Path,
        name: Option<String>,
        which: &DiffArgs,
        csv: bool,
    ) -> Result<u8> {
        self.require_store()?;
        let bytes = self.plugin_bytes(file).await?;
        let plugin = self.candidate(file, &named(file, name)?, bytes).await?;
        let report = match (csv, self.common.json) {
            (false, false) => {
                let report = self.compared(plugin, which, drop).await?;
                render::data(&render::difference(&report))?;
                report
            }
            (true, _) => {
                let mut lines = render::ChangeLines::begin()?;
                let report = self.compared(plugin, which, |change| lines.add(&change)).await?;
                lines.end()?;
                render::error_text(&render::difference(&report));
                report
            }
            (false, true) => {
                let mut changes = render::ChangeArray::begin();
                let report = self.compared(plugin, which, |change| changes.add(&change)).await?;
                changes.end(&report)?;
                report
            }
        };
        Ok(u8::from(!report.now_failing.is_empty()))
    }

    async fn candidate(&self, file: &Path, name: &str, bytes: Vec<u8>) -> Result<Arc<Plugin>> {
        let (engine, name) = (self.shelf.engine()?, name.to_owned());
        let loaded = tokio::task::spawn_blocking(move || engine.load(&name, &bytes)).await?;
        loaded.map(Arc::new).map_err(|refusal| refused(file, &refusal))
    }

    async fn compared(
        &self,
        candidate: Arc<Plugin>,
        which: &DiffArgs,
        each: impl FnMut(RowChange),
    ) -> Result<DiffReport> {
        let DiffArgs { since, until, playlist, sample } = which;
        let diff = Diff {
            store: self.store(),
            plugins: self.plugins(),
            shelf: &self.shelf,
            limits: self.limits.clone(),
            jobs: self.jobs(),
            candidate,
            filter: Filter { since: *since, until: *until, playlist: playlist.clone() },
            sample: sample.map(|sample| sample as usize),
            progress: &Bar,
        };
        Ok(diff.run(each).await?)
    }

    async fn publish(
        &self,
        file: &Path,
        name: Option<String>,
        tests: Option<Tests>,
        gates: &Gates,
        which: &DiffArgs,
        switch: &SwitchArgs,
    ) -> Result<u8> {
        self.require_store()?;
        self.require_own_plugins()?;
        let name = named(file, name)?;
        let bytes = self.plugin_bytes(file).await?;
        // Before anything is compared, so that nobody's version in between is overwritten unseen.
        let standing = Standing::of(self.store(), &name).await?;
        let mut looked = Looked::default();
        let memory = bytes_of(FUNCTION_MEMORY).unwrap_or_default();
        let (check, plugin) = self.checked(&name, bytes.clone(), memory).await?;
        self.show(&render::checked(&check))?;
        looked.add("check", &check)?;
        let Some(plugin) = plugin.filter(|_| check.is_good()) else {
            return self.stop("nothing was published: mend what is wrong with it first", looked);
        };
        if !check.new_generations.is_empty() && !switch.replay {
            return self.stop(&needs_replay("published", &check.new_generations, ""), looked);
        }
        if let Some(tests) = &tests {
            let plugins = vec![(name.clone(), file.to_owned(), bytes.clone())];
            match self.tested(plugins, tests, TestMode::Compare).await {
                Ok(tested) => {
                    self.show(&render::tested(&tested, tests))?;
                    looked.add("tests", &tested)?;
                    if !tested.is_good() {
                        let why = "nothing was published: its tests fail (mend it, or leave them out with --no-test)";
                        return self.stop(why, looked);
                    }
                }
                Err(error)
                    if matches!(error.downcast_ref(), Some(TestError::NoFixtures { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        let difference = self.compared(Arc::clone(&plugin), which, drop).await?;
        self.show(&render::difference(&difference))?;
        looked.add("difference", &difference)?;
        if let Some(why) = gates.closed(&difference) {
            return self.stop(&why, looked);
        }
        let question = render::question(&difference, &self.common.store);
        if !gates.yes && !self.agreed(&question)? {
            return self.stop("nothing was published", looked);
        }
        self.switch(Way::Publish, plugin, bytes, standing, switch, looked).await
    }

    async fn rollback(&self, name: &str, sha256: Option<&str>, switch: &SwitchArgs) -> Result<u8> {
        self.require_store()?;
        self.require_own_plugins()?;
        let standing = Standing::of(self.store(), name).await?;
        let (record, bytes) = version_meant(self.store(), &standing, sha256).await?;
        let memory = bytes_of(FUNCTION_MEMORY).unwrap_or_default();
        let (check, plugin) = self.checked(name, bytes.clone(), memory).await?;
        let mut looked = Looked::default();
        looked.add("check", &check)?;
        let Some(plugin) = plugin.filter(|_| check.is_good()) else {
            self.show(&render::checked(&check))?;
            let why = "nothing was changed: this version can't be active any more, as said above";
            return self.stop(why, looked);
        };
        let (records, _) = table_records(self.store()).await?;
        let new_generations = misfits(plugin.tables(), &records);
        if !new_generations.is_empty() && !switch.replay {
            let of = format!(" version {}", record.version);
            return self.stop(&needs_replay("changed", &new_generations, &of), looked);
        }
        self.switch(Way::Rollback, plugin, bytes, standing, switch, looked).await
    }

    /// Makes a version the active one, with all that follows from it, and reports.
    async fn switch(
        &self,
        way: Way,
        plugin: Arc<Plugin>,
        bytes: Vec<u8>,
        standing: Standing,
        args: &SwitchArgs,
        looked: Looked,
    ) -> Result<u8> {
        let is_there = standing.sha256() == Some(plugin.sha256());
        let name = standing.name.clone();
        let switch = Switch {
            transform: self.transformer_to(None, Empty::Fails),
            plugin,
            bytes,
            standing,
            way,
            by: by(args.by.clone()),
            history: if args.replay { History::Follows } else { History::Stays },
        };
        let switched = match switch.run().await {
            Ok(switched) => switched,
            Err(error @ PublishError::Raced { .. }) => {
                return self.stop(&error.to_string(), looked);
            }
            Err(error) => return Err(error.into()),
        };
        let Switched { mut published, replay, transformed, problems } = switched;
        if way == Way::Rollback && is_there {
            published.remarks.push(format!(
                "to go further back, name a version of `spotify-etl plugin list {name}`: spotify-etl plugin rollback {name} SHA256"
            ));
        }
        published.looked_at = Value::Object(looked.0);
        let mut warnings = Vec::new();
        if let Err(error) = self.have_catalog(args, &mut published).await {
            warnings.push(format!("{error:#} (run it by itself: spotify-etl catalog apply)"));
        }
        let command = if way == Way::Publish { "publish" } else { "rollback" };
        let published = Some(published);
        let work = Work { published, replay, transformed, problems, warnings, ..Work::default() };
        self.finish(command, work).await
    }

    /// Has Athena's catalog follow, if the store has one.
    async fn have_catalog(&self, switch: &SwitchArgs, published: &mut PublishReport) -> Result<()> {
        let StoreAddress::Bucket { .. } = &self.common.store else { return Ok(()) };
        let Some(database) = applied_database(self.store()).await? else { return Ok(()) };
        let location = format!("{}/", self.common.store.to_string().trim_end_matches('/'));
        let place = Place { database, location };
        if !is_applied(self.store(), &place).await? {
            let athena = self.athena(&switch.athena, None, None).await?;
            apply(self.store(), &athena, &place).await?;
            published
                .remarks
                .push(format!("Athena's `{}` has its tables as they are now", place.database));
        }
        Ok(())
    }

    async fn list(&self, name: Option<&str>) -> Result<u8> {
        self.require_store()?;
        let history = versions(self.store(), name).await?;
        let set = choose(&Records::of(self.store()), self.plugins(), &self.shelf).await;
        let reports = match set {
            Ok(set) => set.reports,
            Err(PipelineError::NoPlugins { .. }) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let list = render::PluginList::of(reports, history, name);
        if let (Some(name), true) = (name, list.is_empty()) {
            bail!(
                "no plugin `{name}` in the store, nor in its history (`spotify-etl plugin list` names them)"
            );
        }
        self.print(&list, || list.text())?;
        Ok(0)
    }

    async fn remove_plugin(&self, name: &str, who: Option<String>) -> Result<u8> {
        self.require_store()?;
        self.require_own_plugins()?;
        let standing = Standing::of(self.store(), name).await?;
        let published =
            match remove(&self.transformer_to(None, Empty::Fails), &standing, &by(who)).await {
                Ok(published) => published,
                Err(error @ PublishError::Raced { .. }) => {
                    return self.stop(&error.to_string(), Looked::default());
                }
                Err(error) => return Err(error.into()),
            };
        let work = Work { published: Some(published), ..Work::default() };
        self.finish("remove", work).await
    }

    async fn require_publish(&self, state: Option<OnOff>) -> Result<u8> {
        self.require_store()?;
        self.require_own_plugins()?;
        let mut taken = Vec::new();
        if state == Some(OnOff::On) {
            // What lies there now is what somebody means, and is kept as published.
            match self.transformer_to(None, Empty::Fails).adopt().await {
                Ok(reports) => taken.extend(reports.into_iter().filter(|report| {
                    matches!(report.status, PluginStatus::Active | PluginStatus::Fallback)
                })),
                Err(PipelineError::NoPlugins { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let versions = taken.iter().map(|report: &PluginReport| Version {
            name: report.name.clone(),
            sha256: report.sha256.clone(),
        });
        match state {
            // Where it is on already, what counts stays what it was.
            Some(OnOff::On) if Required::of(self.store()).await?.is_some() => taken.clear(),
            Some(OnOff::On) => require(self.store(), versions).await?,
            Some(OnOff::Off) => require_no_more(self.store()).await?,
            None => {}
        }
        let taken: Vec<String> = taken.into_iter().map(|report| report.name).collect();
        let is_required = self.store().head(&Key::RequirePublish.to_string()).await?.is_some();
        let said = json!({ "require_publish": is_required, "taken_as_they_are": taken });
        self.print(&said, || match (is_required, taken.as_slice()) {
            (true, []) => "on: versions that nobody published are passed over".to_owned(),
            (true, taken) => format!(
                "on: versions that nobody published are passed over; those that are there now count: {}",
                taken.join(", ")
            ),
            (false, _) => "off: a .wasm that is copied to plugins/ is used as it is".to_owned(),
        })?;
        Ok(0)
    }

    /// Says where rows come from.
    pub async fn explain(&self, what: String) -> Result<u8> {
        self.require_store()?;
        let keys = self.keys(vec![what]);
        let explanation = explain(self.store(), &keys[0]).await?;
        self.print(&explanation, || render::explanation(&explanation))?;
        Ok(u8::from(!explanation.is_whole()))
    }

    async fn inspect(&self, file: &Path) -> Result<u8> {
        let bytes = self.plugin_bytes(file).await?;
        match self.candidate(file, &stem(file), bytes).await {
            Ok(plugin) => {
                let inspection = render::Inspection::of(&plugin);
                self.print(&inspection, || render::inspection(&inspection))?;
                Ok(0)
            }
            Err(error) => {
                if self.common.json {
                    let said = serde_json::json!({ "exit_status": 1, "error": error.to_string() });
                    self.print(&said, String::new)?;
                }
                render::error(&error);
                Ok(1)
            }
        }
    }

    async fn compile(&self, files: &[PathBuf], to: &Path) -> Result<u8> {
        let unwritten = || format!("could not write to `{}`", to.display());
        fs::create_dir_all(to).with_context(unwritten)?;
        let mut compiled = Vec::new();
        for file in files {
            let bytes = self.plugin_bytes(file).await?;
            let (name, code) = precompile(&bytes, &self.limits)
                .with_context(|| format!("`{}` is refused as a plugin", file.display()))?;
            // A half-written file of code would be run.
            let mut written = tempfile::NamedTempFile::new_in(to).with_context(unwritten)?;
            written.write_all(&code).with_context(unwritten)?;
            let code_file = to.join(name);
            written.persist(&code_file).with_context(unwritten)?;
            compiled.push(render::Compiled {
                file: file.clone(),
                bytes: bytes.len() as u64,
                code_file,
                code_bytes: code.len() as u64,
            });
        }
        self.print(&compiled, || render::compiled(&compiled))?;
        Ok(0)
    }

    /// The bytes of a plugin, which is a file, or lies in a bucket.
    async fn plugin_bytes(&self, file: &Path) -> Result<Vec<u8>> {
        let shown = file.display();
        let unread = || format!("could not read `{shown}`");
        let require_size = |size: u64| {
            let max = self.limits.plugin_bytes;
            if size > max {
                let max = Bytes(max);
                bail!(
                    "`{shown}` is larger than the limit of {max} for a plugin (raise it with --limit plugin_bytes=...)"
                );
            }
            Ok(())
        };
        let text = file.to_str().filter(|text| text.starts_with("s3://")).unwrap_or_default();
        let Some((place, name)) = text.rsplit_once('/') else {
            let (opened, metadata) = open_regular(file).with_context(unread)?;
            require_size(metadata.len())?;
            let mut bytes = Vec::new();
            // It may grow, so it is read no further than the limit allows.
            let most = self.limits.plugin_bytes.saturating_add(1);
            opened.take(most).read_to_end(&mut bytes).with_context(unread)?;
            require_size(bytes.len() as u64)?;
            return Ok(bytes);
        };
        let place: StoreAddress = place.parse().map_err(anyhow::Error::msg)?;
        let object = place.open().await?.get(name).await?.with_context(unread)?;
        require_size(object.bytes.len() as u64)?;
        Ok(object.bytes.into())
    }

    /// Fails if plugins are taken from somewhere else, where nothing is published to.
    fn require_own_plugins(&self) -> Result<()> {
        if self.plugin_place.is_some() {
            bail!(
                "plugins are published to the store itself: leave out --plugins, and name the store with --store"
            );
        }
        Ok(())
    }

    /// Shows a part of what was looked at, to whoever reads; a script gets the report at the end.
    fn show(&self, text: &str) -> Result<()> {
        if !self.common.json {
            render::data(&format!("{text}\n"))?;
        }
        Ok(())
    }

    /// Says why a publication ends before anything was written.
    fn stop(&self, why: &str, looked: Looked) -> Result<u8> {
        if self.common.json {
            let said = json!({ "exit_status": 1, "error": why, "looked_at": looked.0 });
            self.print(&said, String::new)?;
        }
        render::error(&anyhow::anyhow!("{why}"));
        Ok(1)
    }

    /// Asks whoever is there.
    fn agreed(&self, question: &str) -> Result<bool> {
        if self.common.json || !std::io::stdin().is_terminal() {
            bail!(
                "nobody is there to be asked, so nothing was published (say --yes, and --max-changed to be safe)"
            );
        }
        render::ask(question)?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }
}

/// What was looked at before a version is made the active one, for the report.
#[derive(Default)]
struct Looked(Map<String, Value>);

impl Looked {
    fn add<T: serde::Serialize>(&mut self, what: &str, found: &T) -> Result<()> {
        self.0.insert(what.to_owned(), serde_json::to_value(found)?);
        Ok(())
    }
}

fn needs_replay(done: &str, tables: &[String], of: &str) -> String {
    format!(
        "nothing was {done}: the stored columns of `{}` don't fit{of}, so the table has to begin anew, filled from all of history (say --replay)",
        tables.join("`, `")
    )
}

/// What may keep a version from being published.
struct Gates {
    yes: bool,
    max_changed: Option<Gate>,
    allow_failing: bool,
}

impl Gates {
    /// Why it is not published, if so.
    fn closed(&self, difference: &DiffReport) -> Option<String> {
        let failing = difference.now_failing.len() + difference.now_unsupported.len();
        if failing > 0 && !self.allow_failing {
            return Some(format!(
                "nothing was published: {} would give no rows any more (mend it; or say --allow-failing)",
                render::documents(failing)
            ));
        }
        let (differing, before) = (difference.rows_differing(), difference.rows_before());
        let gate = self.max_changed.filter(|gate| gate.is_closed_for(differing, before))?;
        Some(format!(
            "nothing was published: {differing} rows would change, of {before}, which is over --max-changed {gate} (look at them: spotify-etl plugin diff)"
        ))
    }
}

fn by(who: Option<String>) -> String {
    who.or_else(user).unwrap_or_else(|| "somebody".to_owned())
}

/// The plugin that a file is a version of.
fn named(file: &Path, name: Option<String>) -> Result<String> {
    let name = name.map_or_else(|| plugin_name(&stem(file)), Ok);
    name.map_err(|error| anyhow::anyhow!("{error} (say what it is a version of with --name)"))
}

fn stem(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn refused(file: &Path, refusal: &Refusal) -> anyhow::Error {
    anyhow::anyhow!("`{}` is refused as a plugin: {refusal}", file.display())
}
