//! Pipes and terminals.

use serde_json::json;
use sys::process::Exit;

use crate::bundle::{Bundle, enter, process, read_terminal, spec, start, write_terminal};
use runtime::{HostFacts, Stdio};

fn terminal(line: &str) -> serde_json::Value {
    let mut spec = spec(&["sh", "-c", line]);
    spec["process"]["terminal"] = json!(true);
    spec["process"]["consoleSize"] = json!({ "height": 33, "width": 77 });
    spec
}

fn run(bundle: &Bundle, spec: serde_json::Value) -> (String, Exit) {
    let spec = serde_json::from_value(spec).unwrap();
    let facts = HostFacts::detect().unwrap();
    let ready = start(bundle.launch(&spec, &facts, Stdio::Pty)).unwrap();
    let running = ready.go().unwrap();
    let text = read_terminal(running.terminal.unwrap());
    (text.replace("\r\n", "\n"), sys::process::wait(&running.pidfd).unwrap())
}

#[test]
fn a_terminal_is_the_containers_own_and_has_its_size() {
    let bundle = Bundle::new();
    let (text, exit) =
        run(&bundle, terminal("tty; stty size; ls -1 /dev/pts; stat -c '%a %t:%T' /dev/console"));
    // Major 136 is 88 in hexadecimal: a pseudo terminal.
    assert_eq!((text.as_str(), exit), ("/dev/pts/0\n33 77\n0\nptmx\n620 88:0\n", Exit::Code(0)));
}

#[test]
fn it_is_the_controlling_terminal_and_carries_input() {
    let bundle = Bundle::new();
    let spec = serde_json::from_value(terminal("read line < /dev/tty; echo got $line")).unwrap();
    let facts = HostFacts::detect().unwrap();
    let ready = start(bundle.launch(&spec, &facts, Stdio::Pty)).unwrap();
    let running = ready.go().unwrap();
    let master = running.terminal.unwrap();
    write_terminal(&master, "words\n");
    assert!(read_terminal(master).contains("got words"));
    assert_eq!(sys::process::wait(&running.pidfd), Ok(Exit::Code(0)));
}

#[test]
fn a_terminal_belongs_to_its_user() {
    let bundle = Bundle::new();
    let mut spec = terminal("stat -c %u /dev/pts/0; echo hello > /dev/stdout");
    spec["process"]["user"] = json!({ "uid": 12, "gid": 12 });
    assert_eq!(run(&bundle, spec), ("12\nhello\n".to_owned(), Exit::Code(0)));
}

#[test]
fn another_user_can_open_its_pipes_again() {
    let bundle = Bundle::new();
    let mut spec = spec(&["sh", "-c", "echo out > /dev/stdout; echo err > /dev/stderr"]);
    spec["process"]["user"] = json!({ "uid": 12, "gid": 12 });
    let output = bundle.run(&spec).unwrap();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
}

#[test]
fn exec_gets_a_terminal_of_the_same_container() {
    let bundle = Bundle::new();
    let container = bundle.sleeper(&spec(&["sleep", "1000"]));
    let mut process = process(&["sh", "-c", "tty; stty size"]);
    process["terminal"] = json!(true);
    process["consoleSize"] = json!({ "height": 20, "width": 30 });
    let process = serde_json::from_value(process).unwrap();
    let running = enter(container.enter(&process, Stdio::Pty)).unwrap();
    let text = read_terminal(running.terminal.unwrap());
    assert_eq!(text, "/dev/pts/0\r\n20 30\r\n");
    sys::process::wait(&running.pidfd).unwrap();
}

/// Not even opened: opening a device may do something.
#[test]
fn a_faked_terminal_multiplexer_is_not_used() {
    use rustix::fs::inotify;
    const NOT_IT: &str = "invalid argument";
    const LINK: &str = "too many levels of symbolic links";
    for (fake, why) in [
        ("touch ptmx", NOT_IT),
        ("busybox mkfifo ptmx", NOT_IT),
        ("busybox mknod ptmx c 5 2", NOT_IT),
        ("busybox mknod ptmx c 1 3", NOT_IT),
        ("touch ../it; busybox ln -s ../it ptmx", NOT_IT),
        ("touch ptmx; busybox mv ../pts ../x; busybox ln -s x ../pts", LINK),
    ] {
        let bundle = Bundle::new();
        let mut spec = spec(&["sleep", "1000"]);
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["destination"] != "/dev/pts");
        let container = bundle.sleeper(&spec);
        let line = format!("mkdir -p /dev/pts; cd /dev/pts; {fake}");
        assert_eq!(container.exec(&process(&["sh", "-c", &line])).unwrap().good(), "");
        let opened = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
        let path = format!("/proc/{}/root/dev/pts/ptmx", container.running.pid.as_raw_nonzero());
        inotify::add_watch(&opened, path, inotify::WatchFlags::OPEN).unwrap();
        let mut process = process(&["true"]);
        process["terminal"] = json!(true);
        let process = serde_json::from_value(process).unwrap();
        let error = enter(container.enter(&process, Stdio::Pty)).unwrap_err();
        assert_eq!(error.to_string(), format!("init: open a terminal: {why}"), "{fake}");
        let events = rustix::io::read(&opened, &mut [0; 4096]);
        assert_eq!(events, Err(rustix::io::Errno::AGAIN), "{fake}");
    }
}

/// Whoever brings a `/dev` of its own may have anything there.
#[test]
fn a_console_that_is_a_symlink_is_refused() {
    let bundle = Bundle::new();
    let dev = bundle.outside().join("dev");
    std::fs::create_dir_all(dev.join("pts")).unwrap();
    std::os::unix::fs::symlink("/etc/console", dev.join("console")).unwrap();
    bundle.write("etc/console", "");
    let mut spec = terminal("true");
    let mounts = spec["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["destination"] != "/dev");
    mounts.insert(0, crate::bundle::bind(&dev, "/dev", "rbind,rprivate"));
    let spec = serde_json::from_value(spec).unwrap();
    let facts = HostFacts::detect().unwrap();
    let error = start(bundle.launch(&spec, &facts, Stdio::Pty)).unwrap_err();
    assert_eq!(error.to_string(), "init: bind /dev/console: too many levels of symbolic links");
}
