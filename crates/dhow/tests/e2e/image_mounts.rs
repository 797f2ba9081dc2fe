//! `--mount type=image`: the files of an image in a container, and what keeps that image.

use testkit::{Host, Image};

use crate::host;

/// A host with the image `data:1`, which has `/data/one` and `/data/two` in a layer of its own.
fn with_data() -> Host {
    let host = host();
    let image = Image::busybox().unwrap();
    let image = image.with_files("data:1", &[("one", b"1"), ("two", b"2")]).unwrap();
    let archive = image.archive(host.scratch()).unwrap();
    host.ok(&["load", "-i", &archive.to_string_lossy()]);
    host
}

const SHOWN: &str = "{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}} {{.RW}} {{.Mode}}{{.Driver}}{{.Propagation}}{{end}}";

#[test]
fn an_image_or_a_part_of_it_is_mounted_and_cannot_be_written() {
    let host = with_data();
    let look =
        "cat /img/data/one /part/two /file; echo; touch /img/x /part/x 2>&1; ls /img/bin/busybox";
    let run = |more: &[&str]| {
        let mounts = [
            "--mount",
            "type=image,source=data:1,target=/img",
            "--mount",
            "type=image,src=data:1,dst=/part,image-subpath=data",
            "--mount",
            "type=image,src=data:1,dst=/file,image-subpath=data/one",
        ];
        let words = [&["run", "--rm", "--network", "none"], more, &mounts];
        host.ok(&[&words.concat()[..], &["busybox", "sh", "-c", look]].concat())
    };
    let refused = "touch: /img/x: Read-only file system\ntouch: /part/x: Read-only file system";
    let seen = format!("121\n{refused}\n/img/bin/busybox");
    assert_eq!(run(&[]), seen);
    assert_eq!(run(&["--userns=auto"]), seen);
    host.ok(&["create", "--name", "cc", "--mount", "type=image,src=data:1,dst=/img", "busybox"]);
    assert_eq!(host.ok(&["inspect", "-f", SHOWN, "cc"]), "image data:1 /img false ");
    let asked = "{{json .HostConfig.Mounts}}";
    assert_eq!(
        host.ok(&["inspect", "-f", asked, "cc"]),
        r#"[{"Type":"image","Source":"data:1","Target":"/img"}]"#
    );
    // As a container that does not run has it, and as one gives it on.
    let copied =
        host.run(&["cp", "cc:/img/data/one", &host.scratch().join("one").to_string_lossy()]);
    assert_eq!(copied.code, Some(0), "{}", copied.err);
    let from = ["run", "--rm", "--network", "none", "--volumes-from", "cc", "busybox"];
    assert_eq!(host.ok(&[&from[..], &["cat", "/img/data/two"]].concat()), "2");
    let again = host.ok(&["inspect", "--as", "run", "cc"]);
    assert!(again.contains("type=image,source=data:1,target=/img"), "{again}");
}

#[test]
fn a_part_leads_nowhere_outside_of_the_image() {
    let host = with_data();
    let outside = host.scratch().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let make = "ln -s / /data/root; ln -s ../../../../../.. /data/up; ln -s /data/one /data/link";
    host.ok(&["run", "--name", "cc", "--network", "none", "data:1", "sh", "-c", make]);
    host.ok(&["commit", "cc", "links:1"]);
    let part = |part: &str| {
        let mount = format!("type=image,src=links:1,dst=/p,image-subpath=data/{part}");
        host.run(&[
            "run",
            "--rm",
            "--network",
            "none",
            "--mount",
            &mount,
            "busybox",
            "ls",
            "-d",
            "/p/data",
            "/p",
        ])
    };
    // The root of the image.
    for link in ["root", "up"] {
        let path = format!("{link}{}", host.scratch().display());
        assert_eq!(part(link).out.trim(), "/p\n/p/data", "{link}");
        let refused = part(&path).err;
        assert!(refused.contains("no such file or directory"), "{path}: {refused}");
    }
    assert_eq!(part("link").out.trim(), "/p");
    for (part, why) in [
        ("../x", "subpath must be a relative path within the image"),
        ("nosuch", "cannot access path nosuch of the image: no such file or directory"),
    ] {
        let mount = format!("type=image,src=links:1,dst=/p,image-subpath={part}");
        let refused = host.run(&["run", "--rm", "--mount", &mount, "busybox", "true"]).err;
        assert!(refused.contains(why), "{refused}");
    }
    let refused =
        host.fails(125, &["run", "--mount", "type=image,src=nosuch,dst=/p", "busybox", "true"]);
    assert!(refused.contains("No such image: nosuch:latest"), "{refused}");
    let refused = host.fails(125, &["run", "--mount", "type=image,dst=/p", "busybox", "true"]);
    assert!(refused.contains("field Source must not be empty"), "{refused}");
}

/// In Docker's words for the image that a container was made from.
#[test]
fn who_mounts_an_image_keeps_it() {
    let host = with_data();
    let id = host.ok(&["image", "inspect", "-f", "{{.Id}}", "data:1"]);
    let short = &id["sha256:".len()..][..12];
    let mount = "type=image,src=data:1,dst=/img";
    let look = "until test -e /go; do :; done; cat /img/data/one";
    let cc = host.ok(&["run", "-d", "--name", "cc", "--mount", mount, "busybox", "sh", "-c", look]);
    let by = &cc[..12];
    let refused = |words: &[&str]| {
        let refused = host.fails(1, &[&["rmi"], words].concat());
        refused.strip_prefix("Error response from daemon: conflict: ").map(str::to_owned).unwrap()
    };
    let running = format!(
        "unable to delete {short} (cannot be forced) - image is being used by running container {by}"
    );
    assert_eq!(refused(&[short]), running);
    assert_eq!(refused(&["-f", short]), running);
    let named = format!(
        "unable to remove repository reference \"data:1\" (must force) - container {by} is using its referenced image {short}"
    );
    assert_eq!(refused(&["data:1"]), named);
    host.ok(&["exec", "cc", "touch", "/go"]);
    host.ok(&["wait", "cc"]);
    assert_eq!(host.ok(&["logs", "cc"]), "1");
    let stopped = format!(
        "unable to delete {short} (must be forced) - image is being used by stopped container {by}"
    );
    assert_eq!(refused(&[short]), stopped);
    host.ok(&["image", "prune", "-af"]);
    assert_eq!(host.ok(&["images", "-q", "data"]).len(), 12);
    // By force the image goes, and what is mounted of it stays, through a collection as well.
    host.ok(&["rmi", "-f", short]);
    host.ok(&["system", "check", "--repair"]);
    assert_eq!(host.ok(&["start", "-a", "cc"]), "1");
    let layers = || std::fs::read_dir(host.root().join("snapshots")).unwrap().count();
    let with = layers();
    host.ok(&["rm", "cc"]);
    host.ok(&["system", "check", "--repair"]);
    assert_eq!(layers(), with - 1, "the layer that only the mount kept is gone");
}

#[test]
fn a_container_that_runs_gets_an_image_as_well() {
    let host = with_data();
    host.ok(&["run", "-d", "--name", "cc", "busybox", "sleep", "1000"]);
    host.ok(&["update", "--mount", "type=image,src=data:1,dst=/img,image-subpath=data", "cc"]);
    assert_eq!(host.ok(&["exec", "cc", "cat", "/img/one"]), "1");
    assert!(host.fails(1, &["rmi", "data:1"]).contains("is using its referenced image"));
    host.ok(&["update", "--mount-rm", "/img", "cc"]);
    assert_eq!(host.run(&["exec", "cc", "cat", "/img/one"]).code, Some(1));
    host.ok(&["rmi", "data:1"]);
}
