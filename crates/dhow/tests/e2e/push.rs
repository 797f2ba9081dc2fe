//! push: into Debian's registry, as whom, and what is told.

use testkit::{Distribution, Host};

/// A host whose user has this `config.json`.
fn host_with(config: &str) -> Host {
    let host = Host::with_busybox(crate::DHOW);
    let docker = host.scratch().join(".docker");
    std::fs::create_dir_all(&docker).unwrap();
    std::fs::write(docker.join("config.json"), config).unwrap();
    host
}

/// The digest in the last line of what a push tells.
fn pushed(told: &str, tag: &str) -> String {
    let last = told.lines().last().unwrap();
    let rest = last.strip_prefix(&format!("{tag}: digest: ")).unwrap_or_else(|| panic!("{told}"));
    rest.split(' ').next().unwrap().to_owned()
}

#[test]
fn what_is_pushed_is_pulled_as_it_was() {
    let registry = Distribution::start();
    let host = Host::with_busybox(crate::DHOW);
    let name = format!("{}/team/app", registry.address);
    let image = format!("{name}:v1");
    host.ok(&["tag", "busybox", &image]);
    let id = host.ok(&["image", "inspect", "-f", "{{.Id}}", &image]);
    let told = host.ok(&["push", &image]);
    assert!(told.starts_with(&format!("The push refers to repository [{name}]\n")), "{told}");
    assert!(told.contains(": Preparing\n") && told.contains(": Pushed\n"), "{told}");
    let digest = pushed(&told, "v1");
    let digests = host.ok(&["image", "inspect", "-f", "{{json .RepoDigests}}", &image]);
    assert!(digests.contains(&format!("{name}@{digest}")), "{digests}");
    // Layer, configuration, manifest.
    assert_eq!(registry.count(), 3);
    let again = host.ok(&["push", &image]);
    assert!(again.contains(": Layer already exists\n"), "{again}");
    assert_eq!(pushed(&again, "v1"), digest);
    assert_eq!(host.ok(&["push", "-q", &image]), image);
    host.ok(&["rmi", "-f", &image, "busybox"]);
    assert_eq!(host.ok(&["pull", "-q", &image]), image);
    assert_eq!(host.ok(&["image", "inspect", "-f", "{{.Id}}", &image]), id);
    assert_eq!(host.ok(&["run", "--rm", "--network", "none", &image, "echo", "hi"]), "hi");
}

#[test]
fn a_layer_is_taken_from_another_repository_of_the_registry() {
    let registry = Distribution::start();
    let host = Host::with_busybox(crate::DHOW);
    let [first, second] = ["a", "b/c"].map(|name| format!("{}/{name}:latest", registry.address));
    for image in [&first, &second] {
        host.ok(&["tag", "busybox", image]);
    }
    host.ok(&["push", &first]);
    let told = host.ok(&["push", &second]);
    assert!(told.contains(": Mounted from a\n"), "{told}");
    assert_eq!(registry.count(), 3);
}

#[test]
fn all_tags_of_a_repository_go() {
    let registry = Distribution::start();
    let host = Host::with_busybox(crate::DHOW);
    let name = format!("{}/app", registry.address);
    for tag in ["b", "a"] {
        host.ok(&["tag", "busybox", &format!("{name}:{tag}")]);
    }
    let told = host.ok(&["push", "-a", &name]);
    assert_eq!(told.matches("The push refers").count(), 1, "{told}");
    let digests: Vec<&str> = told.lines().filter(|line| line.contains(": digest: ")).collect();
    assert!(digests[0].starts_with("a: ") && digests[1].starts_with("b: "), "{told}");
    host.ok(&["pull", "-aq", &name]);
    let wrong = host.fails(1, &["push", "-a", &format!("{name}:a")]);
    assert_eq!(wrong, "tag can't be used with --all-tags/-a");
}

#[test]
fn what_is_not_here_is_not_pushed() {
    let host = Host::with_busybox(crate::DHOW);
    let ran = host.run(&["push", "127.0.0.1:1/nosuch"]);
    assert_eq!(ran.code, Some(1));
    assert_eq!(
        ran.out,
        "Using default tag: latest\nThe push refers to repository [127.0.0.1:1/nosuch]"
    );
    assert_eq!(ran.err, "An image does not exist locally with the tag: 127.0.0.1:1/nosuch");
    host.ok(&["tag", "busybox", "127.0.0.1:1/app:a"]);
    let told = host.fails(1, &["push", "127.0.0.1:1/app:b"]);
    assert_eq!(told, "tag does not exist: 127.0.0.1:1/app:b");
    let told = host.fails(1, &["push", "127.0.0.1:1/app:a"]);
    assert!(told.contains("connect to 127.0.0.1:1: connection refused"), "{told}");
}

#[test]
fn a_registry_with_a_password_wants_the_right_one() {
    let registry = Distribution::start_for_me();
    let image = format!("{}/app:latest", registry.address);
    let auth =
        |pair: &str| format!(r#"{{"auths":{{"{}":{{"auth":"{pair}"}}}}}}"#, registry.address);
    // me:wrong, and nobody.
    for config in [auth("bWU6d3Jvbmc="), "{}".to_owned()] {
        let host = host_with(&config);
        host.ok(&["tag", "busybox", &image]);
        let told = host.fails(1, &["push", &image]);
        assert!(told.starts_with("push access to ") && told.contains(" denied: "), "{told}");
        assert_eq!(registry.count(), 0);
    }
    // me:hunter2
    let host = host_with(&auth("bWU6aHVudGVyMg=="));
    host.ok(&["tag", "busybox", &image]);
    pushed(&host.ok(&["push", &image]), "latest");
    assert_eq!(registry.count(), 3);
}
