//! Flags in front of the command: which server, and where its state is.

use std::path::PathBuf;

/// A self-contained platform for containers
#[derive(clap::Args, Debug)]
pub(crate) struct Globals {
    /// Server to connect to (unix:///path); without it the engine runs in this process
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

/// What the environment says about the same; read once, by `run`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    /// `DOCKER_HOST`
    pub(crate) docker_host: Option<String>,
    /// `DOCKER_CONTEXT`
    pub(crate) docker_context: Option<String>,
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

/// Which server a command talks to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The engine in this process.
    InProcess(Roots),
    /// A service at a socket.
    Unix(PathBuf),
}

impl Target {
    /// Flags win over the environment, and no server at all means this process.
    pub(crate) fn choose(globals: &Globals, env: &Environment) -> Result<Self, String> {
        let named = globals.host.as_ref().or(env.docker_host.as_ref()).filter(|h| !h.is_empty());
        if let Some(host) = named {
            return Self::parse(host);
        }
        match env.docker_context.as_deref() {
            None | Some("" | "default") => {}
            Some(name) => {
                return Err(format!(
                    "DOCKER_CONTEXT names {name}, and contexts are not supported: use -H"
                ));
            }
        }
        Ok(Self::InProcess(Roots::choose(globals, env)?))
    }

    fn parse(host: &str) -> Result<Self, String> {
        match host.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(("unix", "")) => Ok(Self::Unix("/var/run/docker.sock".into())),
            Some(("unix", _)) => Err(format!("the path of host {host} is not absolute")),
            Some((scheme @ ("tcp" | "http" | "https" | "ssh" | "fd" | "npipe"), _)) => {
                Err(format!("cannot connect to {host}: {scheme} hosts are not supported"))
            }
            Some(_) | None => Err(format!("unable to parse docker host `{host}`")),
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

    fn flags(host: Option<&str>, root: Option<&str>) -> Globals {
        Globals {
            host: host.map(str::to_owned),
            root: root.map(PathBuf::from),
            run_root: None,
            version: false,
        }
    }

    fn in_process(data: &str, run: &str) -> Result<Target, String> {
        Ok(Target::InProcess(Roots { data: data.into(), run: run.into() }))
    }

    #[test]
    fn nothing_said_means_this_process() {
        let root = Environment::default();
        let got = Target::choose(&flags(None, None), &root);
        assert_eq!(got, in_process("/var/lib/dhow", "/run/dhow"));
        let got = Target::choose(&flags(None, Some("/x")), &root);
        assert_eq!(got, in_process("/x", "/run/dhow"));
        let user = Environment {
            privilege: Privilege::User(7),
            home: Some("/home/u".into()),
            ..Environment::default()
        };
        let got = Target::choose(&flags(None, None), &user);
        assert_eq!(got, in_process("/home/u/.local/share/dhow", "/run/user/7/dhow"));
    }

    #[test]
    fn flag_beats_environment_and_other_transports_are_refused() {
        let env =
            Environment { docker_host: Some("unix:///env.sock".into()), ..Environment::default() };
        let unix = |path: &str| Ok(Target::Unix(path.into()));
        assert_eq!(Target::choose(&flags(None, None), &env), unix("/env.sock"));
        assert_eq!(Target::choose(&flags(Some("unix:///a"), None), &env), unix("/a"));
        for (host, want) in [
            ("tcp://x:1", "cannot connect to tcp://x:1: tcp hosts are not supported"),
            ("unix://a", "the path of host unix://a is not absolute"),
            ("zz", "unable to parse docker host `zz`"),
        ] {
            assert_eq!(Target::choose(&flags(Some(host), None), &env), Err(want.to_owned()));
        }
        let context = Environment { docker_context: Some("c".into()), ..Environment::default() };
        let error = Target::choose(&flags(None, None), &context).unwrap_err();
        assert_eq!(error, "DOCKER_CONTEXT names c, and contexts are not supported: use -H");
    }
}
