//! Contexts: what dhow's command line keeps Docker's understands, and the other way round.

use std::path::PathBuf;

use testkit::{Host, Ran, TlsListener};

use super::{Service, docker};

/// A service that lets in who has a certificate, and both command lines with one configuration, which
/// `DOCKER_HOST` does not name.
struct Setting {
    service: Service,
    dir: PathBuf,
    host: Host,
}

impl Setting {
    fn new() -> Self {
        let host = crate::host();
        let dir = host.scratch().join("tls");
        std::fs::create_dir(&dir).unwrap();
        TlsListener::certificates(&dir).unwrap();
        let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        let words = ["serve", "-H", "tcp://127.0.0.1:0", "--tlsverify", "--tlscacert"];
        let files = [path("authority.pem"), path("server.pem"), path("server.key")];
        let files = [&files[0], "--tlscert", &files[1], "--tlskey", &files[2]];
        let service = Service::started(&host, &mut host.command(&[&words[..], &files].concat()));
        Self { service, dir, host }
    }

    /// The words of `--docker` for it.
    fn server(&self) -> String {
        let path = |name: &str| self.dir.join(name).display().to_string();
        let (ca, cert, key) = (path("authority.pem"), path("client.pem"), path("client.key"));
        format!("host=tcp://{},ca={ca},cert={cert},key={key}", self.service.address())
    }

    fn dhow(&self, words: &[&str]) -> Ran {
        self.host.run(words)
    }

    fn docker(&self, words: &[&str]) -> Ran {
        let mut command = docker(&self.host, &self.service, words);
        Ran::new(&command.env_remove("DOCKER_HOST").output().unwrap())
    }

    #[track_caller]
    fn same(&self, words: &[&str]) -> String {
        let [ours, theirs] = [self.dhow(words), self.docker(words)];
        assert_eq!((ours.code, &ours.out), (theirs.code, &theirs.out), "{words:?}: {}", ours.err);
        assert_eq!(ours.err.replace("dhow", "docker"), theirs.err, "{words:?}");
        ours.out
    }
}

#[track_caller]
fn fine(ran: &Ran) -> String {
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    ran.out.clone()
}

#[test]
fn a_context_of_one_command_line_is_one_of_the_others() {
    let there = Setting::new();
    let server = there.server();
    let create = |name| ["context", "create", name, "--description", "a b", "--docker", &server];
    let ours = there.dhow(&create("ours"));
    let theirs = there.docker(&create("theirs"));
    assert_eq!((fine(&ours).as_str(), fine(&theirs).as_str()), ("ours", "theirs"));
    assert_eq!(ours.err.replace("ours", "theirs"), theirs.err);
    for name in ["ours", "theirs"] {
        there.same(&["context", "inspect", name]);
        let run = ["--context", name, "run", "--rm", "busybox", "echo", name];
        assert_eq!(there.same(&run), name);
        let meta = |name| {
            let found =
                there.dhow(&["context", "inspect", name, "-f", "{{.Storage.MetadataPath}}"]);
            std::fs::read_to_string(format!("{}/meta.json", fine(&found))).unwrap()
        };
        assert_eq!(meta(name).replace(name, "ours"), meta("ours"));
    }
    // Both ways through an archive.
    let file = |name: &str| there.host.scratch().join(name).display().to_string();
    fine(&there.dhow(&["context", "export", "ours", &file("ours.tar")]));
    fine(&there.docker(&["context", "import", "carried", &file("ours.tar")]));
    fine(&there.docker(&["context", "export", "theirs", &file("theirs.tar")]));
    fine(&there.dhow(&["context", "import", "brought", &file("theirs.tar")]));
    for name in ["carried", "brought"] {
        assert_eq!(there.same(&["--context", name, "ps", "-q"]), "");
    }
    assert_eq!(fine(&there.dhow(&["context", "use", "theirs"])), "theirs");
    assert_eq!(there.same(&["context", "show"]), "theirs");
    assert_eq!(there.same(&["run", "--rm", "busybox", "echo", "hi"]), "hi");
    fine(&there.dhow(&[
        "context",
        "update",
        "theirs",
        "--description",
        "c",
        "--docker",
        "host=unix:///x",
    ]));
    let format = "{{.Name}} {{.Description}} {{.DockerEndpoint}} {{.Current}}";
    let list = ["context", "ls", "--format", format];
    for listed in [fine(&there.dhow(&list)), fine(&there.docker(&list))] {
        assert!(listed.contains("theirs c unix:///x true"), "{listed}");
    }
    assert_eq!(there.same(&["context", "inspect", "theirs", "-f", "{{json .TLSMaterial}}"]), "{}");
    // What cleans up goes by the current context as well.
    fine(&there.dhow(&["context", "use", "default"]));
}

#[test]
fn contexts_are_refused_and_removed_as_by_docker() {
    let there = Setting::new();
    fine(&there.dhow(&["context", "create", "here", "--docker", "host=unix:///x"]));
    for words in [
        &["context", "create", "here", "--docker", "host=unix:///x"][..],
        &["context", "create", "default", "--docker", "host=unix:///x"],
        &["context", "create", "a/b", "--docker", "host=unix:///x"],
        &["context", "create", "other", "--docker", "host=unix:///x", "--from", "here"],
        &["context", "create", "other", "--docker", "ca=/no/such"],
        &["context", "update", "default", "--description", "x"],
        &["context", "rm", "default"],
        &["context", "rm", "nosuch"],
    ] {
        there.same(words);
    }
    fine(&there.dhow(&["context", "use", "here"]));
    assert_eq!(there.same(&["context", "rm", "here"]), "");
    assert_eq!(fine(&there.dhow(&["context", "rm", "-f", "here"])), "here");
    assert_eq!(there.same(&["context", "show"]), "default");
    assert_eq!(fine(&there.dhow(&["context", "rm", "-f", "nosuch"])), "nosuch");
    let left = there.host.scratch().join(".docker/contexts/meta");
    assert_eq!(std::fs::read_dir(left).unwrap().count(), 0);
    let server = there.host.run(&["context", "create", "copy"]);
    assert!(server.err.contains("the engine in this process is no server"), "{}", server.err);
}
