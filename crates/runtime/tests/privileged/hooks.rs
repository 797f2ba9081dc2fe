//! Hooks: when they are run, where, what they are told, and what becomes of a start that they fail.

use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use runtime::{CgroupEntry, Enter, Hooks, HostFacts, Keyring, Launch, LaunchError, Orphan, Ready};
use serde_json::{Value, json};
use sys::process::Exit;

use crate::bundle::{Bundle, Pipes, enter, spec, start, while_nothing_is_written};

/// A program of the host that a hook runs; what it writes lies beside it.
struct Program {
    dir: PathBuf,
}

impl Program {
    fn new(bundle: &Bundle, script: &str) -> Self {
        let dir = bundle.outside();
        let path = dir.join("hook");
        bundle.write("../outside/hook", &format!("#!/bin/sh\ncd {}\n{script}\n", dir.display()));
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir }
    }

    fn hook(&self, name: &str) -> Value {
        json!({ "path": self.dir.join("hook"), "args": ["hook", name], "env": ["PATH=/bin:/usr/bin"] })
    }

    fn wrote(&self, file: &str) -> String {
        std::fs::read_to_string(self.dir.join(file)).unwrap_or_default()
    }
}

fn at(bundle: &Bundle) -> PathBuf {
    bundle.rootfs().parent().unwrap().to_owned()
}

fn hooks<'a>(spec: &'a Spec, at: &'a Path) -> Hooks<'a> {
    Hooks { spec, id: "test", bundle: at }
}

fn ready(bundle: &Bundle, spec: &Spec, stdio: runtime::Stdio) -> Result<Ready, LaunchError> {
    let (facts, at) = (HostFacts::detect().unwrap(), at(bundle));
    let launch = bundle.launch(spec, &facts, stdio);
    start(Launch { hooks: Some(hooks(spec, &at)), ..launch })
}

fn with_hooks(args: &[&str], hooks: &Value) -> Spec {
    let mut wish = spec(args);
    wish["hooks"] = hooks.clone();
    wish["annotations"] = json!({ "a": "b" });
    serde_json::from_value(wish).unwrap()
}

#[test]
fn each_is_run_at_its_time_and_place() {
    let bundle = Bundle::new();
    // The root file system of the container is there for those of its namespace, and can be written to.
    let script = "state=$(cat); echo $1 $(readlink /proc/self/ns/mnt) >>log; \
                  echo \"$state\" >state.$1; test -e ../rootfs/proc/version && echo $1 >>sees; \
                  [ $1 = inside ] && touch ../rootfs/made; true";
    let program = Program::new(&bundle, script);
    let spec = with_hooks(
        &["sh", "-c", "ls /made; readlink /proc/self/ns/mnt"],
        &json!({
            "prestart": [program.hook("first")],
            "createRuntime": [program.hook("second"), program.hook("third")],
            "createContainer": [program.hook("inside")],
            "poststart": [program.hook("after")],
            "poststop": [program.hook("last")],
        }),
    );
    let (stdio, pipes) = Pipes::new();
    let ready = ready(&bundle, &spec, stdio).unwrap();
    let pid = ready.pid().as_raw_nonzero().get();
    let at = at(&bundle);
    let hooks = hooks(&spec, &at);
    let running = ready.go().unwrap();
    {
        let _guard = while_nothing_is_written();
        hooks.poststart(running.pid).unwrap();
    }
    let seen = pipes.finish(running).good();
    {
        let _guard = while_nothing_is_written();
        assert_eq!(hooks.poststop(), []);
    }
    let log = program.wrote("log");
    let lines: Vec<(&str, &str)> = log.lines().filter_map(|line| line.split_once(' ')).collect();
    let names: Vec<&str> = lines.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["first", "second", "third", "inside", "after", "last"]);
    let own = std::fs::read_link("/proc/self/ns/mnt").unwrap();
    let (made, container) = seen.trim().split_once('\n').unwrap();
    assert_eq!(made, "/made");
    for (name, namespace) in lines {
        let wanted = if name == "inside" { container } else { own.to_str().unwrap() };
        assert_eq!(namespace, wanted, "{name}");
    }
    assert_eq!(program.wrote("sees"), "inside\n", "who sees procfs of the container");
    for (name, status, number) in [
        ("second", "created", json!(pid)),
        ("inside", "created", json!(1)),
        ("after", "running", json!(pid)),
        ("last", "stopped", Value::Null),
    ] {
        let state: Value = serde_json::from_str(&program.wrote(&format!("state.{name}"))).unwrap();
        assert_eq!((&state["status"], &state["pid"]), (&json!(status), &number), "{name}");
        assert_eq!((&state["id"], &state["bundle"]), (&json!("test"), &json!(at)), "{name}");
        assert_eq!(
            (&state["annotations"]["a"], &state["ociVersion"]),
            (&json!("b"), &json!("1.2.0"))
        );
    }
    assert!(!bundle.path("proc/version").exists(), "nothing is mounted on the host");
}

#[test]
fn one_that_fails_ends_the_start_and_says_why() {
    let bundle = Bundle::new();
    let program =
        Program::new(&bundle, "echo $1 >>log; [ $1 = good ] || { echo no luck >&2; exit 3; }");
    for moment in ["prestart", "createRuntime", "createContainer"] {
        let list =
            json!({ moment: [program.hook("good"), program.hook("bad"), program.hook("good")] });
        let (stdio, _pipes) = Pipes::new();
        let said = ready(&bundle, &with_hooks(&["true"], &list), stdio).unwrap_err().to_string();
        let path = program.dir.join("hook");
        assert_eq!(
            said,
            format!("error running {moment} hook #1: {}: exit status: 3: no luck", path.display())
        );
    }
    assert_eq!(program.wrote("log"), "good\nbad\n".repeat(3));
    let missing = json!({ "createContainer": [{ "path": "/nosuch/hook" }] });
    let (stdio, _pipes) = Pipes::new();
    let said = ready(&bundle, &with_hooks(&["true"], &missing), stdio).unwrap_err().to_string();
    assert!(said.starts_with("error running createContainer hook #0: /nosuch/hook: "), "{said}");
    let slow = Program::new(&bundle, "exec sleep 1000");
    let mut hook = slow.hook("slow");
    hook["timeout"] = json!(1);
    let (stdio, _pipes) = Pipes::new();
    let list = json!({ "createRuntime": [hook] });
    let said = ready(&bundle, &with_hooks(&["true"], &list), stdio).unwrap_err().to_string();
    assert!(said.ends_with("it did not end within 1 s"), "{said}");
}

/// A program of the container has the rights of the container, and nothing of the host.
#[test]
fn one_of_the_containers_is_run_as_it_is() {
    let bundle = Bundle::new();
    bundle.write("bin/inner", "#!/bin/sh\ncat >/tmp/state; id -u >/tmp/who; grep CapEff /proc/self/status >>/tmp/who\nexit $CODE\n");
    std::fs::set_permissions(bundle.path("bin/inner"), std::fs::Permissions::from_mode(0o755))
        .unwrap();
    for (code, ends) in [
        ("0", None),
        ("4", Some("error running startContainer hook #0: /bin/inner: exit status: 4")),
    ] {
        let env = ["PATH=/bin".to_owned(), format!("CODE={code}")];
        let hook = json!({ "path": "/bin/inner", "env": env });
        let spec =
            with_hooks(&["cat", "/tmp/state", "/tmp/who"], &json!({ "startContainer": [hook] }));
        let (stdio, pipes) = Pipes::new();
        let (facts, at) = (HostFacts::detect().unwrap(), at(&bundle));
        let ready = ready(&bundle, &spec, stdio).unwrap();
        let ran = hooks(&spec, &at).start_container(ready.pid(), |process, program, stdio| {
            enter(Enter {
                process,
                program: Some(program),
                facts: &facts,
                id: "test",
                around: &runtime::plan::Surroundings::default(),
                container: ready.pidfd().as_fd(),
                stdio,
                cgroup: CgroupEntry::default(),
                filter: None,
                on_terminal: None,
                orphan: Orphan::Dies,
                keyring: Keyring::New,
                preserved: 0,
            })
        });
        if let Some(ends) = ends {
            assert_eq!(ran.unwrap_err().to_string(), ends);
            ready.abort();
            continue;
        }
        ran.unwrap();
        let output = pipes.finish(ready.go().unwrap());
        assert_eq!(output.exit, Exit::Code(0));
        let (state, who) = output.stdout.rsplit_once('}').unwrap();
        assert!(state.contains(r#""status":"created""#), "{state}");
        assert!(who.contains("0\nCapEff:\t00000000a80425fb"), "{who}");
    }
}
