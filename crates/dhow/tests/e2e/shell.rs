//! What a shell completes, and which server is asked: completion, contexts, flags before the command.

use std::os::unix::fs::PermissionsExt as _;

use testkit::{Host, Ran};

use crate::host;

/// What the shell is told for these words: the candidates alone.
fn offered(host: &Host, words: &[&str]) -> Vec<String> {
    let mut all = vec!["__complete"];
    all.extend(words);
    let shown = host.ok(&all);
    let lines = shown.lines().filter(|line| !line.starts_with(':'));
    lines.map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn names_are_those_that_the_command_takes() {
    let host = host();
    host.ok(&["run", "-d", "--name", "runs", "busybox", "sleep", "1000"]);
    host.ok(&["run", "-d", "--name", "rests", "busybox", "sleep", "1000"]);
    host.ok(&["pause", "rests"]);
    let id = host.ok(&["create", "--name", "made", "busybox"]);
    host.ok(&["volume", "create", "vol1"]);
    let of = |words: &[&str]| offered(&host, words);
    assert_eq!(of(&["stop", ""]), ["rests", "runs"]);
    assert_eq!(of(&["container", "exec", "-it", "-u", "root", ""]), ["rests", "runs"]);
    assert_eq!(of(&["start", ""]), ["made"]);
    assert_eq!(of(&["rm", ""]), ["made"]);
    assert_eq!(of(&["rm", "-f", ""]), ["made", "rests", "runs"]);
    assert_eq!(of(&["pause", ""]), ["runs"]);
    assert_eq!(of(&["unpause", ""]), ["rests"]);
    assert_eq!(of(&["logs", "r"]), ["rests", "runs"]);
    // What stands there already is not offered again, and one name is enough where one is taken.
    assert_eq!(of(&["stop", "runs", ""]), ["rests"]);
    assert!(of(&["port", "runs", ""]).is_empty());
    // An id, once it is begun.
    assert_eq!(of(&["inspect", &id[..4]]), [&id[..12]]);
    assert_eq!(of(&["run", "--rm", "bu"]), ["busybox:latest"]);
    assert_eq!(of(&["rmi", ""]), ["busybox:latest"]);
    assert_eq!(of(&["volume", "rm", ""]), ["vol1"]);
    assert_eq!(of(&["run", "-v", "v"]), ["vol1:"]);
    assert_eq!(of(&["network", "inspect", "br"]), ["bridge"]);
    assert_eq!(of(&["run", "--network", "container:m"]), [""; 0]);
    assert_eq!(of(&["run", "--network", "container:r"]), ["container:rests", "container:runs"]);
    assert_eq!(of(&["ps", "--filter", "volume=v"]), ["volume=vol1"]);
    let root = host.root().display().to_string();
    assert_eq!(of(&["--root", &root, "stop", ""]), ["rests", "runs"]);
}

/// What bash offers for a line, with the script of this dhow.
#[expect(clippy::disallowed_methods, reason = "tests run the shell as a user does")]
fn in_bash(host: &Host, line: &str) -> Vec<String> {
    let bin = host.scratch().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let _ = std::os::unix::fs::symlink(crate::DHOW, bin.join("dhow"));
    // What bash does at a tab: it takes the line apart and calls the function.
    let script = format!(
        r#"source <(dhow completion bash)
        COMP_LINE={line:?}; COMP_POINT=${{#COMP_LINE}}; COMP_WORDS=()
        rest=$COMP_LINE
        while [[ $rest ]]; do
            if [[ $rest =~ ^[[:space:]]+ ]]; then rest=${{rest#"${{BASH_REMATCH[0]}}"}}
            elif [[ $rest =~ ^[=:]+ || $rest =~ ^[^[:space:]=:]+ ]]; then
                COMP_WORDS+=("${{BASH_REMATCH[0]}}"); rest=${{rest#"${{BASH_REMATCH[0]}}"}}
            fi
        done
        [[ $COMP_LINE == *[[:space:]=:] ]] && COMP_WORDS+=("")
        COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _dhow dhow "${{COMP_WORDS[COMP_CWORD]}}" ""
        printf '%s\n' "${{COMPREPLY[@]}}"
        complete -p dhow >/dev/null"#
    );
    let mut command = std::process::Command::new("bash");
    for (name, value) in host.command(&[]).get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let output = command.args(["-c", &script]).env("PATH", path).current_dir(&bin).output();
    let ran = Ran::new(&output.unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    ran.out.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_completes_words_that_it_takes_apart() {
    let host = host();
    host.ok(&["create", "--name", "made", "busybox"]);
    let of = |line: &str| in_bash(&host, line);
    assert_eq!(of("dhow vol"), ["volume"]);
    assert_eq!(of("dhow volume pr"), ["prune"]);
    assert_eq!(of("dhow start "), ["made"]);
    assert_eq!(of("dhow run --pull "), ["always", "missing", "never"]);
    // Bash replaces what is behind = and : alone.
    assert_eq!(of("dhow run --pull=al"), ["always"]);
    assert_eq!(of("dhow run --pull="), ["always", "missing", "never"]);
    assert_eq!(of("dhow rmi busybox:l"), ["latest"]);
    assert_eq!(of("dhow ps --filter status=ru"), ["running"]);
    assert_eq!(of("dhow run --name x busybox:latest d"), ["dhow"], "a file of the directory");
    assert_eq!(of("dhow --log-level de"), ["debug"]);
}

#[test]
fn each_shell_has_a_script_that_asks() {
    let host = Host::new(crate::DHOW);
    for (shell, registers) in [
        ("bash", "complete -F _dhow dhow"),
        ("zsh", "compdef _dhow dhow"),
        ("fish", "complete -c dhow -n __dhow_with_files"),
    ] {
        let script = host.ok(&["completion", shell]);
        assert!(script.contains("__complete") && script.contains(registers), "{shell}");
    }
    let refused = host.fails(1, &["completion", "tcsh"]);
    assert_eq!(refused, "no completion for \"tcsh\": the shell is bash, zsh or fish");
}

#[test]
fn a_context_names_a_server() {
    let host = Host::new(crate::DHOW);
    let config = host.scratch().join("client");
    let meta = config.join("contexts/meta/2c26");
    std::fs::create_dir_all(&meta).unwrap();
    let text = r#"{"Name":"foo","Metadata":{"Description":"a b"},"Endpoints":{"docker":{"Host":"unix:///nosuch.sock","SkipTLSVerify":false}}}"#;
    std::fs::write(meta.join("meta.json"), text).unwrap();
    let directory = config.display().to_string();
    let with = |words: &[&'static str]| {
        let mut all = vec!["--config", directory.as_str()];
        all.extend(words);
        host.run(&all)
    };
    assert_eq!(with(&["context", "show"]).out, "default");
    let unreachable = with(&["-c", "foo", "ps"]);
    assert!(unreachable.err.contains("unix:///nosuch.sock"), "{}", unreachable.err);
    assert_eq!(with(&["context", "ls", "-q"]).out, "default\nfoo");
    let used = with(&["context", "use", "foo"]);
    assert_eq!((used.out.as_str(), used.err.as_str()), ("foo", "Current context is now \"foo\""));
    assert_eq!(with(&["context", "show"]).out, "foo");
    assert_eq!(with(&["ps"]).code, Some(1));
    let shown = with(&["context", "inspect", "-f", "{{.Endpoints.docker.Host}}"]);
    assert_eq!(shown.out, "unix:///nosuch.sock");
    let mode = std::fs::metadata(config.join("config.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // The default one is the engine in this process.
    assert_eq!(with(&["-c", "default", "ps", "-q"]).code, Some(0));
    assert_eq!(with(&["context", "use", "default"]).code, Some(0));
    assert_eq!(with(&["ps", "-q"]).code, Some(0));
    for (words, why) in [
        (&["-c", "nope", "ps"][..], "context \"nope\": context not found"),
        (&["context", "use", "nope"], "context \"nope\": context not found"),
        (
            &["-c", "foo", "-H", "unix:///x", "ps"],
            "conflicting options: cannot specify both --host and --context",
        ),
    ] {
        let refused = with(words);
        assert_eq!((refused.code, refused.err.as_str()), (Some(1), why), "{words:?}");
    }
    // TLS needs certificates, which are looked for beside the configuration.
    let refused = with(&["--tlsverify", "ps"]);
    let missing = format!("read the certificates of {directory}/ca.pem: ");
    assert!(refused.code == Some(1) && refused.err.starts_with(&missing), "{}", refused.err);
    assert_eq!(with(&["-l", "loud", "ps"]).code, Some(125));
}

#[test]
fn what_is_told_beside_the_output_is_chosen() {
    let host = host();
    let told = host.run(&["--debug", "ps", "-q"]);
    let server = format!(
        "DEBUG: server: this process, on {} and {}",
        host.root().display(),
        host.run_root().display()
    );
    assert_eq!((told.code, told.err.as_str()), (Some(0), server.as_str()));
    assert_eq!(host.run(&["--log-level=debug", "ps", "-q"]).err, server);
    let ignored = "WARNING: Ignoring custom format, because both --format and --quiet are set.";
    assert_eq!(host.run(&["ps", "-q", "--format", "x"]).err, ignored);
    assert_eq!(host.run(&["-l", "error", "ps", "-q", "--format", "x"]).err, "");
    // A broken configuration is told of once, whatever asks for it how often.
    let config = host.scratch().join(".docker");
    std::fs::create_dir(&config).unwrap();
    std::fs::write(config.join("config.json"), "{").unwrap();
    for words in [&["ps"][..], &["run", "--rm", "busybox", "true"], &["container", "prune", "-f"]] {
        let told = host.run(words);
        assert_eq!(told.code, Some(0), "{words:?}: {}", told.err);
        assert_eq!(told.err.matches("parsing config file").count(), 1, "{words:?}: {}", told.err);
    }
    let refused = host.run(&["pull", "localhost:1/x"]);
    assert_eq!(
        (refused.code, refused.err.matches("parsing config file").count()),
        (Some(1), 1),
        "{}",
        refused.err
    );
}

#[test]
fn lists_have_the_formats_that_the_user_has_set() {
    let host = host();
    host.ok(&["run", "-d", "--name", "runs", "busybox", "sleep", "1000"]);
    host.ok(&["volume", "create", "vol1"]);
    let config = host.scratch().join(".docker");
    std::fs::create_dir(&config).unwrap();
    let formats = r#"{"psFormat":"p {{.Names}}","imagesFormat":"i {{.Repository}}","volumesFormat":"v {{.Name}}",
        "networksFormat":"n {{.Name}}","statsFormat":"s {{.Name}}"}"#;
    std::fs::write(config.join("config.json"), formats).unwrap();
    for (words, want) in [
        (&["ps"][..], "p runs"),
        (&["images"], "i busybox"),
        (&["volume", "ls"], "v vol1"),
        (&["network", "ls"], "n bridge\nn host\nn none"),
        (&["stats", "--no-stream"], "s runs"),
        // A flag wins.
        (&["ps", "--format", "{{.Names}}"], "runs"),
        (&["volume", "ls", "-q"], "vol1"),
    ] {
        assert_eq!(host.ok(words), want, "{words:?}");
    }
}

#[test]
fn an_older_version_of_the_api_can_be_asked_for() {
    let host = host();
    let of = |version: &str, words: &[&str]| {
        Ran::new(&host.command(words).env("DOCKER_API_VERSION", version).output().unwrap())
    };
    let words = ["image", "inspect", "-f", "{{json .VirtualSize}}", "busybox"];
    assert_eq!(of("1.51", &words).code, Some(1), "it went with 1.44");
    assert_ne!(of("1.43", &words).out, "0");
    assert_eq!(of("1.43", &["version", "-f", "{{.Client.APIVersion}}"]).out, "1.43");
    let refused = of("1.99", &["ps"]);
    assert!(refused.err.contains("client version 1.99 is too new"), "{}", refused.err);
}

#[test]
fn templates_use_the_names_of_docker() {
    let host = host();
    let shown = |words: &[&str]| host.ok(words);
    assert_eq!(
        shown(&["version", "-f", "{{.Client.APIVersion}} {{.Server.APIVersion}}"]),
        "1.51 1.51"
    );
    assert_eq!(shown(&["version", "-f", "{{.Server.Experimental}}{{.Client.GitCommit}}"]), "false");
    let info =
        "{{.ClientInfo.Context}} {{.ClientInfo.Debug}} {{.CPUCfsQuota}} {{.HTTPProxy}}|{{.OSType}}";
    assert_eq!(shown(&["info", "-f", info]), "default false true |linux");
    assert!(shown(&["info", "-f", "json"]).contains(r#""ClientInfo":{"Debug":false,"#));
    host.ok(&[
        "create",
        "--name",
        "made",
        "-c",
        "5",
        "--dns",
        "9.9.9.9",
        "-p",
        "1.2.3.4:5:80",
        "busybox",
    ]);
    let host_config = "{{.HostConfig.CPUShares}} {{.HostConfig.CpuShares}} {{.HostConfig.DNS}} \
        {{range .HostConfig.PortBindings}}{{range .}}{{.HostIP}}{{end}}{{end}}";
    assert_eq!(shown(&["inspect", "-f", host_config, "made"]), "5 5 [9.9.9.9] 1.2.3.4");
}
