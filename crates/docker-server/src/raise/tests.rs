//! What views look like on the wire.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use docker_api::types::containers::CreateContainer;
use engine::view::{
    ContainerView, EndpointView, FilesView, Freshness, LayerStep, MountView, Progress,
    PublishedView, RemovalProgress, Resolved, VolumePlace,
};
use expect_test::expect;
use model::life::StartFailure;
use model::systemd::FirstProcess;
use model::{ContainerId, ExitCode, Life, Signal};
use serde_json::{Value, json};

use super::*;
use crate::lower::{self, Beside};
use crate::quirks::MAX;

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::new(1_795_295_870 + second, 0).unwrap()
}

/// A view of what a create request makes, before anything happened to it.
fn view(body: &str) -> ContainerView {
    let request = CreateContainer::from_json(body.as_bytes()).unwrap().value;
    let spec = lower::create(&request, Beside::default(), MAX).unwrap().spec;
    let argv = spec.process.command.clone().unwrap_or_default();
    let place = |mount: &model::mount::Mount| MountView {
        volume: matches!(mount.source, model::mount::MountSource::Volume { .. })
            .then(|| VolumePlace { name: "v".to_owned(), path: "/vols/v/_data".into() }),
        image: None,
        mount: mount.clone(),
    };
    ContainerView {
        id: ContainerId::from_random([0xab; 32]),
        name: "web".parse().unwrap(),
        created: at(0),
        resolved: Resolved {
            entrypoint: None,
            command: Some(argv.clone()),
            argv,
            env: vec!["PATH=/bin".to_owned()],
            working_dir: "/".into(),
            user: String::new(),
            hostname: "abababababab".to_owned(),
            first: FirstProcess::Program,
            stop_signal: Signal::TERM,
            stop_signal_named: false,
            health: None,
            stop_timeout: None,
            labels: spec.labels.clone(),
            exposed: spec.network.published.iter().map(|p| p.container).collect(),
            published: spec.network.published.clone(),
            mounts: spec.files.mounts.clone(),
        },
        image: Some(format!("sha256:{}", "cd".repeat(32)).parse().unwrap()),
        image_name: "busybox".to_owned(),
        life: Life::NEW,
        removal: RemovalProgress::NotAsked,
        restarts: 0,
        again_failed: None,
        health: None,
        mounts: spec.files.mounts.iter().map(place).collect(),
        networks: BTreeMap::from([("bridge".to_owned(), EndpointView::default())]),
        ports: Vec::new(),
        files: FilesView { log: "/log".into(), ..FilesView::default() },
        execs: Vec::new(),
        labels: None,
        profile: None,
        spec,
    }
}

pub(crate) fn running(body: &str) -> ContainerView {
    let mut view = view(body);
    view.life = Life::Running { pid: 42, since: at(1) };
    let endpoint = EndpointView {
        ipv4: Some((Ipv4Addr::new(172, 17, 0, 2), 16)),
        gateway4: Some(Ipv4Addr::new(172, 17, 0, 1)),
        mac: Some([2, 0x42, 0xac, 0x11, 0, 2]),
        ..EndpointView::default()
    };
    view.networks = BTreeMap::from([("bridge".to_owned(), endpoint)]);
    view
}

fn wire(view: &ContainerView) -> Value {
    serde_json::to_value(inspect(view, None)).unwrap()
}

pub(crate) const PLAIN: &str = r#"{"Image":"busybox","Cmd":["sleep","1 2"]}"#;

/// Semantics 8: `null`, `[]`, `{}` and absence after a plain run.
#[test]
fn nothing_looks_as_in_docker() {
    let wire = wire(&running(PLAIN));
    let host = &wire["HostConfig"];
    let null = |object: &Value, fields: &[&str]| {
        for field in fields {
            assert_eq!(object.get(field), Some(&Value::Null), "{field}");
        }
    };
    let is = |object: &Value, fields: &[&str], want: &Value| {
        for field in fields {
            assert_eq!(&object[*field], want, "{field}");
        }
    };
    null(&wire, &["ExecIDs"]);
    null(
        host,
        &[
            "Binds",
            "VolumesFrom",
            "CapAdd",
            "CapDrop",
            "ExtraHosts",
            "GroupAdd",
            "Links",
            "SecurityOpt",
            "DeviceCgroupRules",
            "DeviceRequests",
            "MemorySwappiness",
            "PidsLimit",
        ],
    );
    null(&wire["Config"], &["Entrypoint", "Volumes", "OnBuild"]);
    let endpoint = &wire["NetworkSettings"]["Networks"]["bridge"];
    null(endpoint, &["IPAMConfig", "Links", "Aliases", "DriverOpts", "DNSNames"]);
    null(&wire["NetworkSettings"], &["SecondaryIPAddresses", "SecondaryIPv6Addresses"]);
    is(
        host,
        &[
            "Dns",
            "DnsOptions",
            "DnsSearch",
            "BlkioWeightDevice",
            "BlkioDeviceReadBps",
            "BlkioDeviceWriteBps",
            "BlkioDeviceReadIOps",
            "BlkioDeviceWriteIOps",
            "Devices",
            "Ulimits",
        ],
        &json!([]),
    );
    is(&wire, &["Mounts"], &json!([]));
    is(host, &["PortBindings"], &json!({}));
    is(&wire["Config"], &["Labels"], &json!({}));
    is(&host["LogConfig"], &["Config"], &json!({}));
    is(&wire["NetworkSettings"], &["Ports"], &json!({}));
    assert_eq!(host["ConsoleSize"], json!([0, 0]));
    for absent in ["Sysctls", "Tmpfs", "Mounts", "Init", "StorageOpt", "Annotations"] {
        assert!(host.get(absent).is_none(), "{absent}");
    }
    assert!(host["MaskedPaths"].as_array().unwrap().contains(&json!("/proc/kcore")));
    assert!(wire["Config"].get("ExposedPorts").is_none());
}

#[test]
fn nothing_is_hidden_from_a_privileged_container() {
    let wire = wire(&view(r#"{"Image":"a","Cmd":["x"],"HostConfig":{"Privileged":true}}"#));
    assert_eq!(wire["HostConfig"]["MaskedPaths"], Value::Null);
    assert_eq!(wire["HostConfig"]["ReadonlyPaths"], Value::Null);
}

#[test]
fn a_running_container_has_a_process_and_an_address() {
    let wire = wire(&running(PLAIN));
    assert_eq!(wire["Name"], "/web");
    assert_eq!((&wire["Path"], &wire["Args"]), (&json!("sleep"), &json!(["1 2"])));
    expect![[r#"{"Dead":false,"Error":"","ExitCode":0,"FinishedAt":"0001-01-01T00:00:00Z","OOMKilled":false,"Paused":false,"Pid":42,"Restarting":false,"Running":true,"StartedAt":"2026-11-21T21:17:51Z","Status":"running"}"#]]
        .assert_eq(&wire["State"].to_string());
    let settings = &wire["NetworkSettings"];
    assert_eq!(settings["IPAddress"], "172.17.0.2");
    assert_eq!(settings["Networks"]["bridge"]["MacAddress"], "02:42:ac:11:00:02");
    assert_eq!(settings["Networks"]["bridge"]["IPPrefixLen"], 16);
}

#[test]
fn each_life_has_its_state_and_its_text() {
    let mut view = view(PLAIN);
    let mut see = |life: Life| {
        view.life = life;
        let state = &wire(&view)["State"];
        let flags: Vec<&str> = ["Running", "Paused", "OOMKilled"]
            .into_iter()
            .filter(|flag| state[flag] == true)
            .collect();
        let text = summary(&view, None, at(65), PortList::Each).status;
        format!("{} {flags:?} {} {:?} | {text}", state["Status"], state["ExitCode"], state["Error"])
    };
    let failed = StartFailure { code: ExitCode(127), message: "no such file".to_owned() };
    let lines = [
        see(Life::NEW),
        see(Life::Created { failed: Some(failed) }),
        see(Life::Running { pid: 1, since: at(60) }),
        see(Life::Paused { pid: 1, since: at(5) }),
        see(Life::Exited { code: ExitCode(137), since: at(0), at: at(64), oom: true }),
    ];
    expect![[r#"
        "created" [] 0 String("") | Created
        "created" [] 127 String("no such file") | Created
        "running" ["Running"] 0 String("") | Up 5 seconds
        "paused" ["Running", "Paused"] 0 String("") | Up About a minute (Paused)
        "exited" ["OOMKilled"] 137 String("") | Exited (137) OOM, 1 second ago
    "#]]
    .assert_eq(&(lines.join("\n") + "\n"));
}

#[test]
fn published_ports_are_listed_for_each_address() {
    let body = r#"{"Image":"a","Cmd":["x"],"HostConfig":{"PortBindings":{
        "80/tcp":[{"HostPort":"8080"}],"53/udp":[{"HostIp":"127.0.0.1"}]}}}"#;
    let mut view = running(body);
    let published = |ip: &str, text: &str, port| PublishedView {
        container: text.parse().unwrap(),
        host_ip: ip.parse::<IpAddr>().unwrap(),
        host_port: port,
        count: 1,
    };
    view.ports = vec![published("0.0.0.0", "80/tcp", 8080), published("::", "80/tcp", 8080)];
    let wire = wire(&view);
    expect![[r#"{"53/udp":null,"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"},{"HostIp":"::","HostPort":"8080"}]}"#]]
        .assert_eq(&wire["NetworkSettings"]["Ports"].to_string());
    expect![[r#"{"53/udp":[{"HostIp":"127.0.0.1","HostPort":""}],"80/tcp":[{"HostIp":"","HostPort":"8080"}]}"#]]
        .assert_eq(&wire["HostConfig"]["PortBindings"].to_string());
    let list = serde_json::to_string(&summary(&view, None, at(2), PortList::Each).ports).unwrap();
    expect![[r#"[{"PrivatePort":53,"Type":"udp"},{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},{"IP":"::","PrivatePort":80,"PublicPort":8080,"Type":"tcp"}]"#]]
        .assert_eq(&list);
    view.life = Life::NEW;
    assert_eq!(summary(&view, None, at(2), PortList::Each).ports, []);
}

#[test]
fn ranges_are_one_entry_for_who_asks_for_them() {
    let body = r#"{"Image":"a","Cmd":["x"],"HostConfig":{"PortBindings":{
        "81/tcp":[{}],"81/udp":[{}]}}}"#;
    let mut view = running(body);
    view.ports = vec![PublishedView {
        container: "80/tcp".parse().unwrap(),
        host_ip: "0.0.0.0".parse().unwrap(),
        host_port: 8080,
        count: 2,
    }];
    let list = |shown| serde_json::to_string(&summary(&view, None, at(2), shown).ports).unwrap();
    expect![[r#"[{"PrivatePort":81,"Type":"udp"},{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},{"IP":"0.0.0.0","PrivatePort":81,"PublicPort":8081,"Type":"tcp"}]"#]]
        .assert_eq(&list(PortList::Each));
    expect![[r#"[{"PrivatePort":81,"Type":"udp"},{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp","Count":2}]"#]]
        .assert_eq(&list(PortList::Ranges));
    expect![[r#"{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}],"81/tcp":[{"HostIp":"0.0.0.0","HostPort":"8081"}],"81/udp":null}"#]]
        .assert_eq(&wire(&view)["NetworkSettings"]["Ports"].to_string());
}

/// As what is only exposed, once for both families; Docker has an address without a port for each.
#[test]
fn ports_at_the_containers_own_address_have_none_of_the_host() {
    let body =
        r#"{"Image":"a","Cmd":["x"],"HostConfig":{"PortBindings":{"80/tcp":[{}],"81/tcp":[{}]}}}"#;
    let mut view = running(body);
    let direct = |ip: &str, count| PublishedView {
        container: "80/tcp".parse().unwrap(),
        host_ip: ip.parse().unwrap(),
        host_port: 0,
        count,
    };
    view.ports = vec![direct("0.0.0.0", 2), direct("::", 2)];
    let list =
        |view: &_, shown| serde_json::to_string(&summary(view, None, at(2), shown).ports).unwrap();
    expect![[r#"[{"PrivatePort":80,"Type":"tcp"},{"PrivatePort":81,"Type":"tcp"}]"#]]
        .assert_eq(&list(&view, PortList::Each));
    expect![[r#"[{"PrivatePort":80,"Type":"tcp","Count":2}]"#]]
        .assert_eq(&list(&view, PortList::Ranges));
    expect![[r#"{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":""},{"HostIp":"::","HostPort":""}],"81/tcp":[{"HostIp":"0.0.0.0","HostPort":""},{"HostIp":"::","HostPort":""}]}"#]].assert_eq(&wire(&view)["NetworkSettings"]["Ports"].to_string());
}

#[test]
fn mounts_are_where_they_came_from() {
    let wire = wire(&view(
        r#"{"Image":"a","Cmd":["x"],"Volumes":{"/anon":{}},"HostConfig":{
        "Binds":["/src:/dst:ro","vol1:/named"],"Tmpfs":{"/t":"size=1m"},
        "Mounts":[{"Type":"bind","Source":"/m","Target":"/mt","ReadOnly":true}]}}"#,
    ));
    assert_eq!(wire["HostConfig"]["Binds"], json!(["/src:/dst:ro", "vol1:/named"]));
    assert_eq!(
        wire["HostConfig"]["Mounts"],
        json!([{"Type": "bind", "Source": "/m", "Target": "/mt", "ReadOnly": true}])
    );
    assert_eq!(wire["HostConfig"]["Tmpfs"], json!({"/t": "size=1m"}));
    assert_eq!(wire["Config"]["Volumes"], json!({"/anon": {}}));
    let lines: Vec<String> = wire["Mounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| {
            format!("{} {} {} {} {}", m["Type"], m["Source"], m["Destination"], m["Mode"], m["RW"])
        })
        .collect();
    expect![[r#"
        "bind" "/src" "/dst" "ro" false
        "volume" "/vols/v/_data" "/named" "z" true
        "volume" "/vols/v/_data" "/anon" "" true
        "bind" "/m" "/mt" "" false"#]]
    .assert_eq(&lines.join("\n"));
}

/// Field by field: what a client gives under `HostConfig` is what it sees there.
#[test]
fn what_was_asked_is_what_inspect_shows() {
    for given in [
        r#""Mounts":[{"Type":"tmpfs","Target":"/t"}]"#,
        r#""Mounts":[{"Type":"tmpfs","Target":"/t/","TmpfsOptions":{"SizeBytes":9,"Mode":448}}]"#,
        r#""Mounts":[{"Type":"bind","Source":"/a","Target":"/b","ReadOnly":true,"Consistency":"cached",
            "BindOptions":{"Propagation":"rprivate","ReadOnlyForceRecursive":true}}]"#,
        r#""Mounts":[{"Type":"bind","Source":"/a","Target":"/b","BindOptions":{"NonRecursive":true}}]"#,
        r#""Mounts":[{"Type":"volume","Target":"/v","VolumeOptions":{"NoCopy":true,"DriverConfig":{}}}]"#,
        r#""Mounts":[{"Type":"volume","Source":"nn","Target":"/v","ReadOnly":true}]"#,
        r#""Tmpfs":{"/u":"","/w":"rw,size=64k,mode=1777,noexec"}"#,
        r#""Binds":["/src:/dst:rslave,ro,idmap","nn:/v:nocopy","/src2/:/d//e"]"#,
        r#""OomKillDisable":true,"Memory":67108864,"MemorySwap":-1,"MemorySwappiness":5"#,
        r#""OomKillDisable":false"#,
        r#""OomKillDisable":null"#,
        r#""IpcMode":"shareable","SecurityOpt":["label=disable"]"#,
        r#""NetworkMode":"container:web","PidMode":"container:web","IpcMode":"container:web""#,
        r#""PortBindings":{"80/tcp":[{"HostIp":"","HostPort":""}],"81/udp":[{"HostIp":"::1","HostPort":"8000-8009"}]}"#,
        r#""CapAdd":["net_admin"],"CapDrop":["ALL","CAP_CHOWN"],"Ulimits":[{"Name":"core","Hard":-1,"Soft":0}]"#,
        r#""Dns":["1.1.1.1"],"DnsOptions":["rotate"],"DnsSearch":["."],"ExtraHosts":["a:host-gateway"]"#,
        r#""ShmSize":1048576,"CgroupParent":"/foo","PidsLimit":-1,"OomScoreAdj":-5,"CpuShares":2"#,
        r#""DeviceCgroupRules":["c 1:3 r"],"Sysctls":{"net.core.somaxconn":"9"},"GroupAdd":["5"]"#,
        r#""LogConfig":{"Type":"json-file","Config":{"max-size":"1m","max-file":"2"}},"AutoRemove":true"#,
    ] {
        let body = format!(r#"{{"Image":"busybox","HostConfig":{{{given}}}}}"#);
        let asked: Value = serde_json::from_str(&format!("{{{given}}}")).unwrap();
        let shown = wire(&view(&body));
        for (field, value) in asked.as_object().unwrap() {
            assert_eq!(&shown["HostConfig"][field], value, "{field}: {given}");
        }
    }
}

/// Of tmpfs, `Mounts` has what `--mount` asked for; of volumes, `Config.Volumes` has what it did
/// not.
#[test]
fn mounts_are_listed_by_who_asked_for_them() {
    let wire = wire(&view(
        r#"{"Image":"a","Volumes":{"/anon":{}},"HostConfig":{"Tmpfs":{"/u":""},
            "Mounts":[{"Type":"tmpfs","Target":"/t/"},{"Type":"volume","Target":"/va"}]}}"#,
    ));
    assert_eq!(wire["Config"]["Volumes"], json!({ "/anon": {} }));
    let tmpfs = json!({ "Type": "tmpfs", "Source": "", "Destination": "/t", "Mode": "",
        "RW": true, "Propagation": "" });
    let listed = wire["Mounts"].as_array().unwrap();
    let of_tmpfs: Vec<&Value> = listed.iter().filter(|m| m["Type"] == "tmpfs").collect();
    assert_eq!(of_tmpfs, [&tmpfs]);
}

/// Docker says so of containers that share processes or memory with the host.
#[test]
fn a_container_that_is_open_to_the_host_has_no_label() {
    let options = |host: &str| {
        let body = format!(r#"{{"Image":"a","HostConfig":{{{host}}}}}"#);
        wire(&view(&body))["HostConfig"]["SecurityOpt"].clone()
    };
    assert_eq!(options(r#""PidMode":"host""#), json!(["label=disable"]));
    assert_eq!(options(r#""IpcMode":"host""#), json!(["label=disable"]));
    assert_eq!(
        options(r#""Privileged":true,"SecurityOpt":["no-new-privileges"]"#),
        json!(["no-new-privileges", "label=disable"])
    );
    assert_eq!(options(r#""PidMode":"container:a""#), Value::Null);
}

/// What inspect shows can be given to create again, and means the same.
#[test]
fn lowering_what_was_raised_gives_the_same() {
    let body = r#"{"Image":"a","Cmd":["x"],"Tty":true,"OpenStdin":true,"User":"1:2","HostConfig":{
        "Binds":["/src:/dst:ro"],"Memory":8000000,"NanoCpus":500000000,"PidsLimit":9,
        "CapAdd":["NET_ADMIN"],"NetworkMode":"none","ReadonlyRootfs":true,"ShmSize":1000,
        "Ulimits":[{"Name":"nofile","Soft":5,"Hard":9}],"Sysctls":{"net.a":"1"},
        "Devices":[{"PathOnHost":"/dev/null"}],"LogConfig":{"Config":{"max-size":"1m"}},
        "ConsoleSize":[3,4],"OomScoreAdj":5,"PidMode":"host","Init":true}}"#;
    let first = view(body);
    let wire = inspect(&first, None);
    let again = CreateContainer {
        host_config: docker_api::types::host_config::HostConfig {
            // Defaults are shown, and would be taken for wishes.
            masked_paths: None,
            readonly_paths: None,
            ..wire.host_config
        },
        config: docker_api::types::config::ContainerConfig {
            image: wire.config.image,
            cmd: wire.config.cmd,
            tty: wire.config.tty,
            open_stdin: wire.config.open_stdin,
            user: "1:2".to_owned(),
            ..Default::default()
        },
        ..CreateContainer::default()
    };
    let second = lower::create(&again, Beside::default(), MAX).unwrap().spec;
    assert_eq!(second, first.spec);
}

#[test]
fn times_have_as_many_digits_as_go_prints() {
    let nano = |n| time(Timestamp::new(1_795_295_870, n).unwrap());
    assert_eq!(nano(0), "2026-11-21T21:17:50Z");
    assert_eq!(nano(120_000_000), "2026-11-21T21:17:50.12Z");
    assert_eq!(nano(1), "2026-11-21T21:17:50.000000001Z");
    assert_eq!(log_time(at(0)), "2026-11-21T21:17:50.000000000Z");
}

#[test]
fn progress_speaks_dockers_words() {
    let digest: model::Digest = format!("sha256:{}", "ab".repeat(32)).parse().unwrap();
    let layer = |step| Progress::Layer { layer: "abcdefabcdef".to_owned(), step };
    let lines: Vec<String> = [
        Progress::Pulling { repository: "library/busybox".to_owned(), tag: "latest".to_owned() },
        layer(LayerStep::Pulling),
        layer(LayerStep::Downloading { current: 1, total: 2 }),
        layer(LayerStep::Done),
        Progress::Digest(digest),
        Progress::Pulled { reference: "busybox:latest".to_owned(), fresh: Freshness::UpToDate },
        Progress::Loaded("busybox:latest".to_owned()),
    ]
    .iter()
    .map(|event| serde_json::to_string(&progress(event)).unwrap())
    .collect();
    expect![[r#"
        {"status":"Pulling from library/busybox","id":"latest"}
        {"status":"Pulling fs layer","progressDetail":{},"id":"abcdefabcdef"}
        {"status":"Downloading","progressDetail":{"current":1,"total":2},"id":"abcdefabcdef"}
        {"status":"Pull complete","progressDetail":{},"id":"abcdefabcdef"}
        {"status":"Digest: sha256:abababababababababababababababababababababababababababababababab"}
        {"status":"Status: Image is up to date for busybox:latest"}
        {"stream":"Loaded image: busybox:latest\n"}"#]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn commands_of_lists_are_one_line() {
    assert_eq!(summary(&view(PLAIN), None, at(0), PortList::Each).command, "sleep '1 2'");
}
