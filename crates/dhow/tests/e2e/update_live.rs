//! `update` of mounts and ports: at once in a container that runs, at its next start in another.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use testkit::{Host, until};

use crate::host;

/// What a container has mounted at its own places, as `PATH:mode`.
fn mounted(host: &Host, container: &str) -> Vec<String> {
    let table = host.ok(&["exec", container, "cat", "/proc/self/mounts"]);
    let line = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        let (path, options) = (fields.next().unwrap(), fields.nth(1).unwrap());
        path.starts_with("/m").then(|| format!("{path}:{}", &options[..2]))
    };
    let mut mounts: Vec<String> = table.lines().filter_map(line).collect();
    mounts.sort_unstable();
    mounts
}

const SHOWN: &str = "{{range .Mounts}}{{.Type}}:{{.Destination}}:{{.RW}} {{end}}{{json .HostConfig.Binds}} \
     {{range .HostConfig.Mounts}}{{.Target}}{{end}}";

#[test]
fn mounts_come_and_go_while_a_container_runs() {
    let host = host();
    let bound = host.scratch().join("bound");
    fs::create_dir(&bound).unwrap();
    fs::write(bound.join("file"), "host").unwrap();
    let bind = format!("{}:/m/bind:ro", bound.display());
    let file = format!("type=bind,src={},dst=/m/file", bound.join("file").display());
    host.ok(&["run", "-d", "--name", "u1", "-v", "/m/old", "busybox", "sleep", "1000"]);
    let add = ["update", "-v", &bind, "--mount", &file, "-v", "vol:/bin"];
    let more = ["--mount", "type=tmpfs,dst=/m/mem,tmpfs-size=1m", "u1"];
    assert_eq!(host.ok(&[&add[..], &more].concat()), "u1");
    assert_eq!(mounted(&host, "u1"), ["/m/bind:ro", "/m/file:rw", "/m/mem:rw", "/m/old:rw"]);
    let look = "cat /m/bind/file /m/file; touch /m/bind/x 2>&1; echo x >/m/mem/x && df -m /m/mem | tail -n1";
    let seen = host.ok(&["exec", "u1", "sh", "-c", look]);
    assert!(seen.starts_with("hosthosttouch: /m/bind/x: Read-only file system\n"), "{seen}");
    assert_eq!(seen.split_whitespace().nth(6), Some("1"), "{seen}");
    // The volume has what the image has there.
    assert!(host.ok(&["exec", "u1", "ls", "/bin"]).contains("busybox"));
    let shown = format!(
        "bind:/m/bind:false bind:/m/file:true tmpfs:/m/mem:true volume:/bin:true volume:/m/old:true \
         [\"{bind}\",\"vol:/bin\"] /m/file/m/mem"
    );
    let mut words: Vec<String> =
        host.ok(&["inspect", "-f", SHOWN, "u1"]).split(' ').map(str::to_owned).collect();
    words[..5].sort_unstable();
    assert_eq!(words.join(" "), shown);
    assert!(host.fails(1, &["volume", "rm", "vol"]).contains("volume is in use"));
    // At the next start as well, until it goes.
    host.ok(&["restart", "-t", "0", "u1"]);
    assert_eq!(mounted(&host, "u1"), ["/m/bind:ro", "/m/file:rw", "/m/mem:rw", "/m/old:rw"]);
    let rm = ["update", "--mount-rm", "/m/bind", "--mount-rm", "/m/mem/", "--mount-rm", "/m/old"];
    host.ok(&[&rm[..], &["--mount-rm", "/bin", "--mount-rm", "/m/file", "u1"]].concat());
    assert_eq!(mounted(&host, "u1"), Vec::<String>::new());
    assert_eq!(host.ok(&["inspect", "-f", SHOWN, "u1"]), "null ");
    host.ok(&["restart", "-t", "0", "u1"]);
    assert_eq!(mounted(&host, "u1"), Vec::<String>::new());
    assert_eq!(host.ok(&["volume", "ls", "-q"]).lines().count(), 2, "volumes stay");
    host.ok(&["volume", "rm", "vol"]);
    assert_eq!(fs::read_to_string(bound.join("file")).unwrap(), "host");
}

#[test]
fn one_that_does_not_run_or_is_paused_has_them_too() {
    let host = host();
    host.ok(&["create", "--name", "u1", "-v", "/m/old", "busybox", "sleep", "1000"]);
    host.ok(&["update", "-v", "vol:/m/etc", "--mount-rm", "/m/old", "u1"]);
    // It may be put in another order there, and the volume is filled.
    host.ok(&["update", "-v", "filled:/etc", "-v", "top:/m", "u1"]);
    host.ok(&["start", "u1"]);
    assert_eq!(mounted(&host, "u1"), ["/m/etc:rw", "/m:rw"]);
    assert!(host.ok(&["exec", "u1", "cat", "/etc/passwd"]).starts_with("root:"));
    host.ok(&["pause", "u1"]);
    host.ok(&["update", "--mount", "type=tmpfs,dst=/m/mem", "u1"]);
    host.ok(&["unpause", "u1"]);
    assert_eq!(mounted(&host, "u1"), ["/m/etc:rw", "/m/mem:rw", "/m:rw"]);
}

#[test]
fn what_does_not_suit_is_refused_and_nothing_changes() {
    let host = host();
    let options =
        ["run", "-d", "--name", "u1", "-m", "64m", "-v", "/m/a", "-v", "/m/a/b", "--read-only"];
    let id = host.ok(&[&options[..], &["--network", "none", "busybox", "sleep", "1000"]].concat());
    let before = host.ok(&["inspect", "u1"]);
    let cannot = |options: &[&str], why: &str| {
        let refused = host.fails(1, &[&["update", "-m", "32m"], options, &["u1"]].concat());
        assert_eq!(refused, format!("Error response from daemon: {why}"), "{options:?}");
    };
    let update = |why: &str| format!("Cannot update container {id}: {why}");
    cannot(&["-v", "x1:/m/a"], &update("Duplicate mount point: /m/a"));
    cannot(&["--mount-rm", "/nosuch"], &update("nothing is mounted at /nosuch"));
    cannot(&["--mount-rm", "rel"], "invalid mount path: 'rel' mount path must be absolute");
    cannot(
        &["--mount-rm", "/m/a"],
        &update("what is mounted at /m/a/b would go with /m/a: remove that first"),
    );
    cannot(
        &["-v", "x1:/m"],
        &update("a mount at /m would hide that at /m/a while the container runs: stop it first"),
    );
    cannot(
        &["--mount", "type=bind,src=/nosuch,dst=/x"],
        "invalid mount config for type \"bind\": bind source path does not exist: /nosuch",
    );
    cannot(&["-v", "x1:/proc/1"], &update("mount on \"/proc/1\": cannot be mounted inside /proc"));
    // What was done before is undone: a volume that was made is gone again.
    cannot(&["-v", "x1:/new"], &update("mount on /new: read-only file system"));
    cannot(&["-v", "x1:/bin/sh"], &update("mount on /bin/sh: not a directory"));
    cannot(
        &["-p", "80"],
        &update("conflicting options: port publishing and the network mode none"),
    );
    cannot(&["--publish-rm", "80"], &update("port 80/tcp is not published"));
    assert_eq!(host.ok(&["inspect", "u1"]), before);
    assert_eq!(host.ok(&["volume", "ls", "-q"]).lines().count(), 2);
    assert_eq!(mounted(&host, "u1"), ["/m/a/b:rw", "/m/a:rw"]);
    let memory = host.ok(&["stats", "--no-stream", "--format", "{{.MemUsage}}", "u1"]);
    assert!(memory.ends_with("64MiB"), "{memory}");
}

/// A mount is taken away by what it is, not by where it was: the container has put a way to its own
/// `/proc/sys`, which is read-only, and another mount at the places.
#[test]
fn a_container_that_moves_directories_loses_no_other_mount() {
    let host = host();
    let script = "mv /m1 /m2; ln -s /proc /m1; mv /m3 /m5; mv /m4 /m3; mv /m5 /m4; touch /done; exec sleep 1000";
    let options =
        ["run", "-d", "--name", "u1", "-v", "aa:/m1/sys", "-v", "bb:/m3/x", "-v", "cc:/m4/x"];
    host.ok(&[&options[..], &["busybox", "sh", "-c", script]].concat());
    host.ok(&["exec", "u1", "sh", "-c", "until test -e /done; do :; done"]);
    assert_eq!(mounted(&host, "u1"), ["/m2/sys:rw", "/m3/x:rw", "/m4/x:rw"]);
    host.ok(&["update", "--mount-rm", "/m1/sys", "--mount-rm", "/m3/x", "u1"]);
    assert_eq!(mounted(&host, "u1"), ["/m3/x:rw"]);
    let table = host.ok(&["exec", "u1", "cat", "/proc/self/mounts"]);
    assert!(table.lines().any(|line| line.starts_with("proc /proc/sys proc ro")), "{table}");
    // What is mounted stays below the container's root, wherever its links lead.
    let outside = host.scratch().join("outside");
    fs::create_dir(&outside).unwrap();
    let link = format!("ln -s {} /m6", outside.display());
    host.ok(&["exec", "u1", "sh", "-c", &link]);
    host.ok(&["update", "--mount", "type=tmpfs,dst=/m6/in", "u1"]);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    let refused = host.fails(1, &["update", "--mount", "type=tmpfs,dst=/m1/tty", "u1"]);
    assert!(refused.contains("too many levels of symbolic links"), "{refused}");
}

/// A directory of the host on a shared mount, with a tmpfs below it that has a file.
struct SharedTree(PathBuf);

impl SharedTree {
    fn make(dir: &Path) -> Self {
        fs::create_dir(dir).unwrap();
        rustix::mount::mount_bind(dir, dir).unwrap();
        let tree = Self(dir.to_owned());
        let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
        rustix::mount::mount_change(dir, shared).unwrap();
        fs::create_dir(dir.join("sub")).unwrap();
        rustix::mount::mount("none", dir.join("sub"), "tmpfs", MountFlags::empty(), None).unwrap();
        fs::write(dir.join("sub/file"), "host").unwrap();
        tree
    }

    fn is_whole(&self) -> bool {
        self.0.join("sub/file").exists()
    }
}

impl Drop for SharedTree {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, UnmountFlags::DETACH).unwrap();
    }
}

/// What is taken from the container is not taken from the host, nor when an update fails.
#[test]
fn a_shared_mount_goes_from_the_container_alone() {
    let host = host();
    let tree = SharedTree::make(&host.scratch().join("tree"));
    let bind = format!("{}:/m:rshared", tree.0.display());
    host.ok(&["run", "-d", "--name", "u1", "-v", &bind, "--read-only", "busybox", "sleep", "1000"]);
    assert_eq!(mounted(&host, "u1"), ["/m/sub:rw", "/m:rw"]);
    host.ok(&["update", "--mount-rm", "/m", "u1"]);
    assert_eq!(mounted(&host, "u1"), Vec::<String>::new());
    assert!(tree.is_whole(), "the host has lost what is mounted below");
    // The second place cannot be made, so the first mount is taken back.
    let bind = format!("{}:/home:rshared", tree.0.display());
    host.fails(1, &["update", "-v", &bind, "-v", "x1:/new", "u1"]);
    assert!(tree.is_whole(), "the host has lost what is mounted below");
    let table = host.ok(&["exec", "u1", "cat", "/proc/self/mounts"]);
    assert!(!table.contains(" /home "), "{table}");
}

/// What goes is what was made for the update, whatever has come to look like it since.
#[test]
fn a_mount_of_the_containers_own_stays() {
    let host = host();
    let options = ["run", "-d", "--name", "u1", "--privileged", "--network", "none"];
    let mounts = ["-v", "/m/a", "-v", "/m/b", "--tmpfs", "/m/t", "busybox", "sleep", "1000"];
    host.ok(&[&options[..], &mounts].concat());
    // What has been made in vain has no number yet, and there is one tmpfs.
    let vain = ["update", "--mount", "type=tmpfs,dst=/m/new", "-v", "x1:/proc/1", "u1"];
    assert!(host.fails(1, &vain).contains("cannot be mounted inside /proc"));
    assert_eq!(mounted(&host, "u1"), ["/m/a:rw", "/m/b:rw", "/m/t:rw"]);
    // All or nothing: the later of these places is covered.
    let cover = |place: &str| format!("mount -t tmpfs none {place}");
    host.ok(&["exec", "u1", "sh", "-c", &cover("/m/a")]);
    let both = ["update", "--mount-rm", "/m/b", "--mount-rm", "/m/a", "u1"];
    assert!(host.fails(1, &both).contains("something else is mounted over /m/a"));
    assert_eq!(mounted(&host, "u1"), ["/m/a:rw", "/m/a:rw", "/m/b:rw", "/m/t:rw"]);
    // The numbers of what has gone are used again.
    let again = "umount /m/a && umount /m/a && for n in 1 2 3 4 5 6 7 8; do mkdir /m/n$n && mount -t tmpfs none /m/n$n; done";
    host.ok(&["exec", "u1", "sh", "-c", again]);
    host.ok(&both);
    let left = mounted(&host, "u1");
    assert_eq!(left.iter().filter(|at| at.starts_with("/m/n")).count(), 8, "{left:?}");
    assert_eq!((left.len(), left.last().map(|at| &at[..])), (9, Some("/m/t:rw")));
}

/// What its first process sees is not all that is there, and names need not be text.
#[test]
fn a_container_whose_first_process_has_another_root_is_updated_as_any() {
    let host = host();
    let script = "mkdir -p /jail/bin; cp /bin/busybox /jail/bin; mv /m1 /m$(printf '\\377'); \
        exec busybox chroot /jail /bin/busybox sleep 1000";
    let options = ["run", "-d", "--name", "u1", "-v", "aa:/m1/old", "-v", "bb:/m2"];
    host.ok(&[&options[..], &["busybox", "sh", "-c", script]].concat());
    host.ok(&["exec", "u1", "sh", "-c", "until grep -q sleep /proc/1/cmdline; do :; done"]);
    let update = ["update", "-v", "cc:/m3", "--mount-rm", "/m1/old", "--mount-rm", "/m2", "u1"];
    host.ok(&update);
    assert_eq!(mounted(&host, "u1"), ["/m3:rw"]);
}

#[test]
fn a_volume_that_was_emptied_stays_empty() {
    let host = host();
    host.ok(&["run", "-d", "--name", "u1", "-v", "aa:/var", "busybox", "sleep", "1000"]);
    host.ok(&["exec", "u1", "rm", "-r", "/var/www"]);
    host.ok(&["update", "-v", "bb:/bin", "u1"]);
    assert_eq!(host.ok(&["exec", "u1", "ls", "/var"]), "");
    assert!(host.ok(&["exec", "u1", "ls", "/bin"]).contains("busybox"));
}

/// What has gone is not said to be there, though the update has failed.
#[test]
fn an_update_that_fails_late_leaves_what_is_true() {
    let host = host();
    let options = ["run", "-d", "--name", "u1", "-v", "aa:/m/a", "-p", "127.0.0.1:0:80"];
    host.ok(&[&options[..], &["-p", "127.0.0.1:0:81", "busybox", "sleep", "1000"]].concat());
    let kept = host.ok(&["port", "u1", "81"]);
    let words = ["update", "--mount-rm", "/m/a", "--publish-rm", "80", "-v", "bb:/m/b", "u1"];
    let mut update = host.command(&words);
    let failed = update.env("DHOW_FAILPOINT", "update.taken=error").output().unwrap();
    assert_eq!(failed.status.code(), Some(1));
    assert_eq!(mounted(&host, "u1"), Vec::<String>::new());
    let shown = "{{len .Mounts}} {{json .HostConfig.Binds}} {{len .HostConfig.PortBindings}}";
    assert_eq!(host.ok(&["inspect", "-f", shown, "u1"]), "0 null 1");
    assert_eq!(host.ok(&["port", "u1"]), format!("81/tcp -> {kept}"));
    host.ok(&["volume", "rm", "aa"]);
    host.ok(&["restart", "-t", "0", "u1"]);
}

#[test]
fn a_container_with_users_of_its_own_gets_mounts_with_its_ids() {
    let host = host();
    let bound = host.scratch().join("bound");
    fs::create_dir(&bound).unwrap();
    let bind = format!("{}:/m/bind:idmap", bound.display());
    host.ok(&["run", "-d", "--name", "u1", "--userns=auto", "busybox", "sleep", "1000"]);
    let tmpfs = "type=tmpfs,dst=/m/mem,tmpfs-mode=700";
    host.ok(&["update", "-v", "vol:/bin", "-v", &bind, "--mount", tmpfs, "u1"]);
    let look = "touch /bin/x /m/bind/x /m/mem/x && stat -c %u /bin/busybox /bin/x /m /m/bind/x /m/mem /m/mem/x";
    assert_eq!(host.ok(&["exec", "u1", "sh", "-c", look]), "0\n0\n0\n0\n0\n0");
    use std::os::unix::fs::MetadataExt;
    assert_eq!(fs::metadata(bound.join("x")).unwrap().uid(), 0);
    host.ok(&[
        "update",
        "--mount-rm",
        "/bin",
        "--mount-rm",
        "/m/bind",
        "--mount-rm",
        "/m/mem",
        "u1",
    ]);
    assert_eq!(mounted(&host, "u1"), Vec::<String>::new());
    host.ok(&["exec", "u1", "test", "-d", "/m/bind"]);
}

/// Asks a port of the host; empty if nobody answers.
fn ask(port: &str) -> String {
    let mut answer = String::new();
    if let Ok(mut stream) = TcpStream::connect(format!("127.0.0.1:{port}")) {
        let _ = stream.write_all(b"GET /f HTTP/1.0\r\n\r\n");
        let _ = stream.read_to_string(&mut answer);
    }
    answer
}

/// Where a port of a container is published on the host.
fn port(host: &Host, container: &str, inside: &str) -> String {
    let shown = host.ok(&["port", container, inside]);
    shown.lines().next().unwrap().rsplit_once(':').unwrap().1.to_owned()
}

#[test]
fn ports_come_and_go_while_a_container_runs() {
    let host = host();
    let serve = "echo page >/var/www/f; exec httpd -f -p 80 -h /var/www";
    host.ok(&["run", "-d", "--name", "u1", "-p", "127.0.0.1:0:81", "busybox", "sh", "-c", serve]);
    host.ok(&["update", "-p", "127.0.0.1:0:80", "-p", "127.0.0.1:0:53/udp", "u1"]);
    let web = port(&host, "u1", "80");
    until("the page", || ask(&web).ends_with("page\n"));
    let shown = "{{json .HostConfig.PortBindings}}";
    let bindings = r#"{"53/udp":[{"HostIp":"127.0.0.1","HostPort":""}],"80/tcp":[{"HostIp":"127.0.0.1","HostPort":""}],"81/tcp":[{"HostIp":"127.0.0.1","HostPort":""}]}"#;
    assert_eq!(host.ok(&["inspect", "-f", shown, "u1"]), bindings);
    // It is nobody else's, whoever asks how.
    let again = format!("127.0.0.1:{web}:82");
    let refused = host.fails(1, &["update", "-p", &again, "u1"]);
    let taken = format!("Bind for 127.0.0.1:{web} failed: port is already allocated");
    assert_eq!(refused, format!("Error response from daemon: {taken}"));
    assert!(host.fails(125, &["run", "--rm", "-p", &again, "busybox", "true"]).contains(&taken));
    assert!(std::net::TcpListener::bind(format!("127.0.0.1:{web}")).is_err());
    // What is taken back can be had; the others stay.
    host.ok(&["update", "--publish-rm", "80", "--publish-rm", "53/udp", "u1"]);
    assert_eq!(ask(&web), "");
    drop(std::net::TcpListener::bind(format!("127.0.0.1:{web}")).unwrap());
    assert_eq!(host.ok(&["port", "u1"]).lines().count(), 1);
    host.ok(&["update", "-p", &format!("127.0.0.1:{web}:80"), "--publish-rm", "81", "u1"]);
    until("the page", || ask(&web).ends_with("page\n"));
    // At the end all are free, and the next start has what was wished.
    host.ok(&["stop", "-t", "0", "u1"]);
    drop(std::net::TcpListener::bind(format!("127.0.0.1:{web}")).unwrap());
    host.ok(&["update", "-p", "127.0.0.1:0:8080", "u1"]);
    host.ok(&["start", "u1"]);
    assert_eq!((port(&host, "u1", "80"), host.ok(&["port", "u1"]).lines().count()), (web, 2));
}
