//! Flags in front of the command: which server, and where its state is.

use super::hosts::{ClientTls, Target};
use crate::config::{UserConfig, contexts};
use std::path::{Path, PathBuf};

/// A self-contained platform for containers
#[derive(clap::Args, Debug, Default)]
pub(crate) struct Globals {
    /// Directory of the configuration: config.json, contexts
    #[arg(long, value_name = "string")]
    pub(crate) config: Option<PathBuf>,
    /// Server to connect to, by the name that it was given; wins over DOCKER_HOST and the current context
    #[arg(short, long, value_name = "string")]
    pub(crate) context: Option<String>,
    /// Tell which server is asked
    #[arg(short = 'D', long)]
    pub(crate) debug: bool,
    /// What is told beside the output: debug, info, warn, error, fatal
    #[arg(short, long, value_name = "string", default_value = "info")]
    pub(crate) log_level: Level,
    #[command(flatten)]
    pub(crate) tls: Tls,
    /// Server to connect to (unix:///path, tcp://host:port, ssh://user@host); without it the engine runs in this process
    #[arg(short = 'H', long, value_name = "string")]
    pub(crate) host: Option<String>,
    /// Directory of images, containers and volumes
    #[arg(long, value_name = "string")]
    pub(crate) root: Option<PathBuf>,
    /// Directory of what lives while containers run
    #[arg(long, value_name = "string")]
    pub(crate) run_root: Option<PathBuf>,
    /// Print the version and quit
    #[arg(short, long)]
    pub(crate) version: bool,
}

// No doc comment: clap would take it for the program's.
#[derive(clap::Args, Debug, Default)]
pub(crate) struct Tls {
    /// Use TLS for tcp://, whoever answers; implied by --tlsverify
    #[arg(long)]
    tls: bool,
    /// Certificates of who may vouch for the server (default: ca.pem in DOCKER_CERT_PATH, or in the directory of the configuration)
    #[arg(long, value_name = "string")]
    tlscacert: Option<PathBuf>,
    /// Certificate to show to the server (default: cert.pem there)
    #[arg(long, value_name = "string")]
    tlscert: Option<PathBuf>,
    /// Key of that certificate (default: key.pem there)
    #[arg(long, value_name = "string")]
    tlskey: Option<PathBuf>,
    /// Use TLS for tcp:// and verify the server; with =false, take whoever answers for it
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    tlsverify: Option<bool>,
}

impl Tls {
    /// The first flag of these that was given.
    fn given(&self) -> Option<&'static str> {
        [
            (self.tls, "--tls"),
            (self.tlscacert.is_some(), "--tlscacert"),
            (self.tlscert.is_some(), "--tlscert"),
            (self.tlskey.is_some(), "--tlskey"),
            (self.tlsverify.is_some(), "--tlsverify"),
        ]
        .into_iter()
        .find_map(|(given, flag)| given.then_some(flag))
    }

    /// How TLS is spoken with a server, if flags or the environment want it to be: Docker's files, where Docker
    /// looks for them.
    fn wish(&self, env: &Environment, config: &UserConfig) -> Result<Option<ClientTls>, String> {
        // Who speaks of it at all means TLS, and has the last word beside the environment (Docker).
        let verifies = self.tlsverify.unwrap_or(env.tls_verify);
        if !verifies && self.tlsverify.is_none() && !self.tls && !env.tls {
            let flag = self.given().map(|flag| format!("{flag}: say --tlsverify or --tls as well"));
            return flag.map_or(Ok(None), Err);
        }
        let directory = env.cert_path.as_deref().or(config.directory()).unwrap_or(Path::new(""));
        let own = |given: &Option<PathBuf>, name: &str| {
            let is_there = |path: &PathBuf| path.try_exists().unwrap_or(true);
            let usual = || Some(directory.join(name)).filter(is_there);
            given.clone().or_else(usual)
        };
        let authority = self.tlscacert.clone().unwrap_or_else(|| directory.join("ca.pem"));
        Ok(Some(ClientTls {
            trusts_anyone: !verifies,
            authority: verifies.then_some(authority),
            certificate: own(&self.tlscert, "cert.pem"),
            key: own(&self.tlskey, "key.pem"),
        }))
    }
}

/// What is told beside the output: this, and what is graver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Debug,
    #[default]
    Info,
    Warn,
    Error,
    Fatal,
}

impl std::str::FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "debug" => Ok(Self::Debug),
            "info" => Ok(Self::Info),
            "warn" | "warning" => Ok(Self::Warn),
            "error" => Ok(Self::Error),
            "fatal" => Ok(Self::Fatal),
            _ => Err("it is one of debug, info, warn, error, fatal".to_owned()),
        }
    }
}

impl Globals {
    /// What is told; `--debug` is short for the most.
    pub(crate) fn level(&self) -> Level {
        if self.debug { Level::Debug } else { self.log_level }
    }

    /// Where the configuration is.
    pub(crate) fn config_directory(&self, env: &Environment) -> Option<PathBuf> {
        let home = || env.home.as_ref().map(|home| home.join(".docker"));
        self.config.clone().or_else(|| env.docker_config.clone()).or_else(home)
    }
}

/// What the environment says about the same; read once, by `run`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    /// `DOCKER_HOST`
    pub(crate) docker_host: Option<String>,
    /// `DOCKER_CONTEXT`
    pub(crate) docker_context: Option<String>,
    /// `DOCKER_CONFIG`
    pub(crate) docker_config: Option<PathBuf>,
    /// `DOCKER_TLS`
    pub(crate) tls: bool,
    /// `DOCKER_TLS_VERIFY`
    pub(crate) tls_verify: bool,
    /// `DOCKER_CERT_PATH`
    pub(crate) cert_path: Option<PathBuf>,
    /// `DOCKER_API_VERSION`
    pub(crate) api_version: Option<String>,
    /// `DHOW_ROOT`
    pub(crate) root: Option<PathBuf>,
    /// `DHOW_RUN`
    pub(crate) run: Option<PathBuf>,
    /// `XDG_DATA_HOME`
    pub(crate) xdg_data: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`
    pub(crate) xdg_run: Option<PathBuf>,
    /// `HOME`
    pub(crate) home: Option<PathBuf>,
    /// Whether this is the superuser.
    pub(crate) privilege: Privilege,
}

/// Who runs the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// Anybody, by user id.
    User(u32),
    /// User 0.
    #[default]
    Root,
}

/// Where the engine's state is, when it runs in this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// Images, containers, volumes.
    pub data: PathBuf,
    /// Sockets and locks of what runs.
    pub run: PathBuf,
}

/// A server, and the context that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Or why it cannot be used.
    pub(crate) target: Result<Target, String>,
    /// `default`, if it is none of the user's.
    pub(crate) context: String,
}

impl Choice {
    /// Docker's order: `--host`, `--context`, `DOCKER_HOST`, `DOCKER_CONTEXT`, the current context
    /// of the configuration; and no server at all means this process.
    pub(crate) fn new(globals: &Globals, env: &Environment, config: &UserConfig) -> Self {
        let flag = globals.host.as_deref().filter(|host| !host.is_empty());
        let named = globals.context.as_deref().filter(|context| !context.is_empty());
        let context = match (flag, named) {
            (Some(_), None) => contexts::DEFAULT.to_owned(),
            (_, Some(name)) => name.to_owned(),
            (None, None) => current(env, config),
        };
        let given = |text: &str| Some(text.to_owned()).filter(|host| !host.is_empty());
        let target = match (flag, named) {
            (Some(_), Some(_)) => {
                Err("conflicting options: cannot specify both --host and --context".to_owned())
            }
            _ if context == contexts::DEFAULT => {
                let host = flag.or(env.docker_host.as_deref()).and_then(given);
                Target::unnamed(host, globals, (env, config))
            }
            _ => contexts::find(config.directory(), &context)
                .and_then(|context| Target::of_context(&context, &globals.tls)),
        };
        Self { target, context }
    }

    /// The engine in this process, for a command that is no client. Which server to ask is not to be said
    /// before it.
    pub(crate) fn here(globals: &Globals, env: &Environment) -> Self {
        let asked = [
            (globals.host.is_some(), "--host"),
            (globals.context.is_some(), "--context"),
            (globals.tls.given().is_some(), "--tls"),
        ];
        let target = match asked.into_iter().find_map(|(given, flag)| given.then_some(flag)) {
            Some(flag) => Err(format!(
                "{flag} before the command names a server to ask; say it behind the command"
            )),
            None => Roots::choose(globals, env).map(Target::InProcess),
        };
        Self { target, context: contexts::DEFAULT.to_owned() }
    }
}

/// The context that is meant where no flag says otherwise.
fn current(env: &Environment, config: &UserConfig) -> String {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if given(&env.docker_host).is_some() {
        return contexts::DEFAULT.to_owned();
    }
    let configured = || Some(config.preferences().current_context.clone());
    let name = given(&env.docker_context).or_else(configured);
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| contexts::DEFAULT.to_owned())
}

impl Target {
    /// The one that no context names. Flags about TLS are about a server, as in Docker; what the environment
    /// says about it holds for servers that are reached by TCP.
    fn unnamed(
        host: Option<String>,
        globals: &Globals,
        (env, config): (&Environment, &UserConfig),
    ) -> Result<Self, String> {
        let tls = globals.tls.wish(env, config)?;
        let host = match (host, globals.tls.given()) {
            (Some(host), _) => host,
            (None, Some(_)) => "tcp://".to_owned(),
            (None, None) => return Ok(Self::InProcess(Roots::choose(globals, env)?)),
        };
        let target = Self::parse(&host, tls)?;
        match globals.tls.given() {
            Some(flag) if !target.is_tcp() => {
                Err(format!("{flag} is for tcp://, and not {target}"))
            }
            _ => Ok(target),
        }
    }

    /// The one that a context names. What it says about TLS is kept with it.
    fn of_context(context: &contexts::Context, flags: &Tls) -> Result<Self, String> {
        match flags.given() {
            Some(flag) => Err(format!(
                "{flag}: the context {:?} says how its server is reached",
                context.name
            )),
            None => Self::parse(&context.host, context.tls.clone()),
        }
    }
}

impl Roots {
    fn choose(globals: &Globals, env: &Environment) -> Result<Self, String> {
        let data = globals.root.clone().or_else(|| env.root.clone());
        let run = globals.run_root.clone().or_else(|| env.run.clone());
        if let (Some(data), Some(run)) = (&data, &run) {
            return Ok(Self { data: data.clone(), run: run.clone() });
        }
        let Privilege::User(uid) = env.privilege else {
            return Ok(Self {
                data: data.unwrap_or_else(|| "/var/lib/dhow".into()),
                run: run.unwrap_or_else(|| "/run/dhow".into()),
            });
        };
        let home = || env.home.as_ref().map(|home| home.join(".local/share"));
        let data = data
            .or_else(|| env.xdg_data.clone().or_else(home).map(|directory| directory.join("dhow")));
        let run = run.or_else(|| {
            let directory =
                env.xdg_run.clone().unwrap_or_else(|| format!("/run/user/{uid}").into());
            Some(directory.join("dhow"))
        });
        match (data, run) {
            (Some(data), Some(run)) => Ok(Self { data, run }),
            _ => {
                Err("neither --root nor $XDG_DATA_HOME nor $HOME says where to keep images"
                    .to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::argv::hosts::Remote;

    fn flags(host: Option<&str>, root: Option<&str>) -> Globals {
        Globals {
            host: host.map(str::to_owned),
            root: root.map(PathBuf::from),
            ..Globals::default()
        }
    }

    fn choose(globals: &Globals, env: &Environment) -> Result<Target, String> {
        Choice::new(globals, env, &UserConfig::new(None)).target
    }

    fn in_process(data: &str, run: &str) -> Result<Target, String> {
        Ok(Target::InProcess(Roots { data: data.into(), run: run.into() }))
    }

    #[test]
    fn nothing_said_means_this_process() {
        let root = Environment::default();
        let got = choose(&flags(None, None), &root);
        assert_eq!(got, in_process("/var/lib/dhow", "/run/dhow"));
        let got = choose(&flags(None, Some("/x")), &root);
        assert_eq!(got, in_process("/x", "/run/dhow"));
        let user = Environment {
            privilege: Privilege::User(7),
            home: Some("/home/u".into()),
            ..Environment::default()
        };
        let got = choose(&flags(None, None), &user);
        assert_eq!(got, in_process("/home/u/.local/share/dhow", "/run/user/7/dhow"));
    }

    #[test]
    fn flag_beats_environment_and_other_transports_are_refused() {
        let env =
            Environment { docker_host: Some("unix:///env.sock".into()), ..Environment::default() };
        let unix = |path: &str| Ok(Target::Unix(path.into()));
        assert_eq!(choose(&flags(None, None), &env), unix("/env.sock"));
        assert_eq!(choose(&flags(Some("unix:///a"), None), &env), unix("/a"));
        for (host, want) in [
            ("unix://a", "the path of host unix://a is not absolute"),
            ("zz", "unable to parse docker host `zz`"),
        ] {
            assert_eq!(choose(&flags(Some(host), None), &env), Err(want.to_owned()));
        }
    }

    fn with_tls(tls: Tls, host: Option<&str>) -> Globals {
        Globals { tls, host: host.map(str::to_owned), ..Globals::default() }
    }

    fn tls_of(globals: &Globals, env: &Environment) -> Result<(String, Option<ClientTls>), String> {
        match choose(globals, env)? {
            Target::Remote(Remote::Tcp(host)) => Ok((host.to_string(), host.tls)),
            other @ (Target::InProcess(_) | Target::Unix(_) | Target::Remote(Remote::Ssh(_))) => {
                Err(other.to_string())
            }
        }
    }

    #[test]
    fn tls_is_asked_for_by_flags_and_by_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| Some(dir.path().join(name));
        std::fs::write(dir.path().join("cert.pem"), "").unwrap();
        let env = Environment { cert_path: Some(dir.path().into()), ..Environment::default() };
        let verify = || Tls { tlsverify: Some(true), ..Tls::default() };
        let (host, tls) = tls_of(&with_tls(verify(), Some("tcp://h")), &env).unwrap();
        let want = ClientTls {
            trusts_anyone: false,
            authority: at("ca.pem"),
            certificate: at("cert.pem"),
            key: None,
        };
        assert_eq!((host.as_str(), tls.as_ref()), ("tcp://h:2376", Some(&want)));
        let by_env = Environment {
            tls_verify: true,
            docker_host: Some("tcp://h:2376".to_owned()),
            ..env.clone()
        };
        assert_eq!(tls_of(&Globals::default(), &by_env).unwrap(), (host, tls));
        let not = || Tls { tlsverify: Some(false), ..Tls::default() };
        for env in [&env, &by_env] {
            let (host, tls) = tls_of(&with_tls(not(), Some("tcp://h")), env).unwrap();
            let tls = tls.unwrap();
            assert_eq!(
                (host.as_str(), tls.trusts_anyone, tls.authority),
                ("tcp://h:2376", true, None)
            );
        }
        let anyone = Tls { tls: true, tlskey: Some("/k".into()), ..Tls::default() };
        let (host, tls) = tls_of(&with_tls(anyone, None), &env).unwrap();
        let tls = tls.unwrap();
        assert_eq!((host.as_str(), tls.trusts_anyone), ("tcp://localhost:2376", true));
        assert_eq!((tls.authority, tls.key), (None, Some("/k".into())));
        let (_, plain) = tls_of(&with_tls(Tls::default(), Some("tcp://h")), &env).unwrap();
        assert_eq!(plain, None);
    }

    #[test]
    fn a_flag_of_tls_that_would_have_no_effect_is_refused() {
        let env = Environment::default();
        let verify = || Tls { tlsverify: Some(true), ..Tls::default() };
        let refused = tls_of(&with_tls(verify(), Some("unix:///a")), &env).unwrap_err();
        assert_eq!(refused, "--tlsverify is for tcp://, and not unix:///a");
        let alone = Tls { tlscacert: Some("/ca".into()), ..Tls::default() };
        let refused = tls_of(&with_tls(alone, Some("tcp://h")), &env).unwrap_err();
        assert_eq!(refused, "--tlscacert: say --tlsverify or --tls as well");
        // The environment is for all servers, also those that are not reached so.
        let env = Environment { tls_verify: true, ..env };
        assert_eq!(choose(&flags(Some("unix:///a"), None), &env), Ok(Target::Unix("/a".into())));
        assert_eq!(choose(&flags(None, None), &env), in_process("/var/lib/dhow", "/run/dhow"));
    }

    #[test]
    fn contexts_have_dockers_precedence() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["flag", "env", "file"] {
            let place = dir.path().join("contexts/meta").join(name);
            std::fs::create_dir_all(&place).unwrap();
            let text = format!(
                r#"{{"Name":"{name}","Endpoints":{{"docker":{{"Host":"unix:///{name}.sock"}}}}}}"#
            );
            std::fs::write(place.join("meta.json"), text).unwrap();
        }
        let chosen = |host: &str, globals: Globals, docker_host: &str, docker_context: &str| {
            let env = Environment {
                docker_host: Some(docker_host.to_owned()),
                docker_context: Some(docker_context.to_owned()),
                ..Environment::default()
            };
            let globals = Globals { host: Some(host.to_owned()), ..globals };
            let choice = Choice::new(&globals, &env, &UserConfig::new(Some(dir.path().into())));
            choice.target.map(|target| (choice.context, target.to_string()))
        };
        let context = |name: &str| Globals { context: Some(name.to_owned()), ..Globals::default() };
        let ok = |context: &str, target: &str| Ok((context.to_owned(), target.to_owned()));
        let here = "this process, on /var/lib/dhow and /run/dhow";
        assert_eq!(chosen("", Globals::default(), "", ""), ok("default", here));
        std::fs::write(dir.path().join("config.json"), r#"{"currentContext":"file"}"#).unwrap();
        assert_eq!(chosen("", Globals::default(), "", ""), ok("file", "unix:///file.sock"));
        assert_eq!(chosen("", Globals::default(), "", "env"), ok("env", "unix:///env.sock"));
        assert_eq!(chosen("", Globals::default(), "unix:///h", "env"), ok("default", "unix:///h"));
        assert_eq!(
            chosen("", context("flag"), "unix:///h", "env"),
            ok("flag", "unix:///flag.sock")
        );
        assert_eq!(chosen("", context("default"), "", "env"), ok("default", here));
        assert_eq!(
            chosen("unix:///a", context("flag"), "", ""),
            Err("conflicting options: cannot specify both --host and --context".to_owned())
        );
        let unknown = chosen("", context("nope"), "", "").unwrap_err();
        assert_eq!(unknown, "context \"nope\": context not found");
    }
}
