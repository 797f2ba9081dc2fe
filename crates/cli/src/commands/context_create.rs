//! `context create`

use crate::argv::hosts::{Remote, Target, TcpHost};
use crate::argv::{Arity, Outcome, command};
use crate::config::contexts::keep::{self, Kept};
use crate::config::contexts::{self, endpoint};
use crate::cx::Cx;
use crate::error::Failure;
use std::path::Path;
use std::process::ExitCode;

/// Create a context: give a server a name
#[derive(clap::Args, Debug)]
pub(super) struct ContextCreateArgs {
    /// What is told about it
    #[arg(long, value_name = "string")]
    description: Option<String>,
    /// The server: host=URL, ca=FILE, cert=FILE, key=FILE, skip-tls-verify=BOOL, or from=CONTEXT, by commas
    #[arg(long, value_name = "stringToString")]
    docker: Vec<String>,
    /// Context to take the server of
    #[arg(long, value_name = "string")]
    from: Option<String>,
    context: String,
}

command!(ContextCreateArgs, create, ["context create"], "[OPTIONS] CONTEXT", Arity::Exactly(1));

async fn create(cx: &Cx, args: ContextCreateArgs) -> Outcome {
    let directory = directory(cx)?;
    let name = &args.context;
    check_free(directory, name)?;
    let from = args.from.as_deref().filter(|from| !from.is_empty());
    let mut kept = match (from, args.docker.is_empty()) {
        (Some(_), false) => {
            return Err(Failure::error("cannot use --docker flag when --from is set"));
        }
        (None, false) => {
            let mut kept = Kept::new();
            kept.set_docker(server(cx, directory, &args.docker)?);
            kept
        }
        (from, true) => copied(cx, directory, from.unwrap_or(&cx.context))?,
    };
    if let Some(description) = args.description.as_deref().filter(|text| !text.is_empty()) {
        kept.describe(description);
    }
    kept.write(directory, name).map_err(Failure::error)?;
    cx.line(name)?;
    cx.warn(&format!("Successfully created context {name:?}"));
    Ok(ExitCode::SUCCESS)
}

/// The server that words of `--docker` tell of.
pub(super) fn server(
    cx: &Cx,
    directory: &Path,
    words: &[String],
) -> Result<keep::Endpoint, Failure> {
    let other = |name: &str| match copied(cx, directory, name) {
        Ok(kept) => Ok(kept.docker()),
        Err(failure) => Err(failure.message.unwrap_or_default()),
    };
    endpoint::parse(words, other)
        .map_err(|why| Failure::error(format!("unable to create docker endpoint config: {why}")))
}

/// What another context knows. The one without a file knows what flags and the environment say.
pub(super) fn copied(cx: &Cx, directory: &Path, from: &str) -> Result<Kept, Failure> {
    if from != contexts::DEFAULT {
        return Kept::read(directory, from).map_err(Failure::error);
    }
    if cx.context != contexts::DEFAULT {
        return Err(Failure::error(
            "the default context is not the one in use here: say where its server is, with -H URL",
        ));
    }
    let target = cx.target()?;
    if let Target::InProcess(_) = target {
        return Err(Failure::error(
            "the engine in this process is no server that a context could name: say where one is, with -H unix:///path",
        ));
    }
    let mut endpoint = keep::Endpoint { host: target.to_string(), ..keep::Endpoint::default() };
    if let Target::Remote(Remote::Tcp(TcpHost { tls: Some(tls), .. })) = target {
        endpoint.skip_tls_verify = tls.trusts_anyone;
        let files = [&tls.authority, &tls.certificate, &tls.key];
        for (kept, file) in endpoint.tls.iter_mut().zip(files) {
            *kept = file.as_deref().map(read).transpose()?;
        }
    }
    let mut kept = Kept::new();
    kept.set_docker(endpoint);
    Ok(kept)
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::error(format!("read {}: {error}", file.display())))
}

/// Where contexts are kept.
pub(super) fn directory(cx: &Cx) -> Result<&Path, Failure> {
    let missing = || Failure::error("there is no directory for the configuration: set HOME");
    cx.config.directory().ok_or_else(missing)
}

/// Refuses what is no name for a new context.
pub(super) fn check_free(directory: &Path, name: &str) -> Result<(), Failure> {
    keep::check_name(name).map_err(Failure::error)?;
    if keep::exists(directory, name) {
        return Err(Failure::error(format!("context {name:?} already exists")));
    }
    Ok(())
}
