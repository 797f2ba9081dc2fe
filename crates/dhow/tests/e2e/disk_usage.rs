//! What is taken on the disk (`system df`), and what the prunes give back.

use crate::host;

/// The fields of a line of `system df`.
const LINE: &str = "{{.Type}}|{{.TotalCount}}|{{.Active}}|{{.Size}}|{{.Reclaimable}}";

#[test]
fn usage_is_counted_to_the_byte() {
    let host = host();
    let empty = host.ok(&["system", "df", "--format", "{{.Type}} {{.Size}}"]);
    assert!(empty.ends_with("Containers 0B\nLocal Volumes 0B\nBuild Cache 0B"), "{empty}");

    // One file with two names counts once.
    let script = "head -c 3000 /dev/zero >/z; ln /z /y; head -c 500 /dev/zero >/v/f; mkdir -p /a/b; echo hi >/a/b/c";
    host.ok(&["run", "--name", "ended", "-v", "used:/v", "busybox", "sh", "-c", script]);
    host.ok(&[
        "run",
        "-d",
        "--name",
        "runs",
        "busybox",
        "sh",
        "-c",
        "echo 1234 >/w; exec sleep 1000",
    ]);
    let idle = host.ok(&["volume", "create", "idle"]);
    host.ok(&[
        "run",
        "--rm",
        "-v",
        "idle:/v",
        "busybox",
        "sh",
        "-c",
        "head -c 1500 /dev/zero >/v/f",
    ]);
    assert_eq!(idle, "idle");

    let layer = host.ok(&["image", "inspect", "-f", "{{.Size}}", "busybox"]);
    let shown = host.ok(&["system", "df", "--format", LINE]);
    let rows: Vec<&str> = shown.lines().collect();
    assert!(rows[0].starts_with("Images|1|1|"), "{shown}");
    // 3000 and "hi\n" are what the ended one leaves, "1234\n" is the running one's.
    assert_eq!(rows[1], "Containers|2|1|3.008kB|3.003kB (99%)");
    assert_eq!(rows[2], "Local Volumes|2|1|2kB|1.5kB (75%)");
    assert_eq!(rows[3], "Build Cache|0|0|0B|0B");

    let sizes =
        "{{range .Images}}{{.Repository}} {{.SharedSize}} {{.UniqueSize}} {{.Containers}};{{end}}";
    let alone = host.ok(&["system", "df", "-v", "--format", sizes]);
    assert!(alone.starts_with("busybox 0B ") && alone.ends_with(" 2;"), "{alone}");
    let sizes = "{{range .Containers}}{{.Names}}={{.Size}} {{end}}{{range .Volumes}}{{.Name}}={{.Links}}/{{.Size}} {{end}}";
    let all = host.ok(&["system", "df", "-v", "--format", sizes]);
    assert_eq!(all, "runs=5B ended=3kB idle=0/1.5kB used=1/500B ");
    assert!(layer.parse::<u64>().unwrap() > 1_000_000, "{layer}");
}

#[test]
fn what_is_kept_of_removed_containers_is_counted_and_pruned() {
    let host = host();
    host.ok(&["run", "--name", "gone", "busybox", "sh", "-c", "yes | head -n 5000"]);
    host.ok(&["rm", "gone"]);
    let line = || {
        let shown = host.ok(&["system", "df", "--format", LINE]);
        shown.lines().nth(1).unwrap_or_default().to_owned()
    };
    let counted = line();
    let fields: Vec<&str> = counted.split('|').collect();
    let size = fields[3];
    assert!(size.ends_with("kB") && counted == format!("Containers|0|0|{size}|{size} (100%)"));
    let all = host.ok(&["system", "df", "-v"]);
    assert!(all.contains(&format!("\nLogs of removed containers: {size}\n")), "{all}");
    // They fit no filter.
    host.ok(&["container", "prune", "-f", "--filter", "label=x"]);
    assert_eq!(line(), counted);
    let pruned = host.ok(&["container", "prune", "-f"]);
    assert_eq!(pruned, format!("Total reclaimed space: {size}"));
    assert_eq!(line(), "Containers|0|0|0B|0B");
}

#[test]
fn layers_that_two_images_have_are_counted_once() {
    let host = host();
    let archive = host.scratch().join("same.tar");
    let path = archive.to_string_lossy();
    host.ok(&["create", "--name", "made", "busybox"]);
    host.ok(&["export", "-o", &path, "made"]);
    // The same tree under another configuration: two images, one layer.
    host.ok(&["import", "-c", "ENV A=1", &path, "one"]);
    host.ok(&["import", "-c", "ENV A=2", &path, "two"]);
    let format = "{{range .Images}}{{.Repository}} {{.SharedSize}} {{.UniqueSize}}\n{{end}}";
    let shown = host.ok(&["system", "df", "-v", "--format", format]);
    let of = |name: &str| {
        let line = shown.lines().find(|line| line.starts_with(name));
        line.map(|line| line.split(' ').skip(1).collect::<Vec<_>>()).unwrap_or_default()
    };
    assert_eq!(of("one")[1], "0B", "{shown}");
    assert_eq!(of("one"), of("two"));
    assert_ne!(of("one")[0], "0B", "{shown}");
    // Nothing was made from them: they, and not what busybox has for itself, could go.
    host.ok(&["rm", "made"]);
    let all = host.ok(&["system", "df", "--format", "{{.Active}} {{.Reclaimable}}"]);
    assert!(
        all.lines()
            .next()
            .is_some_and(|images| images.starts_with("0 ") && images.ends_with("(100%)")),
        "{all}"
    );
}

#[test]
fn a_prune_of_all_goes_in_dockers_order() {
    let host = host();
    let ended = host.ok(&["create", "-v", "/anonymous", "busybox"]);
    host.ok(&["volume", "create", "named"]);
    let unused = host.ok(&["volume", "create"]);
    let runs = host.ok(&["run", "-d", "--label", "keep", "busybox", "sleep", "1000"]);

    let asked = host.feed(&["system", "prune"], b"n\n");
    assert_eq!(asked.code, Some(0), "{}", asked.err);
    assert!(asked.out.starts_with("WARNING! This will remove:\n  - all stopped"), "{}", asked.out);
    assert!(asked.out.ends_with("[y/N] "), "{}", asked.out);
    let kept = host.ok(&["system", "prune", "-f", "--filter", "label=other"]);
    assert_eq!(kept, "Total reclaimed space: 0B");

    let gone = host.ok(&["system", "prune", "-f", "--volumes"]);
    assert_eq!(
        gone,
        format!(
            "Deleted Containers:\n{ended}\n\nDeleted Volumes:\n{}\n\nTotal reclaimed space: 0B",
            {
                // Its own anonymous volume is one that nobody uses by now.
                let mut volumes = volumes_of(&gone);
                volumes.sort_unstable();
                assert!(volumes.contains(&unused.as_str()) && volumes.len() == 2, "{gone}");
                volumes_of(&gone).join("\n")
            }
        )
    );
    assert_eq!(host.ok(&["volume", "ls", "-q"]), "named");
    host.ok(&["rm", "-f", &runs]);
    let images = host.ok(&["system", "prune", "-a", "-f"]);
    assert!(images.starts_with("Deleted Images:\nuntagged: busybox:latest\n"), "{images}");
    assert_eq!(host.ok(&["images", "-q"]), "");
    assert_eq!(host.ok(&["network", "prune", "-f"]), "");
    assert_eq!(host.ok(&["builder", "prune", "-f"]), "Total reclaimed space: 0B");
}

/// The names between the heading of volumes and the empty line after it.
fn volumes_of(shown: &str) -> Vec<&str> {
    let lines = shown.lines().skip_while(|line| *line != "Deleted Volumes:").skip(1);
    lines.take_while(|line| !line.is_empty()).collect()
}

#[test]
fn what_no_prune_understands_is_refused() {
    let host = host();
    let refused = |words: &[&str], why: &str| {
        let told = host.fails(1, words);
        assert!(told.contains(why), "{words:?}: {told}");
    };
    for kind in ["container", "image", "volume", "network", "builder", "system"] {
        refused(&[kind, "prune", "-f", "--filter", "foo=1"], "invalid filter 'foo'");
    }
    refused(&["system", "prune", "-f", "--filter", "until=x"], "until");
    refused(
        &["system", "prune", "-f", "--volumes", "--filter", "until=1h"],
        "ERROR: The \"until\" filter is not supported with \"--volumes\"",
    );
    refused(&["system", "df", "x"], "'dhow system df' accepts no arguments");
    // What the user has set for every prune holds here as well.
    let config = host.scratch().join(".docker");
    std::fs::create_dir(&config).unwrap();
    std::fs::write(config.join("config.json"), r#"{"pruneFilters":["label!=keep"]}"#).unwrap();
    host.ok(&["create", "--name", "kept", "--label", "keep", "busybox"]);
    assert_eq!(host.ok(&["container", "prune", "-f"]), "Total reclaimed space: 0B");
    let gone = host.ok(&["container", "prune", "-f", "--filter", "label=keep"]);
    assert!(gone.starts_with("Deleted Containers:\n"), "{gone}");
}
