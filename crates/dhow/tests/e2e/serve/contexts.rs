//! Contexts: what dhow's command line keeps Docker's understands, and the other way round.

use testkit::Ran;

use super::docker;
use super::remote::Guarded;

/// A service that lets in who has a certificate, and both command lines with one configuration, which
/// `DOCKER_HOST` does not name.
struct Setting(Guarded);

impl Setting {
    fn new() -> Self {
        Self(Guarded::new())
    }

    /// The words of `--docker` for it.
    fn server(&self) -> String {
        let [ca, cert, key] =
            ["authority.pem", "client.pem", "client.key"].map(|name| self.0.path(name));
        format!("host={},ca={ca},cert={cert},key={key}", self.0.url())
    }

    fn dhow(&self, words: &[&str]) -> Ran {
        self.0.host.run(words)
    }

    fn docker(&self, words: &[&str]) -> Ran {
        let mut command = docker(&self.0.host, &self.0.service, words);
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
    let file = |name: &str| there.0.host.scratch().join(name).display().to_string();
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
        &["context", "rm", "nosuch"],
    ] {
        there.same(words);
    }
    // Docker 26 puts the name in front of this one.
    let kept = there.dhow(&["context", "rm", "default"]);
    assert_eq!((kept.code, &*kept.err), (Some(1), "context \"default\" cannot be removed"));
    fine(&there.dhow(&["context", "use", "here"]));
    assert_eq!(there.same(&["context", "rm", "here"]), "");
    assert_eq!(fine(&there.dhow(&["context", "rm", "-f", "here"])), "here");
    assert_eq!(there.same(&["context", "show"]), "default");
    assert_eq!(fine(&there.dhow(&["context", "rm", "-f", "nosuch"])), "nosuch");
    let left = there.0.host.scratch().join(".docker/contexts/meta");
    assert_eq!(std::fs::read_dir(left).unwrap().count(), 0);
    let server = there.0.host.run(&["context", "create", "copy"]);
    assert!(server.err.contains("the engine in this process is no server"), "{}", server.err);
}

#[test]
fn the_context_without_a_file_is_copied_and_carried_as_by_docker() {
    let there = Setting::new();
    let host = &there.0.host;
    let at = |url: &str, words: &[&str]| {
        Ran::new(&host.command(words).env("DOCKER_HOST", url).output().unwrap())
    };
    let docker_at = |url: &str, words: &[&str]| {
        let mut command = docker(host, &there.0.service, words);
        Ran::new(&command.env("DOCKER_HOST", url).output().unwrap())
    };
    let endpoint =
        |name: &str| there.same(&["context", "inspect", name, "-f", "{{json .Endpoints.docker}}"]);
    let copy = |name| ["context", "create", name, "--docker", "from=default"];
    fine(&at("unix:///x", &copy("ours")));
    fine(&docker_at("unix:///x", &copy("theirs")));
    assert!(endpoint("ours").contains("unix:///x"));
    assert_eq!(endpoint("ours"), endpoint("theirs"));
    fine(&at("unix:///y", &["context", "update", "ours", "--docker", "from=default"]));
    assert!(endpoint("ours").contains("unix:///y"));

    let file = |name: &str| host.scratch().join(name).display().to_string();
    let carry = |name: &str| ["context", "export", "default", &file(name)].map(str::to_owned);
    fine(&at("unix:///x", &carry("ours.tar").each_ref().map(String::as_str)));
    fine(&docker_at("unix:///x", &carry("theirs.tar").each_ref().map(String::as_str)));
    fine(&there.docker(&["context", "import", "carried", &file("ours.tar")]));
    fine(&there.dhow(&["context", "import", "brought", &file("theirs.tar")]));
    for name in ["carried", "brought"] {
        assert!(endpoint(name).contains("unix:///x"), "{name}");
    }
    // Without one there is no server to carry away.
    let none = there.dhow(&["context", "export", "default", &file("none.tar")]);
    assert!(none.err.contains("with -H unix:///path"), "{}", none.err);
}

/// Nobody is talked to in plain words because certificates are in a bad way.
#[test]
fn certificates_that_cannot_be_read_are_an_error() {
    let there = Setting::new();
    fine(&there.dhow(&["context", "create", "ours", "--docker", &there.server()]));
    let found = there.dhow(&["context", "inspect", "ours", "-f", "{{.Storage.TLSPath}}"]);
    let certificates = std::path::PathBuf::from(fine(&found)).join("docker");
    let ps = ["--context", "ours", "ps", "-q"];
    fine(&there.dhow(&ps));
    for name in ["ca.pem", "cert.pem", "key.pem"] {
        // It leads to itself, so that not even whether it is there can be told.
        std::fs::remove_file(certificates.join(name)).unwrap();
        std::os::unix::fs::symlink(name, certificates.join(name)).unwrap();
        let refused = there.dhow(&ps);
        assert_eq!(refused.code, Some(1), "{name}: {}", refused.out);
        assert!(refused.err.contains("read the "), "{name}: {}", refused.err);
    }
}

#[test]
fn a_context_of_the_server_in_use_has_its_certificates() {
    let there = Setting::new();
    let directory = there.0.host.scratch().join("certificates");
    std::fs::create_dir(&directory).unwrap();
    for (from, to) in [("authority.pem", "ca"), ("client.pem", "cert"), ("client.key", "key")] {
        std::fs::copy(there.0.path(from), directory.join(format!("{to}.pem"))).unwrap();
    }
    let at = |words: &[&str]| {
        let mut command = there.0.host.command(words);
        let command = command.env("DOCKER_HOST", there.0.url()).env("DOCKER_TLS_VERIFY", "1");
        Ran::new(&command.env("DOCKER_CERT_PATH", &directory).output().unwrap())
    };
    let file = there.0.host.scratch().join("default.tar").display().to_string();
    fine(&at(&["context", "create", "copy", "--docker", "from=default"]));
    fine(&at(&["context", "export", "default", &file]));
    fine(&there.dhow(&["context", "import", "carried", &file]));
    std::fs::remove_dir_all(&directory).unwrap();
    for name in ["copy", "carried"] {
        assert_eq!(there.same(&["--context", name, "run", "--rm", "busybox", "echo", name]), name);
    }
}
