//! A dhow on roots of its own, which takes everything with it when it goes.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use crate::Terminal;
use crate::user::{Place, User};

/// A dhow on throw-away roots.
#[derive(Debug)]
pub struct Host {
    binary: PathBuf,
    dir: TempDir,
    root: PathBuf,
    run: PathBuf,
    at_end: AtEnd,
    /// As whom commands run, if not as root.
    pub(crate) user: Option<User>,
}

/// What becomes of the roots when the host goes.
#[derive(Debug, PartialEq, Eq)]
enum AtEnd {
    Reset,
    Keep,
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output, trailing line breaks removed.
    pub out: String,
    /// Its standard error, trailing line breaks removed.
    pub err: String,
}

impl Host {
    /// Fresh roots for this binary.
    ///
    /// # Panics
    /// No directory can be made.
    #[must_use]
    pub fn new(binary: &str) -> Self {
        let dir = scratch();
        let (root, run) = (dir.path().join("root"), dir.path().join("run"));
        Self { binary: PathBuf::from(binary), dir, root, run, at_end: AtEnd::Reset, user: None }
    }

    /// The same with its roots in directories of the caller, who keeps them longer than this.
    ///
    /// # Panics
    /// No directory can be made.
    #[must_use]
    pub fn with_roots(binary: &str, root: &Path, run: &Path) -> Self {
        let (root, run) = (root.to_owned(), run.to_owned());
        let (binary, dir) = (PathBuf::from(binary), scratch());
        Self { binary, dir, root, run, at_end: AtEnd::Reset, user: None }
    }

    /// Fresh roots that hold the `busybox` image.
    ///
    /// # Panics
    /// The image cannot be made or loaded.
    #[must_use]
    pub fn with_busybox(binary: &str) -> Self {
        let host = Self::new(binary);
        let archive = crate::busybox_archive(host.dir.path()).expect("make the busybox image");
        host.ok(&["load", "-q", "-i", &archive.to_string_lossy()]);
        host
    }

    /// Ends this without touching its roots, in which nothing runs: they are to be used again.
    pub fn keep_roots(mut self) {
        self.at_end = AtEnd::Keep;
    }

    /// A directory of the test's own, removed with the host.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// The data root.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.root.clone()
    }

    /// The runtime root.
    #[must_use]
    pub fn run_root(&self) -> PathBuf {
        self.run.clone()
    }

    /// A dhow command on these roots, not started, in a clean environment.
    ///
    /// On a host whose kernel cannot serve the bridge, `DHOW_TEST_NETWORK` names the network of
    /// containers that are given none.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let network = std::env::var("DHOW_TEST_NETWORK").ok();
        self.clean(&self.binary, &with_network(arguments, network.as_deref()))
    }

    /// The same where no control group is delegated, as in a login session of an ordinary user's.
    #[must_use]
    pub fn elsewhere(&self, arguments: &[&str]) -> Command {
        self.placed(Place::Elsewhere, &self.binary, arguments)
    }

    /// The same in a session of its own, whose terminal its standard input is.
    #[must_use]
    pub fn in_session(&self, arguments: &[&str]) -> Command {
        let network = std::env::var("DHOW_TEST_NETWORK").ok();
        let binary = self.binary.to_string_lossy();
        let mut all = vec!["--ctty", &*binary];
        all.extend(with_network(arguments, network.as_deref()));
        self.clean(Path::new("setsid"), &all)
    }

    /// Starts a command in a terminal of its own.
    #[must_use]
    pub fn terminal(&self, arguments: &[&str]) -> Terminal {
        let mut terminal = Terminal::open();
        self.again(&mut terminal, arguments);
        terminal
    }

    /// Starts another command in a terminal whose last one has ended.
    pub fn again(&self, terminal: &mut Terminal, arguments: &[&str]) {
        let mut command = self.in_session(arguments);
        command.stdin(terminal.stdio()).stdout(terminal.stdio()).stderr(terminal.stdio());
        terminal.start(&mut command);
    }

    fn clean(&self, program: &Path, arguments: &[&str]) -> Command {
        self.placed(Place::Delegated, program, arguments)
    }

    #[expect(clippy::disallowed_methods, reason = "tests run the program as a user does")]
    fn placed(&self, place: Place, program: &Path, arguments: &[&str]) -> Command {
        let wrap = |user: &User| user.wrapped(place, &self.binary, program, arguments);
        let (first, rest) = self.user.as_ref().map_or_else(
            || (program.to_owned(), arguments.iter().map(|word| (*word).to_owned()).collect()),
            wrap,
        );
        let mut command = Command::new(first);
        command.args(rest).env_clear();
        if let Some(runtime) = self.user.as_ref().and_then(User::runtime_dir) {
            command.env("XDG_RUNTIME_DIR", runtime);
        }
        command
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.dir.path())
            .env("DHOW_ROOT", self.root())
            .env("DHOW_RUN", self.run_root())
            // What the machine's administrator says about registries is no part of a test.
            .env("DHOW_CONFIG", self.dir.path().join("etc"))
            // Nor is the criu of its distribution.
            .env("DHOW_CRIU", crate::debian::criu_path())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::new(&self.command(arguments).output().expect("start dhow"))
    }

    /// Runs a command that reads `input`.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn feed(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut child = self.spawn(self.command(arguments).stdin(Stdio::piped()));
        // A command that ends without reading its input closes the pipe: that is its right.
        let _ = child.stdin.take().expect("a piped stdin").write_all(input);
        Ran::new(&child.wait_with_output().expect("wait for dhow"))
    }

    /// Starts a command with its output in pipes.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn spawn(&self, command: &mut Command) -> Child {
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start dhow")
    }

    /// Runs a command that must succeed; its output.
    ///
    /// # Panics
    /// It fails.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, Some(0), "dhow {}: {}\n{}", arguments.join(" "), ran.err, ran.out);
        ran.out
    }

    /// Runs a command that must fail with `code`; its standard error.
    ///
    /// # Panics
    /// It ends with another code.
    #[track_caller]
    pub fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, Some(code), "dhow {}: {}\n{}", arguments.join(" "), ran.err, ran.out);
        ran.err
    }
}

/// Gives a container a network if it is given none.
fn with_network<'a>(arguments: &[&'a str], network: Option<&'a str>) -> Vec<&'a str> {
    let mut words = arguments.to_vec();
    let makes_one = matches!(words.first(), Some(&("run" | "create")));
    let has_one = words.iter().any(|word| word.starts_with("--net") || *word == "-p");
    if let (Some(network), true, false) = (network, makes_one, has_one) {
        words.splice(1..1, ["--network", network]);
    }
    words
}

impl Drop for Host {
    /// Whatever the test left, and then the roots. A reset that fails fails the test, unless it
    /// fails already.
    fn drop(&mut self) {
        if self.at_end == AtEnd::Keep {
            return;
        }
        let reset = self.command(&["system", "reset", "--force"]).output();
        let failed = match &reset {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Some(error.to_string()),
        };
        if let (Some(why), false) = (failed, std::thread::panicking()) {
            panic!("dhow system reset: {why}");
        }
    }
}

fn scratch() -> TempDir {
    tempfile::Builder::new().prefix("dhow-test-").tempdir().expect("make a state root")
}

impl Ran {
    /// What an ended child left.
    #[must_use]
    pub fn new(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\n').to_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}
