//! What can be set: the limits, each with its unit in its name, and how they are read from text.
//!
//! Flags and environment variables are turned into values by the binaries and end here.

use std::{
    env,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use secrecy::SecretString;

/// The name of this release, as documents and lineage carry it.
pub const HOST_VERSION: &str = env!("CARGO_PKG_VERSION");

/// How large a stored JSON object may be that describes one thing, in bytes: a table record, a version of a
/// plugin, a list of playlists. The largest table record that a plugin can cause has less than 3 MiB.
pub const STORED_JSON_BYTES_MAX: u64 = 4 * MIB;
/// How large a stored lineage may be, in bytes.
pub const LINEAGE_BYTES_MAX: u64 = 64 * MIB;

/// What everything is limited to. Errors name the limit that was met.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// A raw document or a file to import, in bytes.
    pub document_bytes: u64,
    /// How deep arrays and objects may lie in one another in a document.
    pub json_levels: u64,
    /// A plugin's file, in bytes.
    pub plugin_bytes: u64,
    /// A plugin that has to be compiled, in bytes.
    pub compile_bytes: u64,
    /// The memory that compiling plugins may take at a time, as estimated, in bytes.
    pub compile_memory_bytes: u64,
    /// The processor time that compiling a plugin may take, as estimated, in milliseconds.
    pub compile_cpu_milliseconds: u64,
    /// How long compiling a plugin may take, in seconds.
    pub compile_seconds: u64,
    /// How long a plugin may take to describe itself, in seconds.
    pub describe_seconds: u64,
    /// The memory of a plugin during one call, in bytes.
    pub guest_memory_bytes: u64,
    /// What one call may return, in bytes.
    pub output_bytes: u64,
    /// How long one call may take, in seconds.
    pub call_seconds: u64,
    /// Rows of one table from one document, and entries passed over.
    pub table_rows: u64,
    /// Entries passed over that a report names one by one; the others are only counted.
    pub skips_kept: u64,
    /// Violations of the declared schema that an error lists; the others are only counted.
    pub violations_shown: u64,
    /// What one call may log, in bytes; the rest is cut.
    pub log_bytes: u64,
    /// Pages of one playlist.
    pub playlist_pages: u64,
    /// How long one playlist may take to extract, waits included, in seconds.
    pub playlist_seconds: u64,
    /// How long Spotify may take for one answer, in seconds.
    pub request_seconds: u64,
    /// How often one request is made before it is given up.
    pub request_attempts: u64,
    /// The longest single wait before a request is made again, in seconds. If Spotify asks for a
    /// longer one, the request fails at once.
    pub retry_wait_seconds: u64,
    /// All waits for one playlist, in seconds.
    pub retry_total_seconds: u64,
    /// How long one statement may take in Athena, in seconds.
    pub query_seconds: u64,
    /// How long a login waits for the person in the browser, in seconds.
    pub login_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            document_bytes: 64 * MIB,
            json_levels: 128,
            plugin_bytes: 32 * MIB,
            compile_bytes: 32 * MIB,
            compile_memory_bytes: 1024 * MIB,
            compile_cpu_milliseconds: 60_000,
            compile_seconds: 60,
            describe_seconds: 2,
            guest_memory_bytes: 256 * MIB,
            output_bytes: 128 * MIB,
            call_seconds: 10,
            table_rows: 1_000_000,
            skips_kept: 10_000,
            violations_shown: 100,
            log_bytes: 64 * 1024,
            playlist_pages: 1000,
            playlist_seconds: 900,
            request_seconds: 30,
            request_attempts: 5,
            retry_wait_seconds: 60,
            retry_total_seconds: 180,
            query_seconds: 600,
            login_seconds: 300,
        }
    }
}

const MIB: u64 = 1024 * 1024;
/// The memory of a function that has one processor.
const ONE_PROCESSOR_BYTES: u64 = 1_769 * MIB;
/// What the program takes with its clients, compiled plugins and some room.
const PROGRAM_BYTES: u64 = 80 * MIB;
/// From this much memory on the command has its default limits.
const ENOUGH_BYTES: u64 = 2048 * MIB;
/// How often a document is held: as read, as its pages, cut down for plugins, and on its way to the store.
const DOCUMENT_COPIES: u64 = 4;
/// How often the output of a call is held: as returned, as a table, as a file that grows, and as files of
/// this and of other documents that are not stored yet.
const OUTPUT_COPIES: u64 = 6;
/// How much all table files of one document may have, as a multiple of what one call may return.
pub const FILES_OF_DOCUMENT: u64 = 2;

/// How many documents can be worked on at a time with this much memory: as many as a function of that
/// size has processors, and one in a small function.
pub fn jobs_in(memory_bytes: u64) -> u64 {
    match memory_bytes / MIB {
        0..512 => 1,
        mebibytes => (mebibytes / 1_769 + 1).clamp(2, 6),
    }
}

/// The memory that a control group leaves to this process, if one limits it.
pub fn memory_limit() -> Option<u64> {
    let text = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok()?;
    text.trim().parse().ok()
}

impl Limits {
    /// The limits of a function with this much memory.
    ///
    /// Calls get what [`Limits::fitting`] gives them. The memory decides the processor time, too: one
    /// processor goes with 1,769 MB (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>).
    /// A function compiles what takes 20 seconds there, by estimate.
    pub fn of_function(memory_bytes: u64) -> Self {
        let limits = Limits::fitting(memory_bytes);
        let milliseconds = 20_000 * memory_bytes / ONE_PROCESSOR_BYTES;
        Limits {
            compile_cpu_milliseconds: limits.compile_cpu_milliseconds.min(milliseconds),
            compile_seconds: 40,
            ..limits
        }
    }

    /// The default limits, reduced so that everything that is held at the same time fits into this much
    /// memory: see [`Limits::bytes_at_once`].
    ///
    /// Documents get two ninths of what the program itself leaves; each job has an equal part of the rest,
    /// half of it for the plugin's memory. Plugins are compiled before there are documents, in three quarters of
    /// what the program leaves, or in half of all memory where that is little.
    pub fn fitting(memory_bytes: u64) -> Self {
        let limits = Limits::default();
        let free = memory_bytes.saturating_sub(PROGRAM_BYTES).max(16 * MIB);
        let document_bytes = limits.document_bytes.min(free * 2 / 9 / DOCUMENT_COPIES);
        let of_job = (free - document_bytes * DOCUMENT_COPIES) / jobs_in(memory_bytes);
        let compiling = (free / 4 * 3).max(memory_bytes / 2);
        Limits {
            compile_memory_bytes: limits.compile_memory_bytes.min(compiling),
            document_bytes,
            guest_memory_bytes: limits.guest_memory_bytes.min(of_job / 2),
            output_bytes: limits.output_bytes.min(of_job / 2 / OUTPUT_COPIES),
            ..limits
        }
    }

    /// The limits of this process: the default ones, unless a control group leaves it less memory than they
    /// allow for.
    pub fn of_process(memory_limit: Option<u64>) -> Self {
        match memory_limit {
            Some(bytes) if bytes < ENOUGH_BYTES => Limits::fitting(bytes),
            _ => Limits::default(),
        }
    }

    /// The most memory that a run with these limits has at the same time, in bytes: the program, documents,
    /// and for each job a plugin's memory and its output.
    pub fn bytes_at_once(&self, jobs: u64) -> u64 {
        let of_job = self.guest_memory_bytes + OUTPUT_COPIES * self.output_bytes;
        PROGRAM_BYTES + DOCUMENT_COPIES * self.document_bytes + jobs * of_job
    }

    /// How long one call may take.
    pub fn call_duration(&self) -> Duration {
        Duration::from_secs(self.call_seconds)
    }

    /// How long a plugin may take to describe itself.
    pub fn describe_duration(&self) -> Duration {
        Duration::from_secs(self.describe_seconds.min(self.call_seconds))
    }

    /// Sets one limit.
    pub fn set(&mut self, setting: &LimitSetting) {
        *field(self, setting.name) = setting.value;
    }
}

/// A limit and what to set it to, from text such as `document_bytes=128MiB`.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitSetting {
    name: &'static str,
    value: u64,
}

const NAMES: [&str; 23] = [
    "document_bytes",
    "json_levels",
    "plugin_bytes",
    "compile_bytes",
    "compile_memory_bytes",
    "compile_cpu_milliseconds",
    "compile_seconds",
    "describe_seconds",
    "guest_memory_bytes",
    "output_bytes",
    "call_seconds",
    "table_rows",
    "skips_kept",
    "violations_shown",
    "log_bytes",
    "playlist_pages",
    "playlist_seconds",
    "request_seconds",
    "request_attempts",
    "retry_wait_seconds",
    "retry_total_seconds",
    "query_seconds",
    "login_seconds",
];

fn field<'l>(limits: &'l mut Limits, name: &str) -> &'l mut u64 {
    match name {
        "document_bytes" => &mut limits.document_bytes,
        "json_levels" => &mut limits.json_levels,
        "plugin_bytes" => &mut limits.plugin_bytes,
        "compile_bytes" => &mut limits.compile_bytes,
        "compile_memory_bytes" => &mut limits.compile_memory_bytes,
        "compile_cpu_milliseconds" => &mut limits.compile_cpu_milliseconds,
        "compile_seconds" => &mut limits.compile_seconds,
        "describe_seconds" => &mut limits.describe_seconds,
        "guest_memory_bytes" => &mut limits.guest_memory_bytes,
        "output_bytes" => &mut limits.output_bytes,
        "call_seconds" => &mut limits.call_seconds,
        "table_rows" => &mut limits.table_rows,
        "skips_kept" => &mut limits.skips_kept,
        "violations_shown" => &mut limits.violations_shown,
        "log_bytes" => &mut limits.log_bytes,
        "playlist_pages" => &mut limits.playlist_pages,
        "playlist_seconds" => &mut limits.playlist_seconds,
        "request_seconds" => &mut limits.request_seconds,
        "request_attempts" => &mut limits.request_attempts,
        "retry_wait_seconds" => &mut limits.retry_wait_seconds,
        "retry_total_seconds" => &mut limits.retry_total_seconds,
        "query_seconds" => &mut limits.query_seconds,
        _ => &mut limits.login_seconds,
    }
}

impl FromStr for LimitSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| format!("`{text}` is not NAME=VALUE, such as document_bytes=128MiB"))?;
        let name = NAMES
            .into_iter()
            .find(|known| *known == name.trim())
            .ok_or_else(|| format!("no limit `{name}`; there are {}", NAMES.join(", ")))?;
        let value = amount(value.trim()).ok_or_else(|| {
            format!("`{value}` is not a number above 0, such as 64, 64KiB or 1GiB")
        })?;
        Ok(LimitSetting { name, value })
    }
}

/// A number above 0, with or without a unit of bytes.
pub fn amount(text: &str) -> Option<u64> {
    let units = [("KiB", 1024), ("MiB", MIB), ("GiB", 1024 * MIB), ("", 1)];
    let (digits, unit) =
        units.into_iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
    digits.trim().parse::<u64>().ok()?.checked_mul(unit).filter(|value| *value > 0)
}

/// Where a user's programs keep what can be made again; none if the environment doesn't say.
pub fn cache_folder() -> Option<PathBuf> {
    user_folder("XDG_CACHE_HOME", ".cache")
}

/// Where a user's programs keep what they were told, the login among it; none if the environment
/// doesn't say.
pub fn config_folder() -> Option<PathBuf> {
    user_folder("XDG_CONFIG_HOME", ".config")
}

fn user_folder(name: &str, in_home: &str) -> Option<PathBuf> {
    let folder = variable(name)
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&variable("HOME")?).join(in_home)))?;
    folder.is_absolute().then(|| folder.join("spotify-etl"))
}

/// A variable of the environment that is set to something.
#[expect(clippy::disallowed_methods, reason = "the place where the environment is read")]
pub fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

#[expect(clippy::disallowed_methods, reason = "the place where the environment is read")]
fn variables() -> impl Iterator<Item = String> {
    env::vars_os().filter_map(|(name, _)| name.into_string().ok())
}

/// A secret from the environment. There is no flag for one: arguments are seen by all processes.
pub fn secret(name: &str) -> Option<SecretString> {
    let text = variable(name)?.into_string().ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| SecretString::from(text.to_owned()))
}

/// What the system calls whoever runs this.
pub fn user() -> Option<String> {
    ["USER", "USERNAME"].into_iter().find_map(variable)?.into_string().ok()
}

/// Whether a page can be opened for somebody to see: there is a desktop, or they named a browser.
pub fn can_open_pages() -> bool {
    let names = ["BROWSER", "DISPLAY", "WAYLAND_DISPLAY"];
    !cfg!(target_os = "linux") || names.into_iter().any(|name| variable(name).is_some())
}

/// Whether another service than Amazon's stands in for S3.
pub fn is_endpoint_set() -> bool {
    endpoint().is_some()
}

/// Returns the address of the service that stands in for S3, if the environment names one.
pub fn endpoint() -> Option<String> {
    let names = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];
    names.into_iter().find_map(variable).map(|url| url.to_string_lossy().into_owned())
}

/// Whether another server stands in for all of Amazon's services, and is spoken to without TLS.
pub fn is_endpoint_plain() -> bool {
    let is_plain = variable("AWS_ENDPOINT_URL")
        .is_some_and(|url| url.to_str().is_some_and(|url| url.starts_with("http://")));
    // One that is named for a service, or in a profile, may be another.
    let named =
        ["AWS_ENDPOINT_URL_", "AWS_PROFILE", "AWS_CONFIG_FILE", "HTTPS_PROXY", "https_proxy"];
    let is_other = |name: &str| named.iter().any(|other| name.starts_with(other));
    is_plain && !variables().any(|name| is_other(&name))
}

/// A number of bytes as people read it.
#[derive(Clone, Copy, Debug)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bytes(bytes) = *self;
        match bytes {
            0..1024 => write!(f, "{bytes} B"),
            1024..MIB => write!(f, "{:.1} KiB", bytes as f64 / 1024.0),
            _ => write!(f, "{:.1} MiB", bytes as f64 / MIB as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_function_holds_at_once_fits_its_memory() {
        for mebibytes in [128, 192, 256, 512, 1024, 1769, 3008, 10240] {
            let memory = mebibytes * MIB;
            let limits = Limits::of_function(memory);
            let at_once = limits.bytes_at_once(jobs_in(memory));
            assert!(at_once <= memory, "{mebibytes} MB: {at_once} bytes of {memory}");
            assert!(limits.compile_memory_bytes + 64 * MIB <= memory, "{mebibytes} MB");
            // What the plugins of this project need for a long playlist.
            assert!(limits.guest_memory_bytes >= 16 * MIB, "{mebibytes} MB: {limits:?}");
            assert!(limits.output_bytes >= MIB, "{mebibytes} MB: {limits:?}");
            assert!(limits.document_bytes >= 2 * MIB, "{mebibytes} MB: {limits:?}");
        }
        let large = Limits::of_function(10_240 * MIB);
        let limits = Limits::default();
        assert_eq!(Limits { compile_seconds: limits.compile_seconds, ..large }, limits);
    }

    #[test]
    fn more_memory_never_means_lower_limits() {
        let mut before = Limits::of_function(128 * MIB);
        for mebibytes in (192..512).chain(512..1769).chain(1769..3008).step_by(64) {
            let limits = Limits::of_function(mebibytes * MIB);
            let (one, other) = (limits.compile_memory_bytes, before.compile_memory_bytes);
            assert!(one >= other && limits.document_bytes >= before.document_bytes);
            before = limits;
        }
    }

    #[test]
    fn every_limit_can_be_set_by_its_name() {
        for name in NAMES {
            let mut limits = Limits::default();
            limits.set(&format!("{name}=7KiB").parse().unwrap());
            assert_eq!(*field(&mut limits, name), 7168, "{name}");
            assert_ne!(limits, Limits::default(), "{name}");
        }
    }

    #[test]
    fn a_setting_that_is_none_says_what_would_be() {
        for (text, part) in [
            ("document_bytes", "NAME=VALUE"),
            ("bytes=3", "document_bytes, json_levels"),
            ("call_seconds=0", "above 0"),
            ("call_seconds=fast", "`fast` is not a number"),
        ] {
            let error = text.parse::<LimitSetting>().unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
