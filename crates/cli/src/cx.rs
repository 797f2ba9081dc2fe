//! What every command is given: the server, and a few facts about the terminal.

use crate::argv::globals::{Choice, Level};
use crate::argv::hosts::Target;
use crate::config::UserConfig;
use crate::config::credentials::CredentialHelper;
use crate::error::Failure;
use crate::{Archives, Doctor, Finding, Helpers, Local, Reach, Roots, Serve, Ui, Wiring};
use docker_api::{Client, Transport};
use std::cell::{Cell, OnceCell};
use std::io::{IsTerminal as _, Write as _};

/// What the words in front of the command, the environment and the configuration come to.
pub(crate) struct Setting {
    pub(crate) choice: Choice,
    pub(crate) config: UserConfig,
    pub(crate) level: Level,
    /// `DOCKER_HOST`, if it says something.
    pub(crate) host: Option<String>,
    /// `DOCKER_API_VERSION`, if it says something.
    pub(crate) api_version: Option<String>,
}

/// The context of a command.
pub(crate) struct Cx {
    /// The server; or why there is none, which matters to whoever asks for it.
    target: Result<Target, String>,
    /// What the server is called.
    pub(crate) context: String,
    /// What `DOCKER_HOST` says.
    pub(crate) host: Option<String>,
    api_version: Option<String>,
    /// What the user has told once and for all.
    pub(crate) config: UserConfig,
    level: Level,
    local: Cell<Option<Local>>,
    client: OnceCell<Client>,
    /// Looks at this host, if the engine would be in this process.
    doctor: Option<(Doctor, Roots)>,
    /// Goes to other machines.
    reach: Reach,
    /// Serves the engine in this process.
    pub(crate) serve: Serve,
    /// Shows a server in a browser.
    pub(crate) ui: Ui,
    /// Starts credential helpers.
    pub(crate) credential_helper: CredentialHelper,
    /// Packs and unpacks files of this machine.
    pub(crate) archives: Archives,
    /// The name the command was called by, without the program's: `container ls`.
    pub(crate) name: String,
}

/// Whether the command of this name asks registries, or keeps what they are shown.
fn asks_registries(name: &str) -> bool {
    const NAMES: [&str; 11] = [
        "pull",
        "image pull",
        "push",
        "image push",
        "run",
        "container run",
        "create",
        "container create",
        "search",
        "login",
        "logout",
    ];
    NAMES.contains(&name)
}

impl Cx {
    /// Before there is a second thread.
    pub(crate) fn new(setting: Setting, wiring: Wiring, name: String) -> Self {
        let Setting { choice, config, level, host, api_version } = setting;
        let Choice { target, context } = choice;
        let Wiring { enter, local, reach, serve, ui, doctor, credential_helper, archives } = wiring;
        let helpers = if asks_registries(&name) && config.asks_helpers() {
            Helpers::Asked
        } else {
            Helpers::NotAsked
        };
        let here = match &target {
            Ok(Target::InProcess(roots)) => Some(roots.clone()),
            Ok(Target::Unix(_) | Target::Remote(_)) | Err(_) => None,
        };
        let doctor = here.map(|roots| (doctor, roots));
        let target = target.and_then(|target| {
            if let Target::InProcess(roots) = &target {
                enter(roots, helpers).map_err(|error| format!("{error:#}"))?;
            }
            Ok(target)
        });
        let local = Cell::new(Some(local));
        let client = OnceCell::new();
        Self {
            target,
            context,
            host,
            api_version,
            config,
            level,
            local,
            client,
            doctor,
            reach,
            serve,
            ui,
            credential_helper,
            archives,
            name,
        }
    }

    /// Which server it is.
    pub(crate) fn target(&self) -> Result<&Target, Failure> {
        self.target.as_ref().map_err(|why| Failure::error(why.as_str()))
    }

    /// The server. It is made when it is first asked for: what fails before costs nothing.
    pub(crate) fn client(&self) -> Result<&Client, Failure> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let target = self.target()?;
        if self.level == Level::Debug {
            tell(&format!("DEBUG: server: {target}"));
        }
        let client = match target {
            Target::Unix(path) => Client::new(Transport::Unix(path.clone())),
            Target::Remote(remote) => {
                let way = (self.reach)(remote).map_err(|e| Failure::error(format!("{e:#}")))?;
                Client::new(way)
            }
            Target::InProcess(roots) => {
                let Some(local) = self.local.take() else {
                    return Err(Failure::error("the engine in this process did not start"));
                };
                local(roots).map_err(|e| Failure::error(format!("{e:#}")))?
            }
        };
        let client = match &self.api_version {
            Some(version) => client.with_version(version),
            None => client,
        };
        Ok(self.client.get_or_init(|| client))
    }

    /// The roots of the engine in this process, for a command that is about it.
    pub(crate) fn roots(&self) -> Result<Roots, Failure> {
        match &self.target {
            Ok(Target::InProcess(roots)) => Ok(roots.clone()),
            Ok(target @ (Target::Unix(_) | Target::Remote(_))) => {
                Err(Failure::error(format!("{target} is no engine here")))
            }
            Err(why) => Err(Failure::error(why.as_str())),
        }
    }

    /// What is told beside the output.
    pub(crate) fn level(&self) -> Level {
        self.level
    }

    /// What this host gives and lacks. No engine is asked: there may be none that starts.
    pub(crate) fn examine(&self) -> Result<Vec<Finding>, Failure> {
        let Some((doctor, roots)) = &self.doctor else {
            let text = "dhow doctor looks at this host: run it where the server is, without -H, \
                        DOCKER_HOST and a context";
            return Err(Failure::error(text));
        };
        doctor(roots).map_err(|error| Failure::error(format!("{error:#}")))
    }

    /// Whether everything is to be told.
    pub(crate) fn is_debugged(&self) -> bool {
        self.level == Level::Debug
    }

    /// The version of the API that the server is asked for.
    pub(crate) fn api_version(&self) -> &str {
        self.api_version.as_deref().unwrap_or(docker_api::API_VERSION)
    }

    /// Prints to stdout at once.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }

    /// Prints a line to stdout.
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        self.print(&format!("{text}\n"))
    }

    /// Prints a line to stderr. Whether anybody reads it does not matter.
    pub(crate) fn warn(&self, text: &str) {
        tell(text);
    }

    /// Tells of something that is no failure, unless only failures are to be told.
    pub(crate) fn warning(&self, text: &str) {
        if self.level <= Level::Warn {
            tell(&format!("WARNING: {text}"));
        }
    }
}

/// Prints a line to stderr.
#[expect(clippy::print_stderr, reason = "warnings and progress go to stderr")]
pub(crate) fn tell(text: &str) {
    eprintln!("{text}");
}

/// Whether a standard stream is a terminal.
pub(crate) fn stdin_is_terminal() -> bool {
    std::io::stdin().is_terminal()
}

/// The same for stdout.
pub(crate) fn stdout_is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// The same for stderr.
pub(crate) fn stderr_is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// Columns of the terminal behind stdout.
pub(crate) fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}
