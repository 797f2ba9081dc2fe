//! pull: from whom, as whom, and what is told.

use testkit::{Host, Ran, Registry};

/// `me:hunter2`
const PASS: &str = "Basic bWU6aHVudGVyMg==";

fn empty() -> Host {
    Host::new(crate::DHOW)
}

/// A host whose user has this `config.json`, and the helper `docker-credential-fake` that runs
/// `script`.
fn with_helper(config: &str, script: &str) -> Host {
    let host = empty();
    let docker = host.scratch().join(".docker");
    std::fs::create_dir_all(&docker).unwrap();
    std::fs::write(docker.join("config.json"), config).unwrap();
    let helper = host.scratch().join("docker-credential-fake");
    testkit::program(&helper, format!("#!/bin/sh\n{script}\n"));
    host
}

fn pull_with_helper(host: &Host, image: &str) -> Ran {
    let path = format!("{}:/usr/bin:/bin", host.scratch().display());
    Ran::new(&host.command(&["pull", "-q", image]).env("PATH", path).output().unwrap())
}

#[test]
fn a_credential_helper_is_asked_for_the_registry() {
    let registry = Registry::start_for(PASS);
    registry.push("app", "latest", &[("f", 10)]);
    let (address, image) = (registry.address, format!("{}/app:latest", registry.address));
    let config = format!(r#"{{"credHelpers":{{"{address}":"fake"}}}}"#);
    let script = "read server; echo \"$1 $server\" > $HOME/asked\necho '{\"Username\":\"me\",\"Secret\":\"hunter2\"}'";
    let host = with_helper(&config, script);
    let ran = pull_with_helper(&host, &image);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), image.as_str()), "{}", ran.err);
    let asked = std::fs::read_to_string(host.scratch().join("asked")).unwrap();
    assert_eq!(asked, format!("get {address}\n"));
}

#[test]
fn a_registry_that_the_helper_does_not_know_is_asked_as_nobody() {
    let registry = Registry::start_for(PASS);
    registry.push("app", "latest", &[("f", 10)]);
    let image = format!("{}/app", registry.address);
    let not_found = "echo credentials not found in native keychain; exit 1";
    let host = with_helper(r#"{"credsStore":"fake"}"#, not_found);
    let ran = pull_with_helper(&host, &image);
    assert_eq!(ran.code, Some(1));
    assert_eq!(
        ran.err,
        format!(
            "Error response from daemon: pull access denied for {image}, repository does not exist or may require 'docker login': no basic auth credentials"
        )
    );
    let host = with_helper(r#"{"credsStore":"fake"}"#, "echo the keychain is locked; exit 1");
    let ran = pull_with_helper(&host, &image);
    assert!(ran.err.ends_with("/config.json asks for: the keychain is locked"), "{}", ran.err);
}

#[test]
fn a_helper_that_is_missing_is_named_with_the_file_that_asks_for_it() {
    let host = with_helper(r#"{"credsStore":"nosuch"}"#, "");
    let ran = pull_with_helper(&host, "127.0.0.1:1/app");
    let file = host.scratch().join(".docker/config.json");
    let want = format!(
        "error getting credentials for 127.0.0.1:1 from docker-credential-nosuch, which credsStore in {} asks for: it is not in $PATH",
        file.display()
    );
    assert_eq!((ran.code, ran.err), (Some(1), want));
}

#[test]
fn a_wrong_password_is_called_wrong() {
    let registry = Registry::start_for(PASS);
    registry.push("app", "latest", &[("f", 10)]);
    let (address, image) = (registry.address, format!("{}/app:latest", registry.address));
    let config = format!(r#"{{"auths":{{"{address}":{{"auth":"bWU6d3Jvbmc="}}}}}}"#);
    let host = with_helper(&config, "");
    let ran = pull_with_helper(&host, &image);
    let want = format!(
        "Error response from daemon: pull {image} from {address}: unauthorized: incorrect username or password"
    );
    assert_eq!((ran.code, ran.err), (Some(1), want));
}

#[test]
fn all_tags_come_and_their_end_is_told_once() {
    let registry = Registry::start();
    registry.push("app", "b", &[("f", 10)]);
    registry.push("app", "a", &[("f", 10), ("g", 10)]);
    let name = format!("{}/app", registry.address);
    let host = empty();
    let told = host.ok(&["pull", "-a", &name]);
    let lines: Vec<&str> = told.lines().filter(|line| !line.contains("Pulling fs")).collect();
    assert_eq!(lines[0], "b: Pulling from app", "{told}");
    assert!(lines.contains(&"a: Pulling from app"), "{told}");
    let end = [format!("Status: Downloaded newer image for {name}"), name.clone()];
    assert_eq!(lines[lines.len() - 2..], end, "{told}");
    assert_eq!(told.matches("Status: ").count(), 1, "{told}");
    let again = host.ok(&["pull", "-a", &name]);
    assert!(again.contains(&format!("Status: Image is up to date for {name}")), "{again}");
    assert_eq!(host.ok(&["pull", "-aq", &name]), name);
    let tags = host.ok(&["images", "--format", "{{.Tag}}", &name]);
    let mut tags: Vec<&str> = tags.lines().collect();
    tags.sort_unstable();
    assert_eq!(tags, ["a", "b"]);
    let missing = host.fails(1, &["pull", "-a", &format!("{}/nosuch", registry.address)]);
    assert!(missing.contains("/nosuch not found: name unknown: unknown"), "{missing}");
}

#[test]
fn what_is_here_under_another_name_is_not_fetched_again() {
    let registry = Registry::start();
    let layers = registry.push("app", "latest", &[("f", 10)]);
    registry.push("other/app", "latest", &[("f", 10)]);
    let host = empty();
    host.ok(&["pull", "-q", &format!("{}/app", registry.address)]);
    let other = format!("{}/other/app:latest", registry.address);
    let told = host.ok(&["pull", &other]);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], "latest: Pulling from other/app", "{told}");
    assert!(lines[1].starts_with("Digest: sha256:"), "{told}");
    assert_eq!(lines[2], format!("Status: Downloaded newer image for {other}"), "{told}");
    assert_eq!(registry.asked(&layers[0].replace("/app/", "/other/app/")), 0);
}

#[test]
fn processes_that_pull_at_once_fetch_each_layer_once() {
    const SIZE: usize = 4 << 20;
    let registry = Registry::start_together(4);
    let shared = [("a", SIZE), ("b", SIZE), ("c", SIZE)];
    let mut layers = registry.push("app", "one", &shared);
    layers.extend(registry.push("app", "two", &[shared[0], shared[1], shared[2], ("d", SIZE)]));
    layers.sort();
    layers.dedup();
    assert_eq!(layers.len(), 4);
    let host = empty();
    let pulls = ["one", "two", "one", "two"].map(|tag| {
        let image = format!("{}/app:{tag}", registry.address);
        host.spawn(&mut host.command(&["pull", "-q", &image]))
    });
    for pull in pulls {
        let ran = Ran::new(&pull.wait_with_output().unwrap());
        assert_eq!(ran.code, Some(0), "{}", ran.err);
    }
    for layer in &layers {
        assert_eq!(registry.asked(layer), 1, "{layer}");
    }
}

#[test]
fn the_administrator_says_how_a_registry_is_reached() {
    let registry = Registry::start();
    registry.push("app", "latest", &[("f", 10)]);
    let domain = format!("lab.localhost:{}", registry.address.port());
    let host = empty();
    let dir = host.scratch().join("etc/certs.d").join(&domain);
    std::fs::create_dir_all(&dir).unwrap();
    let pull = || host.run(&["pull", "-q", &format!("{domain}/app")]);
    let refused = pull();
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains(&format!("TLS with {domain}: ")), "{}", refused.err);

    let file = dir.join("hosts.toml");
    std::fs::write(&file, "# the lab\nserver = http\n").unwrap();
    let broken = pull();
    let begin = format!("Error response from daemon: {}: line 2: ", file.display());
    assert!(broken.err.starts_with(&begin), "{}", broken.err);
    assert_eq!(broken.err.lines().count(), 1, "{}", broken.err);

    std::fs::write(&file, format!("server = \"http://{domain}\"\n")).unwrap();
    let pulled = pull();
    assert_eq!(pulled.code, Some(0), "{}", pulled.err);
}

#[test]
fn run_pulls_as_it_is_told() {
    let registry = Registry::start();
    registry.push("app", "latest", &[("f", 10)]);
    let image = format!("{}/app:latest", registry.address);
    let host = empty();
    let never = host.fails(125, &["run", "--rm", "--pull", "never", &image]);
    assert!(never.contains(&format!("No such image: {image}")), "{never}");
    // The image has nothing to run: what matters is what comes before that.
    let missing = host.fails(127, &["run", "--rm", "--network", "none", &image]);
    assert!(missing.starts_with(&format!("Unable to find image '{image}' locally")), "{missing}");
    let here = host.fails(127, &["run", "--rm", "--network", "none", &image]);
    assert!(!here.contains("Pulling from"), "{here}");
    let always = host.fails(127, &["run", "--rm", "--pull", "always", "--network", "none", &image]);
    assert!(always.contains(&format!("Status: Image is up to date for {image}")), "{always}");
    let quiet = ["run", "--rm", "-q", "--pull", "always", "--network", "none", &image];
    assert!(!host.fails(127, &quiet).contains("Status"), "a quiet pull");
}

#[test]
fn an_import_comes_from_an_address() {
    let registry = Registry::start();
    let layers = registry.push("app", "latest", &[("f", 10)]);
    let host = empty();
    let url = format!("http://{}{}", registry.address, layers[0]);
    let told = host.ok(&["import", "-m", "from afar", &url, "far:1"]);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], format!("Downloading from {url}"));
    assert!(lines[1].starts_with("sha256:"), "{told}");
    assert_eq!(
        host.ok(&["image", "inspect", "-f", "{{.Comment}} {{.Size}}", "far:1"]),
        "from afar 10"
    );
    let missing = host.fails(1, &["import", &format!("http://{}/no", registry.address), "far:2"]);
    let want = format!(
        "Error response from daemon: failed to GET from http://{}: status 404 Not Found",
        registry.address
    );
    assert_eq!(missing, want);
}
