//! argv to requests, responses to tables, JSON, progress; one file per command.
//!
//! Everything goes through `docker_api::Client`: the engine in this process is just one more
//! server, made by the function that [`run`] is given. Nothing here knows the engine.
#![forbid(unsafe_code)]

mod archives;
mod argv;
mod board;
mod commands;
mod complete;
mod config;
mod copy;
mod cx;
mod error;
mod format;
mod graph;
mod human;
mod id_file;
mod inspect;
mod lines;
mod make;
mod options;
mod parse;
mod progress;
mod pulling;
mod recipe;
mod secret;
mod session;
mod starting;
mod table;
mod template;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use argv::flags::{self, Grammar, Parsed};
use argv::globals::{Choice, Environment, Globals, Privilege};
use argv::{Command, Outcome, help};
use config::UserConfig;
use cx::{Cx, Setting};
use error::Failure;

pub use archives::{Archives, LocalPart, LocalTarget, Renaming};
pub use argv::globals::Roots;
pub use argv::hosts::{ClientTls, Remote, SshHost, TcpHost};
pub use config::credentials::{CredentialHelper, HelperCall, HelperError, Spoken};

/// Makes a client of the engine in this process. It is called at most once, inside of a tokio
/// runtime, and only by a command that talks to the engine.
pub type Local = Box<dyn FnOnce(&Roots) -> anyhow::Result<docker_api::Client>>;

/// Tells what this host gives and lacks for the engine of these roots.
pub type Doctor = fn(&Roots) -> anyhow::Result<Vec<Finding>>;

/// What this host gives or lacks.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Finding {
    /// What was looked at.
    pub about: String,
    /// `ok`, `limited` or `missing`.
    pub verdict: String,
    /// What is there.
    pub found: String,
    /// What a lack costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<String>,
    /// What mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

/// Does what has to be done before the engine can work in this process, while it has one thread. It is
/// called once, by a command whose server is that engine, whether it talks to it or not.
pub type Enter = fn(&Roots, Helpers) -> anyhow::Result<()>;

/// Whether a command may ask a credential helper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Helpers {
    /// It may pull, and the configuration names one.
    Asked,
    /// It will not.
    NotAsked,
}

/// What clients of `serve` from other machines have to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServeTls {
    /// Whether there is TLS at all.
    pub enabled: bool,
    /// Whether clients have to show a certificate.
    pub verify: bool,
    /// Who vouches for clients.
    pub authority: PathBuf,
    /// The service's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Whether anybody is let in who comes without a certificate.
    pub unauthenticated: bool,
    /// Hosts that pages in browsers may name then, or be of.
    pub trusted: Vec<String>,
}

/// Makes the way to a server on another machine. Nobody is connected to before the first request.
pub type Reach = fn(&Remote) -> anyhow::Result<docker_api::Transport>;

/// What `serve` was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeOptions {
    /// The engine's roots.
    pub roots: Roots,
    /// Where to listen, as it was given; nowhere means where the roots say.
    pub hosts: Vec<String>,
    /// The group that may connect, by name or number.
    pub group: Option<String>,
    /// What clients from other machines have to show.
    pub tls: ServeTls,
    /// Where figures are told, if they are.
    pub metrics: Option<String>,
    /// Where the dashboard is, if there is to be one.
    pub ui: Option<String>,
    /// Where to write down the number of the process.
    pub pidfile: Option<PathBuf>,
    /// The least grave of what is told: `debug`, `info`, `warn`, `error`.
    pub level: &'static str,
    /// How: `text` or `json`.
    pub log_format: String,
}

/// Serves the engine of this process to others until it is told to end.
pub type Serve = fn(ServeOptions) -> std::pin::Pin<Box<dyn Future<Output = anyhow::Result<()>>>>;

/// A dashboard that is shown.
pub struct Shown {
    /// Where, with the token.
    pub address: String,
    /// Done when this process was asked to end.
    pub ended: std::pin::Pin<Box<dyn Future<Output = ()>>>,
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The address is as good as a password.
        f.write_str("Shown")
    }
}

/// Shows a dashboard of a server at an address of this machine.
pub type Ui = fn(&str, docker_api::Transport) -> anyhow::Result<Shown>;

/// What the command line is given by the program that it is a part of.
pub struct Wiring {
    /// Looks at this host.
    pub doctor: Doctor,
    /// Prepares for that.
    pub enter: Enter,
    /// Makes a client of the engine in this process.
    pub local: Local,
    /// Goes to other machines.
    pub reach: Reach,
    /// Serves it.
    pub serve: Serve,
    /// Shows a server in a browser.
    pub ui: Ui,
    /// Starts credential helpers.
    pub credential_helper: CredentialHelper,
    /// Packs and unpacks files of this machine.
    pub archives: Archives,
}

impl std::fmt::Debug for Wiring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wiring")
    }
}

/// Runs the command line `argv`, program name included, and gives its exit code.
pub fn run(argv: Vec<OsString>, wiring: Wiring) -> ExitCode {
    match dispatch(argv.into_iter().skip(1).collect(), wiring) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

/// What the words in front of the command, and the command's own name, come to.
struct Chosen {
    globals: Globals,
    name: String,
    rest: Vec<OsString>,
}

fn dispatch(mut words: Vec<OsString>, wiring: Wiring) -> Outcome {
    if words.first().is_some_and(|word| word == complete::ROLE) {
        words.remove(0);
        return complete::run(words, wiring);
    }
    let definition = globals_definition();
    let (parsed, words) = flags::parse_globals(definition, words).map_err(|message| {
        flags::usage_error(&message, help::PROGRAM, "[OPTIONS] COMMAND [ARG...]")
    })?;
    let globals: Globals = match parsed {
        Parsed::Help => return print(&program_help()),
        Parsed::Matches(matches) => argv::typed(&matches)?,
        Parsed::WrongCount(objection) => return Err(Failure::error(objection)),
    };
    if globals.version {
        return print(&format!("{}\n", commands::version::line()));
    }
    match find(words)? {
        Found::Command(command, name, rest) => {
            start(command, Chosen { globals, name, rest }, wiring)
        }
        Found::Help(text) => print(&text),
    }
}

fn globals_definition() -> clap::Command {
    <Globals as clap::Args>::augment_args(argv::bare())
}

fn program_help() -> String {
    let width = cx::terminal_width().unwrap_or(80);
    help::program(&globals_definition(), commands::GROUPS, commands::ALL, width)
}

enum Found {
    Command(&'static Command, String, Vec<OsString>),
    Help(String),
}

/// Finds the command that the first word or two name.
fn find(words: Vec<OsString>) -> Result<Found, Failure> {
    let mut words = words.into_iter();
    let Some(first) = words.next() else { return Ok(Found::Help(program_help())) };
    let first = first.to_string_lossy().into_owned();
    if first == "help" {
        return help_on(words.collect());
    }
    if let Some(command) = commands::named(&first) {
        // `port audit` beside `port CONTAINER`.
        let second = words.as_slice().first().map(|word| word.to_string_lossy());
        let both = second.map(|second| format!("{first} {second}")).unwrap_or_default();
        if let Some(command) = commands::named(&both) {
            return Ok(Found::Command(command, both, words.skip(1).collect()));
        }
        return Ok(Found::Command(command, first, words.collect()));
    }
    let Some((group, about)) = commands::GROUPS.iter().find(|(group, _)| *group == first) else {
        return Err(unknown(&first, help::PROGRAM, None));
    };
    let Some(second) = words.next() else { return Ok(Found::Help(group_help(group, about))) };
    let second = second.to_string_lossy().into_owned();
    if matches!(second.as_str(), "--help" | "-h") {
        return Ok(Found::Help(group_help(group, about)));
    }
    let name = format!("{group} {second}");
    match commands::named(&name) {
        Some(command) => Ok(Found::Command(command, name, words.collect())),
        None if second.starts_with('-') => {
            let message = format!("unknown flag: {second}");
            let program = format!("{} {group}", help::PROGRAM);
            Err(flags::usage_error(&message, &program, "COMMAND"))
        }
        None => Err(unknown(&name, &format!("{} {group}", help::PROGRAM), Some(group))),
    }
}

/// `dhow help stop` is `dhow stop --help`.
fn help_on(mut words: Vec<OsString>) -> Result<Found, Failure> {
    if words.is_empty() {
        return Ok(Found::Help(program_help()));
    }
    let topic: Vec<_> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    words.push("--help".into());
    find(words).map_err(|_| Failure::error(format!("unknown help topic: {}", topic.join(" "))))
}

fn group_help(group: &str, about: &str) -> String {
    help::group(group, about, commands::ALL)
}

fn unknown(name: &str, program: &str, group: Option<&&str>) -> Failure {
    let main = help::PROGRAM;
    let usage = group.map(|_| format!("Usage:  {program}\n\n")).unwrap_or_default();
    Failure::error(format!(
        "{main}: unknown command: {main} {name}\n\n{usage}Run '{program} --help' for more information"
    ))
}

/// What the words behind a command ask for.
enum Asked {
    Help(String),
    Run(clap::ArgMatches),
}

/// Reads the words behind a command that is called by this name.
fn read(command: &Command, name: &str, rest: Vec<OsString>) -> Result<Asked, Failure> {
    let full = format!("{} {name}", help::PROGRAM);
    let definition = (command.define)();
    let grammar = Grammar { definition, flags: command.flags, arity: command.arity };
    let parsed = flags::parse(grammar, rest)
        .map_err(|message| flags::usage_error(&message, &full, command.usage))?;
    match parsed {
        Parsed::Help => {
            let width = cx::terminal_width().unwrap_or(80);
            Ok(Asked::Help(help::command(command, name, width)))
        }
        Parsed::Matches(matches) => Ok(Asked::Run(matches)),
        Parsed::WrongCount(objection) => Err(Failure::error(format!(
            "{}: '{full}' {objection}\n\nUsage:  {full} {}\n\nRun '{full} --help' for more information",
            help::PROGRAM,
            command.usage
        ))),
    }
}

/// Whom a command asks.
#[derive(Debug, Clone, Copy)]
enum Asks {
    /// The server that the user names.
    Anybody,
    /// The engine in this process, whatever the environment says.
    ThisProcess,
}

/// Runs a command with words that stood behind another, for one that is spelt in two ways.
async fn run_instead(cx: &Cx, command: &Command, name: &str, words: &[String]) -> Outcome {
    match read(command, name, words.iter().map(OsString::from).collect())? {
        Asked::Help(text) => print(&text),
        Asked::Run(matches) => (command.run)(cx, &matches).await,
    }
}

fn start(command: &'static Command, chosen: Chosen, wiring: Wiring) -> Outcome {
    let Chosen { mut globals, name, rest } = chosen;
    let matches = match read(command, &name, rest)? {
        Asked::Help(text) => return print(&text),
        Asked::Run(matches) => matches,
    };
    let asks = if name == commands::serve::NAME {
        commands::serve::take_roots(&matches, &mut globals)?;
        Asks::ThisProcess
    } else {
        Asks::Anybody
    };
    let cx = Cx::new(setting(&globals, asks), wiring, name);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::error(format!("cannot start: {e}")))?;
    let outcome = runtime.block_on((command.run)(&cx, &matches));
    // What is left are buffers, idle connections and the database's caches, which the kernel takes back
    // at once, and perhaps a thread that still reads the terminal and must not keep us.
    std::mem::forget((cx, runtime));
    outcome
}

/// What holds for every command.
fn setting(globals: &Globals, asks: Asks) -> Setting {
    let env = environment();
    let config = UserConfig::new(globals.config_directory(&env));
    let choice = match asks {
        Asks::Anybody => Choice::new(globals, &env, &config),
        Asks::ThisProcess => Choice::here(globals, &env),
    };
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (host, api_version) = (given(env.docker_host), given(env.api_version));
    Setting { choice, config, level: globals.level(), host, api_version }
}

/// The only place that looks at the environment for settings of the program.
fn environment() -> Environment {
    let text = |name| std::env::var(name).ok();
    let path = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let uid = rustix::process::geteuid();
    Environment {
        docker_host: text("DOCKER_HOST"),
        docker_context: text("DOCKER_CONTEXT"),
        docker_config: path("DOCKER_CONFIG"),
        tls: text("DOCKER_TLS").is_some_and(|text| !text.is_empty()),
        tls_verify: text("DOCKER_TLS_VERIFY").is_some_and(|text| !text.is_empty()),
        cert_path: path("DOCKER_CERT_PATH"),
        api_version: text("DOCKER_API_VERSION"),
        root: path("DHOW_ROOT"),
        run: path("DHOW_RUN"),
        xdg_data: path("XDG_DATA_HOME"),
        xdg_run: path("XDG_RUNTIME_DIR"),
        home: path("HOME"),
        privilege: if uid.is_root() { Privilege::Root } else { Privilege::User(uid.as_raw()) },
    }
}

fn print(text: &str) -> Outcome {
    use std::io::Write as _;
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests;
