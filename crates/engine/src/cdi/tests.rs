//! Names into devices; files that are none.

use super::*;

const GPUS: &str = r"
cdiVersion: 0.6.0
kind: nvidia.com/gpu
devices:
  - name: '0'
    containerEdits:
      deviceNodes:
        - path: /dev/nvidia0
          type: c
          major: 195
          minor: 0
          permissions: rw
  - name: all
    containerEdits:
      env: [GPU=all]
containerEdits:
  env: [VENDOR=1]
  additionalGids: [44, 0]
  mounts:
    - hostPath: /usr/lib/libcuda.so
      containerPath: /usr/lib/libcuda.so
      options: [ro, nosuid]
";

fn registry(files: &[(&str, &str)]) -> Registry {
    let dir = tempfile::tempdir().unwrap();
    let mut dirs = vec![dir.path().join("low"), dir.path().join("high")];
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dirs.push(dir.path().join("missing"));
    Registry::read(&dirs)
}

fn gpus(count: i64, ids: &[&str]) -> DeviceRequest {
    DeviceRequest {
        driver: String::new(),
        count,
        ids: ids.iter().map(ToString::to_string).collect(),
        capabilities: vec![vec!["gpu".to_owned()]],
        options: BTreeMap::new(),
    }
}

#[test]
fn gpus_are_nvidias_names() {
    let registry = registry(&[("low/nvidia.yaml", GPUS)]);
    let names = |request: &DeviceRequest| registry.names(request).unwrap().join(" ");
    assert_eq!(names(&gpus(-1, &[])), "nvidia.com/gpu=all");
    assert_eq!(names(&gpus(2, &[])), "nvidia.com/gpu=0 nvidia.com/gpu=1");
    assert_eq!(names(&gpus(0, &["0", "GPU-x"])), "nvidia.com/gpu=0 nvidia.com/gpu=GPU-x");
    // Of more than there are, no more names than it takes to find one that is missing.
    assert_eq!(names(&gpus(4_000_000_000, &[])).split(' ').count(), 3);
    assert_eq!(names(&gpus(i64::MAX, &[])).split(' ').count(), 3);
    let cdi = DeviceRequest { driver: "cdi".to_owned(), ..gpus(0, &["a.b/c=d"]) };
    assert_eq!(names(&cdi), "a.b/c=d");
    let none = Registry::default().names(&gpus(-1, &[])).unwrap_err().to_string();
    assert_eq!(none, r#"could not select device driver "" with capabilities: [[gpu]]"#);
}

#[test]
fn a_container_gets_what_its_devices_need_once() {
    let registry = registry(&[("low/nvidia.yaml", GPUS)]);
    let names = ["nvidia.com/gpu=0", "nvidia.com/gpu=all"].map(str::to_owned);
    let given = registry.given(&names).unwrap();
    assert_eq!(given.env, ["VENDOR=1", "GPU=all"]);
    assert_eq!(given.groups, [44]);
    assert_eq!(given.nodes.len(), 1);
    assert_eq!((given.nodes[0].major(), given.rules[0].access().as_deref()), (195, Some("rw")));
    let options = given.mounts[0].options().clone().unwrap();
    assert_eq!(options, ["ro", "nosuid", "rbind"]);
}

#[test]
fn devices_that_share_a_node_give_it_once() {
    let json = r#"{"cdiVersion":"0.6.0","kind":"a.b/c","devices":[
        {"name":"x","containerEdits":{"deviceNodes":[{"path":"/dev/ctl","type":"c","major":9,"minor":1}]}},
        {"name":"y","containerEdits":{"deviceNodes":[{"path":"/dev/ctl","type":"c","major":9,"minor":2}]}}]}"#;
    let given = registry(&[("low/s.json", json)]).given(&["a.b/c=x", "a.b/c=y"].map(str::to_owned));
    let given = given.unwrap();
    assert_eq!(given.nodes.iter().map(|node| node.minor()).collect::<Vec<_>>(), [2]);
    assert_eq!(given.rules.len(), 2);
}

#[test]
fn what_is_not_there_is_told_with_its_reasons() {
    let json =
        r#"{"cdiVersion":"0.5.0","kind":"a.b/c","devices":[{"name":"d","containerEdits":{}}]}"#;
    let files = [
        ("low/one.json", json),
        ("low/two.json", json),
        ("low/broken.yaml", "cdiVersion: [\n"),
        ("low/notes.txt", "x"),
    ];
    let text = registry(&files).given(&["a.b/c=d".to_owned(), "x.y/z=1".to_owned()]).unwrap_err();
    let text = text.to_string();
    let begin = "CDI device injection failed: unresolvable CDI devices a.b/c=d, x.y/z=1 (several files of one directory have it); ";
    assert!(text.starts_with(begin) && text.contains("broken.yaml: "), "{text}");
    // A later directory wins.
    let mut files = files.to_vec();
    files.push(("high/mine.json", json));
    assert!(registry(&files).given(&["a.b/c=d".to_owned()]).is_ok());
}

#[test]
fn hooks_come_in_the_order_of_the_devices() {
    let json = r#"{"cdiVersion":"1.0.0","kind":"a.b/c","devices":[
        {"name":"d","containerEdits":{"hooks":[
            {"hookName":"createContainer","path":"/usr/bin/hook","args":["hook","second"],"env":["A=b"],"timeout":3}]}}],
        "containerEdits":{"hooks":[
            {"hookName":"createContainer","path":"/usr/bin/hook","args":["hook","first"]},
            {"hookName":"poststop","path":"/usr/bin/last"}]}}"#;
    let given = registry(&[("low/h.json", json)]).given(&["a.b/c=d".to_owned()]).unwrap();
    let list = given.hooks.create_container().clone().unwrap();
    let args: Vec<_> = list.iter().map(|hook| hook.args().clone().unwrap().join(" ")).collect();
    assert_eq!(args, ["hook first", "hook second"]);
    assert_eq!((list[1].timeout(), list[1].env()), (Some(3), &Some(vec!["A=b".to_owned()])));
    assert_eq!(given.hooks.poststop().as_ref().unwrap()[0].args(), &None);
}

#[test]
fn hooks_that_cannot_be_run_make_no_specification() {
    for (hook, why) in [
        (r#"{"hookName":"createcontainer","path":"/x"}"#, "its hookName is not known"),
        (r#"{"hookName":"createContainer","path":"x"}"#, "it must be absolute"),
        (
            r#"{"hookName":"createContainer","path":"/x","timeout":0}"#,
            "its timeout is not greater than zero",
        ),
        (
            r#"{"hookName":"createContainer","path":"/x","env":["A"]}"#,
            "its env is not made of NAME=VALUE",
        ),
    ] {
        let json = format!(
            r#"{{"cdiVersion":"1.0.0","kind":"a.b/c","devices":[{{"name":"d","containerEdits":{{"hooks":[{hook}]}}}}]}}"#
        );
        let text = registry(&[("low/h.json", &json)]).given(&["a.b/c=d".to_owned()]).unwrap_err();
        assert!(text.to_string().contains(why), "{hook}: {text}");
    }
}

#[test]
fn files_that_are_none_are_refused() {
    let with = |version: &str, kind: &str, name: &str, edits: &str| {
        let text = format!(
            r#"{{"cdiVersion":"{version}","kind":"{kind}","devices":[{{"name":"{name}","containerEdits":{edits}}}]}}"#
        );
        spec::parse(&text, Format::Json).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(with("0.6.0", "a.b/c", "d", "{}"), Ok(()));
    for (version, kind, name, edits, want) in [
        ("9.0.0", "a.b/c", "d", "{}", "cdiVersion \"9.0.0\" is not known"),
        ("0.6.0", "a.b", "d", "{}", "kind \"a.b\" is not of the form vendor.com/class"),
        ("0.6.0", "../x/c", "d", "{}", "kind \"../x/c\" is not of the form vendor.com/class"),
        (
            "0.6.0",
            "a.b/c",
            "d e",
            "{}",
            "device name \"d e\" is not made of letters, digits, and _-.:",
        ),
        (
            "0.6.0",
            "a.b/c",
            "d",
            r#"{"deviceNodes":[{"path":"dev/x"}]}"#,
            "device node \"dev/x\": it must be absolute",
        ),
        (
            "0.6.0",
            "a.b/c",
            "d",
            r#"{"mounts":[{"hostPath":"/a","containerPath":"b"}]}"#,
            "mount \"b\": both of its paths must be absolute",
        ),
    ] {
        assert_eq!(with(version, kind, name, edits), Err(want.to_owned()));
    }
    let unknown = with("0.6.0", "a.b/c", "d", r#"{"privileged":true}"#).unwrap_err();
    assert!(unknown.starts_with("unknown field `privileged`"), "{unknown}");
    // Aliases that grow without end are no YAML of ours.
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
    assert!(spec::parse(bomb, Format::Yaml).is_err());
}
