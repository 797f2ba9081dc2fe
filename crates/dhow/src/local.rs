//! The engine in this process: its API behind a pipe, and what a shim asks of it.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use docker_api::{Client, Transport};
use engine::view::RemoveOptions;
use engine::{Engine, EngineError, Paths};
use model::{ContainerId, NameOrId};
use sys::failpoint::Point;

/// Bytes in flight between the command line and the router, each way.
const PIPE: usize = 64 << 10;

/// An ordinary user's engine works as the root of a user namespace, which is entered here.
pub(crate) fn enter(roots: &cli::Roots, helpers: cli::Helpers) -> anyhow::Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    sys::rootless::check_data(&absolute(roots.data.clone())?)?;
    if helpers == cli::Helpers::Asked {
        crate::credential::leave_somebody_outside()?;
    }
    let said = ["USER", "LOGNAME"].into_iter().filter_map(|name| std::env::var(name).ok());
    let called = said.into_iter().find(|name| !name.is_empty());
    Ok(sys::rootless::enter(&absolute(roots.run.clone())?, called.as_deref())?)
}

/// A client of the engine on these roots, without any socket.
pub(crate) fn client(roots: &cli::Roots) -> anyhow::Result<Client> {
    let engine = engine(roots)?;
    Ok(Client::new(Transport::memory(move || {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        tokio::spawn(docker_server::serve_own(theirs, engine.clone()));
        Ok(Box::new(ours))
    })))
}

/// The engine on these roots, as it is configured.
pub(crate) fn engine(roots: &cli::Roots) -> anyhow::Result<Engine> {
    let paths = Paths::new(absolute(roots.data.clone())?, absolute(roots.run.clone())?);
    Ok(Engine::open(configured(paths)?)?)
}

/// What this host gives and lacks for an engine on these roots, which need not be there.
pub(crate) fn doctor(roots: &cli::Roots) -> anyhow::Result<Vec<cli::Finding>> {
    let paths = Paths::new(absolute(roots.data.clone())?, absolute(roots.run.clone())?);
    let found = engine::doctor::check(&engine::doctor::survey(&paths));
    let told = |one: engine::doctor::Finding| cli::Finding {
        about: one.about.to_owned(),
        verdict: one.verdict.word().to_owned(),
        found: one.found,
        cost: one.cost,
        mend: one.mend,
    };
    Ok(found.into_iter().map(told).collect())
}

/// The superuser's configuration is the machine's; others have one of their own, and whoever says
/// so (`DHOW_CONFIG`) has another one. The criu to be used has a variable too (`DHOW_CRIU`).
fn configured(paths: Paths) -> anyhow::Result<Paths> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let paths = match variable("DHOW_CRIU") {
        Some(criu) => paths.with_criu(criu.into()),
        None => paths,
    };
    if let Some(own) = variable("DHOW_CONFIG") {
        return Ok(paths.with_config(absolute(own.into())?));
    }
    if sys::rootless::membership().is_none() {
        return Ok(paths);
    }
    let home = || variable("HOME").map(|home| PathBuf::from(home).join(".config"));
    let directory = variable("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home);
    Ok(match directory {
        Some(directory) => paths.with_config(absolute(directory.join("dhow"))?),
        None => paths,
    })
}

/// What a shim has this program do: its own arguments, as `shim::role` makes them.
pub(crate) struct Errand<'a> {
    pub(crate) data: &'a OsStr,
    pub(crate) run: &'a OsStr,
    /// The container.
    pub(crate) id: &'a OsStr,
    /// Nothing, or [`shim::MEMBER`] and the descriptor.
    pub(crate) member: &'a [OsString],
}

impl Errand<'_> {
    /// The engine of the shim's own roots. What is configured about registries is no business of it.
    fn engine(&self) -> anyhow::Result<Engine> {
        // The shim may be killed before we end, and others must find its namespace while we are in it.
        match self.member {
            [] => {}
            [word, number] if word == shim::MEMBER => {
                let number = number.to_string_lossy().parse()?;
                let taken = sys::inherited::take(number).and_then(sys::rootless::stay);
                taken.context("be seen in the user namespace")?;
            }
            _ => anyhow::bail!("only a shim calls this, with arguments of its own making"),
        }
        Ok(Engine::open(Paths::new(absolute(self.data.into())?, absolute(self.run.into())?))?)
    }

    fn id(&self) -> anyhow::Result<ContainerId> {
        Ok(self.id.to_string_lossy().parse()?)
    }
}

/// Removes a container that goes with its process.
pub(crate) fn reap(errand: &Errand<'_>) -> ExitCode {
    let reaped = try_reap(errand);
    if let Err(error) = &reaped {
        crate::complain(&format!("dhow reap: {error:#}"));
    }
    if reaped.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn try_reap(errand: &Errand<'_>) -> anyhow::Result<()> {
    let id = errand.id()?;
    sys::failpoint::pass(Point::ReapBegan);
    let engine = errand.engine()?;
    // The shim has let go of the container's life: whoever looked for one since may have an idle one.
    let options = RemoveOptions { force: false, volumes: true };
    match engine.remove(&NameOrId::from(id), options) {
        Ok(()) | Err(EngineError::NoSuchContainer(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Starts a container again, as its restart policy says, or asks for another try.
pub(crate) fn revive(errand: &Errand<'_>) -> ExitCode {
    match try_revive(errand) {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody listens, and the record does not tell: out of memory, a full disk, a busy database.
        Err(_) => ExitCode::from(shim::TRY_AGAIN),
    }
}

fn try_revive(errand: &Errand<'_>) -> anyhow::Result<()> {
    let id = errand.id()?;
    Ok(errand.engine()?.revive(&id)?)
}

/// Names derived from the root must not depend on where a command is run.
pub(crate) fn absolute(path: PathBuf) -> anyhow::Result<PathBuf> {
    std::path::absolute(&path).with_context(|| format!("make {} absolute", path.display()))
}
