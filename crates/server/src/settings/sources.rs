//! Where settings come from: the TOML file, the environment, the flags; and how they are laid over
//! each other.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches};

use tracelake::StorePlace;

use super::Settings;

/// The file that is read if none is named and it is there.
const DEFAULT_FILE: &str = "tracelake.toml";

/// What settings in the environment begin with.
const ENV_PREFIX: &str = "TRACELAKE_";

/// Names behind [`ENV_PREFIX`] that are no settings: the file itself, and what the tests use, with
/// all that begins with [`ENV_TESTS`].
const ENV_OTHERS: [&str; 2] = ["CONFIG", "BLESS"];
const ENV_TESTS: &str = "TEST_";

/// A settings file larger than this is not one.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: the default.
    Default,
    /// This TOML file.
    File(PathBuf),
    /// This variable of the environment.
    Environment(String),
    /// This flag of the command line.
    Flag(String),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

impl serde::Serialize for Origin {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("the settings file {} cannot be read: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("the settings file {} is not valid TOML: {message}", path.display())]
    Syntax {
        /// Which.
        path: PathBuf,
        /// What and where.
        message: String,
    },
    /// There is no such setting.
    #[error("{given} (from {from}) is not a setting{}; `tracelake config` lists all", suggestion.as_ref().map(|name| format!(", did you mean {name}?")).unwrap_or_default())]
    Unknown {
        /// The name as it was given.
        given: String,
        /// Where it was given.
        from: Origin,
        /// The setting that was probably meant, written the same way.
        suggestion: Option<String>,
    },
    /// The value is not one that the setting can have.
    #[error("the setting {name} (from {from}) cannot be '{}': {expected}", shorten(&without_credentials(value)))]
    Value {
        /// Which setting.
        name: String,
        /// The value as it was given.
        value: String,
        /// Where it was given.
        from: Origin,
        /// What it must be.
        expected: String,
    },
    /// Values that exclude each other.
    #[error("{message}")]
    Together {
        /// Which and why.
        message: String,
    },
}

impl SettingsError {
    /// What a caller can do about it.
    pub fn kind(&self) -> tracelake::ErrorKind {
        tracelake::ErrorKind::Invalid
    }
}

/// What stands before an @ in a URL is nobody's business, least of all where the URL is refused for it;
/// nor is what stands behind a question mark, which may be a signature.
fn without_credentials(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, _)| (rest, "?…"));
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://…@{host}{query}"),
        None => format!("{scheme}://{rest}{query}"),
    }
}

/// A value in an error message must not fill the screen.
fn shorten(value: &str) -> String {
    if value.chars().count() <= 80 {
        return value.to_owned();
    }
    value.chars().take(80).chain("…".chars()).collect()
}

/// The settings among the flags: `--config FILE`, and one flag for each setting.
#[derive(Debug, Clone, Default)]
pub struct SettingsArgs {
    /// The TOML file; without it `./tracelake.toml` if there is one.
    pub config: Option<PathBuf>,
    given: Vec<(&'static str, String)>,
}

impl SettingsArgs {
    /// Whether there is a flag for this setting.
    pub fn gives(&self, name: &str) -> bool {
        self.given.iter().any(|(given, _)| *given == name)
    }

    /// Whether there is a flag for any setting, or for a file with settings.
    pub fn gives_any(&self) -> bool {
        self.config.is_some() || !self.given.is_empty()
    }
}

/// The flag of a setting, without the hyphens in front.
fn flag(name: &str) -> String {
    name.replace('_', "-")
}

/// A flag for each setting that is wanted.
fn flags(is_wanted: impl Fn(&str) -> bool) -> Vec<Arg> {
    let wanted = Settings::table().into_iter().filter(|setting| is_wanted(setting.name));
    let flags = wanted.map(|setting| {
        let default = if setting.default.is_empty() { "none" } else { &setting.default };
        let arg = Arg::new(setting.name)
            .long(flag(setting.name))
            .value_name(setting.shape)
            .help_heading("Settings")
            .help(format!("{} [default: {default}]", setting.doc));
        if setting.shape.contains(" | ") {
            arg.value_name("WORD").value_parser(PossibleValuesParser::new(setting.shape.split(" | ")))
        } else {
            arg
        }
    });
    flags.collect()
}

/// The wanted settings that were given as flags.
fn given(matches: &ArgMatches, is_wanted: impl Fn(&str) -> bool) -> Vec<(&'static str, String)> {
    let wanted = Settings::table().into_iter().filter(|setting| is_wanted(setting.name));
    wanted
        .filter_map(|setting| Some((setting.name, matches.get_one::<String>(setting.name)?.clone())))
        .collect()
}

/// Whether a setting says where segments and manifest are.
fn is_of_place(name: &str) -> bool {
    name == "store" || name.starts_with("store_")
}

/// The settings that say where segments and manifest are, among the flags of a command that works on a
/// store without a server.
#[derive(Debug, Clone, Default)]
pub struct StorePlaceArgs {
    given: Vec<(&'static str, String)>,
}

impl StorePlaceArgs {
    /// Whether any was given as a flag.
    pub fn is_given(&self) -> bool {
        !self.given.is_empty()
    }

    /// Where they are, by these flags and the environment of this process.
    ///
    /// # Errors
    /// If a value is none.
    pub fn place(&self) -> Result<StorePlace, SettingsError> {
        self.place_from(std::env::vars_os())
    }

    /// As [`StorePlaceArgs::place`], with the environment given.
    pub(super) fn place_from(
        &self,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<StorePlace, SettingsError> {
        let mut environment = of_environment(environment);
        // All else there is the server's.
        environment.retain(|(name, _)| is_of_place(&name.to_ascii_lowercase()));
        let mut settings = Settings::default();
        settings.overlay_environment(environment)?;
        settings.overlay_flags(&self.given)?;
        Ok(settings.store_place())
    }
}

impl clap::Args for StorePlaceArgs {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.args(flags(is_of_place))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for StorePlaceArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self { given: given(matches, is_of_place) })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.given = given(matches, is_of_place);
        Ok(())
    }
}

impl clap::Args for SettingsArgs {
    fn augment_args(command: clap::Command) -> clap::Command {
        let file = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help_heading("Settings")
            .help("The TOML file with settings [default: ./tracelake.toml, if there is one]");
        command.arg(file).args(flags(|_| true))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for SettingsArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.config = matches.get_one::<PathBuf>("config").cloned();
        self.given = given(matches, |_| true);
        Ok(())
    }
}

/// What is Tracelake's in the environment, without the prefix.
fn of_environment(environment: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<(String, String)> {
    let mut environment: Vec<(String, String)> = environment
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter_map(|(name, value)| {
            // Not UTF-8 is no value of any setting: keep it readable for the error to name it.
            Some((name.strip_prefix(ENV_PREFIX)?.to_owned(), value.to_string_lossy().into_owned()))
        })
        .collect();
    environment.sort();
    environment
}

impl Settings {
    /// The settings in force for these flags, in the environment and the current folder of this
    /// process.
    pub fn load(args: &SettingsArgs) -> Result<Self, SettingsError> {
        Self::load_from(args, std::env::vars_os(), Path::new("."))
    }

    /// As [`Settings::load`], with the environment given and `tracelake.toml` looked for in
    /// `folder`.
    pub fn load_from(
        args: &SettingsArgs,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        folder: &Path,
    ) -> Result<Self, SettingsError> {
        let environment = of_environment(environment);
        let mut settings = Self::default();
        let named = environment.iter().find(|(name, _)| name == "CONFIG").map(|(_, value)| value.into());
        if let Some(path) = args.config.clone().or(named) {
            settings.overlay_file(&path, true)?;
        } else {
            settings.overlay_file(&folder.join(DEFAULT_FILE), false)?;
        }
        settings.overlay_environment(environment)?;
        settings.overlay_flags(&args.given)?;
        settings.validate()?;
        Ok(settings)
    }

    fn overlay_environment(&mut self, environment: Vec<(String, String)>) -> Result<(), SettingsError> {
        for (name, value) in environment {
            let is_other = ENV_OTHERS.contains(&name.as_str()) || name.starts_with(ENV_TESTS);
            if is_other || is_of_kubernetes(&name, &value) {
                continue;
            }
            let variable = format!("{ENV_PREFIX}{name}");
            let spell = |name: &str| format!("{ENV_PREFIX}{}", name.to_ascii_uppercase());
            let origin = Origin::Environment(variable.clone());
            self.overlay(&variable, &name.to_ascii_lowercase(), &value, origin, spell)?;
        }
        Ok(())
    }

    fn overlay_flags(&mut self, given: &[(&'static str, String)]) -> Result<(), SettingsError> {
        for (name, value) in given {
            let given = format!("--{}", flag(name));
            self.overlay(&given, name, value, Origin::Flag(given.clone()), flag)?;
        }
        Ok(())
    }

    fn overlay(
        &mut self,
        given: &str,
        name: &str,
        value: &str,
        from: Origin,
        spell: impl Fn(&str) -> String,
    ) -> Result<(), SettingsError> {
        match self.set(name, value, from.clone()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(SettingsError::Unknown {
                given: shorten(given),
                from,
                suggestion: nearest(name).map(spell),
            }),
            Err(expected) => {
                Err(SettingsError::Value { name: name.to_owned(), value: value.to_owned(), from, expected })
            }
        }
    }

    fn overlay_file(&mut self, path: &Path, must_exist: bool) -> Result<(), SettingsError> {
        let failed = |source| SettingsError::Read { path: path.to_owned(), source };
        let text = match read_at_most(path, FILE_BYTES_MAX) {
            Ok(text) => text,
            Err(error) if !must_exist && error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| SettingsError::Syntax {
            path: path.to_owned(),
            message: error.to_string().trim_end().to_owned(),
        })?;
        for (name, value) in &table {
            let from = Origin::File(path.to_owned());
            let text = match value {
                toml::Value::String(text) => text.clone(),
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(is_so) => is_so.to_string(),
                toml::Value::Array(items) if items.iter().all(toml::Value::is_str) => {
                    items.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join(",")
                }
                // Settings are flat: a table or another type is no setting's value, but an unknown
                // name is the better thing to say about it.
                other => other.type_str().to_owned(),
            };
            self.overlay(name, name, &text, from, str::to_owned)?;
        }
        Ok(())
    }
}

/// Whether Kubernetes made this variable. It puts several into every pod of a namespace for each
/// Service there, named after the Service: one named `tracelake`, or `tracelake-…`, must not keep the
/// server from starting. `name` is what stands behind [`ENV_PREFIX`].
pub(super) fn is_of_kubernetes(name: &str, value: &str) -> bool {
    const PROTOCOLS: [(&str, &str); 3] = [("TCP", "tcp://"), ("UDP", "udp://"), ("SCTP", "sctp://")];
    // With the underscore that ends the prefix: the Service's own name may end there.
    let name = format!("_{name}");
    if name.bytes().any(|byte| !matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_')) {
        return false;
    }
    if name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") {
        return true;
    }
    // …_SERVICE_PORT_<the port's name>
    if name.rsplit_once("_SERVICE_PORT_").is_some_and(|(_, port)| !port.is_empty()) {
        return true;
    }
    // …_PORT=tcp://10.0.0.1:4317. A setting meant as a port has no such value: that stays an error.
    if name.ends_with("_PORT") && PROTOCOLS.iter().any(|(_, scheme)| value.starts_with(scheme)) {
        return true;
    }
    // …_PORT_4317_TCP, and behind that _PROTO, _PORT or _ADDR.
    let Some((_, port)) = name.rsplit_once("_PORT_") else { return false };
    let mut parts = port.split('_');
    let number = parts.next().is_some_and(|number| number.parse::<u16>().is_ok());
    let protocol = parts.next().is_some_and(|name| PROTOCOLS.iter().any(|(known, _)| *known == name));
    let what = parts.next().is_none_or(|what| matches!(what, "PROTO" | "PORT" | "ADDR"));
    number && protocol && what && parts.next().is_none()
}

fn read_at_most(path: &Path, bytes_max: u64) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(bytes_max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > bytes_max {
        return Err(std::io::Error::other("it is larger than a settings file can be"));
    }
    Ok(text)
}

/// The setting whose name is nearest, if it is near enough to be meant.
fn nearest(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase().replace('-', "_");
    if name.len() > 64 {
        return None;
    }
    let (distance, nearest) =
        Settings::table().iter().map(|setting| (edit_distance(&name, setting.name), setting.name)).min()?;
    (distance <= 1 + nearest.len() / 5).then_some(nearest)
}

/// Levenshtein's: insertions, deletions and replacements of bytes that make one of the other.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let above = *cell;
            left = (diagonal + usize::from(x != y)).min(above + 1).min(left + 1);
            diagonal = above;
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(a.len())
}
