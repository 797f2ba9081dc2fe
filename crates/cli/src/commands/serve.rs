//! `serve`

use crate::argv::globals::{Globals, Level};
use crate::argv::{Arity, Outcome, command, typed};
use crate::cx::Cx;
use crate::error::Failure;
use crate::{ServeOptions, ServeTls};
use clap::ArgMatches;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What this command is called.
pub(crate) const NAME: &str = "serve";

/// Serve the Docker Engine API
///
/// Any number of services and commands work on the same containers, none of which needs the service: it can be ended,
/// killed, replaced and started again at any time. Without --host it listens at the sockets that systemd hands over,
/// or else at dhow.sock in the run root.
#[derive(clap::Args, Debug)]
pub(crate) struct ServeArgs {
    /// Directory of images, containers and volumes, as --root before the command
    #[arg(long, value_name = "string")]
    data_root: Option<PathBuf>,
    /// Tell of each request, as --log-level debug
    #[arg(short = 'D', long)]
    debug: bool,
    /// Directory of what lives while containers run, as --run-root before the command
    #[arg(long, value_name = "string")]
    exec_root: Option<PathBuf>,
    /// Group whose members may connect, by name or number
    #[arg(short = 'G', long, value_name = "string")]
    group: Option<String>,
    /// Where to listen: unix:///path, tcp://address:port, or fd:// for the sockets that systemd hands over; may be given several times
    #[arg(short = 'H', long = "host", value_name = "list")]
    hosts: Vec<String>,
    /// How to tell what happens: text, json
    #[arg(long, value_name = "string", default_value = "text")]
    log_format: String,
    /// What to tell: debug, info, warn, error
    #[arg(short, long, value_name = "string")]
    log_level: Option<Level>,
    /// Tell figures in Prometheus' form, as /metrics of the API and to everybody who reaches this address (a port is one
    /// of this machine alone)
    #[arg(long, value_name = "string")]
    metrics_addr: Option<String>,
    /// File to write the number of the process to
    #[arg(short, long, value_name = "file")]
    pidfile: Option<PathBuf>,
    #[command(flatten)]
    tls: TlsArgs,
    /// Show a dashboard to browsers of this machine at this address (a port, or localhost for 127.0.0.1:2374); whoever
    /// opens it needs the token in ui.address in the run root
    #[arg(long, value_name = "string")]
    ui_addr: Option<String>,
}

// No doc comment: clap would take it for the command's.
#[derive(clap::Args, Debug)]
struct TlsArgs {
    /// Use TLS for tcp://; implied by --tlsverify
    #[arg(long)]
    tls: bool,
    /// Certificates of who may vouch for clients (default: ca.pem in the directory of the configuration)
    #[arg(long, value_name = "string")]
    tlscacert: Option<PathBuf>,
    /// Certificate of the service (default: cert.pem there)
    #[arg(long, value_name = "string")]
    tlscert: Option<PathBuf>,
    /// Key of that certificate (default: key.pem there)
    #[arg(long, value_name = "string")]
    tlskey: Option<PathBuf>,
    /// Use TLS for tcp:// and let in who has a certificate
    #[arg(long)]
    tlsverify: bool,
    /// Let everybody who reaches a tcp:// address be root on this machine
    #[arg(long)]
    unauthenticated_tcp: bool,
    /// Host by whose name browsers may ask at --unauthenticated-tcp, or whose pages may (this machine's own name,
    /// addresses and localhost need not be said); may be given several times
    #[arg(long, value_name = "list")]
    trusted_host: Vec<String>,
}

impl TlsArgs {
    /// Docker's names of the files, where Docker looks for them.
    fn settled(self, directory: Option<&Path>) -> Result<ServeTls, Failure> {
        let given = [
            (&self.tlscacert, "--tlscacert", self.tlsverify),
            (&self.tlscert, "--tlscert", self.tls || self.tlsverify),
            (&self.tlskey, "--tlskey", self.tls || self.tlsverify),
        ];
        if let Some((_, flag, _)) = given.iter().find(|(path, _, used)| path.is_some() && !used) {
            return Err(Failure::error(format!("{flag} is for --tlsverify: say that as well")));
        }
        if !self.trusted_host.is_empty() && !self.unauthenticated_tcp {
            return Err(Failure::error("--trusted-host is for --unauthenticated-tcp"));
        }
        let is_host = |host: &String| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
            !host.is_empty() && host.bytes().all(plain)
        };
        if let Some(bad) = self.trusted_host.iter().find(|host| !is_host(host)) {
            let say = "name a host alone, such as ui.example.com";
            return Err(Failure::error(format!("--trusted-host {bad:?}: {say}")));
        }
        let place = |path: Option<PathBuf>, name: &str| {
            path.unwrap_or_else(|| directory.map_or(name.into(), |dir| dir.join(name)))
        };
        Ok(ServeTls {
            enabled: self.tls || self.tlsverify,
            verify: self.tlsverify,
            authority: place(self.tlscacert, "ca.pem"),
            certificate: place(self.tlscert, "cert.pem"),
            key: place(self.tlskey, "key.pem"),
            unauthenticated: self.unauthenticated_tcp,
            trusted: self.trusted_host,
        })
    }
}

command!(ServeArgs, serve, [NAME], "[OPTIONS]", Arity::Exactly(0));

/// The roots that were named behind the command, in dockerd's words, are where the engine works.
pub(crate) fn take_roots(matches: &ArgMatches, globals: &mut Globals) -> Result<(), Failure> {
    let args: ServeArgs = typed(matches)?;
    let pairs = [
        (args.data_root, &mut globals.root, "--data-root and --root"),
        (args.exec_root, &mut globals.run_root, "--exec-root and --run-root"),
    ];
    for (given, place, both) in pairs {
        let Some(given) = given else { continue };
        if place.as_ref().is_some_and(|other| *other != given) {
            return Err(Failure::error(format!("{both} name different directories")));
        }
        *place = Some(given);
    }
    Ok(())
}

async fn serve(cx: &Cx, args: ServeArgs) -> Outcome {
    let level = if args.debug { Level::Debug } else { args.log_level.unwrap_or(cx.level()) };
    let level = match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error | Level::Fatal => "error",
    };
    let options = ServeOptions {
        roots: cx.roots()?,
        hosts: args.hosts,
        group: args.group,
        tls: args.tls.settled(cx.config.directory())?,
        metrics: args.metrics_addr.filter(|address| !address.is_empty()),
        ui: args.ui_addr.filter(|address| !address.is_empty()),
        pidfile: args.pidfile,
        level,
        log_format: args.log_format,
    };
    (cx.serve)(options).await.map_err(|error| Failure::error(format!("{error:#}")))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(words: &[&str], before: Option<&str>) -> Result<Globals, String> {
        let definition = (COMMAND.define)();
        let matches = definition.try_get_matches_from(words).unwrap();
        let mut globals = Globals { root: before.map(PathBuf::from), ..Globals::default() };
        take_roots(&matches, &mut globals)
            .map_err(|failure| failure.message.unwrap_or_default())?;
        Ok(globals)
    }

    #[test]
    fn dockerds_words_for_the_roots_are_taken() {
        let found = roots(&["--data-root", "/d", "--exec-root", "/r"], None).unwrap();
        assert_eq!((found.root, found.run_root), (Some("/d".into()), Some("/r".into())));
        assert_eq!(roots(&["--data-root", "/d"], Some("/d")).unwrap().root, Some("/d".into()));
        let refused = roots(&["--data-root", "/d"], Some("/e")).unwrap_err();
        assert_eq!(refused, "--data-root and --root name different directories");
    }
}
