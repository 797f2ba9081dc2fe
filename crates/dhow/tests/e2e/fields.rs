//! `--format`: every field that Docker's lists have has its value, alone and in JSON.

use serde_json::{Map, Value};
use testkit::Host;

use crate::host;

/// What a field has to hold.
enum Holds {
    /// This text.
    Is(&'static str),
    /// A short id.
    Id,
    /// A moment with its zone.
    Moment,
    /// A time that is over.
    Ago,
    /// A number with a unit.
    Size,
    /// Two of them.
    Sizes,
    /// A share of a hundred.
    Percent,
    /// Something that begins so.
    Begins(&'static str),
    /// A size, and that it is all there is.
    Whole,
}

use Holds::{Ago, Begins, Id, Is, Moment, Percent, Size, Sizes, Whole};

impl Holds {
    fn fits(&self, text: &str) -> bool {
        let is_size = |text: &str| {
            let (number, unit) = text.split_at(text.find(char::is_alphabetic).unwrap_or_default());
            number.parse::<f64>().is_ok() && unit.ends_with('B')
        };
        match self {
            Is(want) => text == *want,
            Id => text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit()),
            Moment => text.len() > 19 && text.starts_with("20") && text.as_bytes()[13] == b':',
            Ago => text.ends_with(" ago"),
            Size => is_size(text),
            Sizes => text.split_once(" / ").is_some_and(|(a, b)| is_size(a) && is_size(b)),
            Percent => text.strip_suffix('%').is_some_and(|share| share.parse::<f64>().is_ok()),
            Whole => text.strip_suffix(" (100%)").is_some_and(is_size),
            Begins(want) => text.starts_with(want) && text != *want,
        }
    }
}

/// The first line that a list has in this format.
fn first(host: &Host, list: &[&str], format: &str) -> String {
    let text = host.ok(&[list, &["--format", format]].concat());
    text.lines().next().unwrap_or_default().to_owned()
}

/// A list has these fields and no other ones.
#[track_caller]
fn check(host: &Host, list: &[&str], fields: &[(&str, Holds)]) {
    let json: Map<String, Value> = serde_json::from_str(&first(host, list, "json")).unwrap();
    let mut names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    assert_eq!(json.keys().collect::<Vec<_>>(), names, "{list:?}");
    // One call for all of them; a value has no tab in it.
    let each: Vec<String> = fields.iter().map(|(name, _)| format!("{{{{.{name}}}}}")).collect();
    let line = first(host, list, &each.join("\t"));
    let values: Vec<&str> = line.split('\t').collect();
    assert_eq!(values.len(), fields.len(), "{line}");
    for ((name, holds), value) in fields.iter().zip(values) {
        assert!(holds.fits(value), "{list:?}: {name} is {value:?}");
        // What moves on between two calls need not be the same.
        if matches!(holds, Is(_) | Id | Moment) {
            assert_eq!(json[*name], value, "{list:?}: {name}");
        }
    }
}

fn of_containers() -> [(&'static str, Holds); 16] {
    [
        ("ID", Id),
        ("Names", Is("web")),
        ("Image", Is("busybox")),
        ("Command", Is("\"sleep 100\"")),
        ("CreatedAt", Moment),
        ("RunningFor", Ago),
        ("Ports", Is("80/tcp")),
        ("State", Is("running")),
        ("Status", Begins("Up ")),
        ("Size", Begins("2B (virtual ")),
        ("Labels", Is("a=b")),
        ("Mounts", Is("/tmp,vol")),
        ("LocalVolumes", Is("1")),
        ("Networks", Is("bridge")),
        ("Platform", Is("")),
        ("HealthStatus", Is("")),
    ]
}

#[test]
fn of_what_runs() {
    let host = host();
    host.ok(&["volume", "create", "--label", "k=v", "vol"]);
    let flags = ["run", "-d", "--name", "web", "-l", "a=b", "-v", "vol:/v", "-v", "/tmp:/h"];
    host.ok(&[&flags[..], &["--expose", "80", "busybox", "sleep", "100"]].concat());
    host.ok(&["exec", "web", "sh", "-c", "echo 1 >/new"]);
    check(&host, &["ps", "-s"], &of_containers());
    check(
        &host,
        &["stats", "--no-stream", "web"],
        &[
            ("Container", Is("web")),
            ("ID", Id),
            ("Name", Is("web")),
            ("CPUPerc", Percent),
            ("MemUsage", Sizes),
            ("MemPerc", Percent),
            ("NetIO", Sizes),
            ("BlockIO", Sizes),
            ("PIDs", Is("1")),
        ],
    );
    check(
        &host,
        &["volume", "ls"],
        &[
            ("Name", Is("vol")),
            ("Driver", Is("local")),
            ("Scope", Is("local")),
            ("Mountpoint", Begins("/")),
            ("Labels", Is("k=v")),
            ("Links", Is("N/A")),
            ("Size", Is("N/A")),
            ("Group", Is("N/A")),
            ("Availability", Is("N/A")),
            ("Status", Is("N/A")),
        ],
    );
    assert_eq!(first(&host, &["volume", "ls"], "{{.Label \"k\"}}"), "v");
    assert_eq!(first(&host, &["ps"], "{{.Label \"a\"}}"), "b");
}

#[test]
fn of_what_is_there() {
    let host = host();
    check(
        &host,
        &["images"],
        &[
            ("ID", Id),
            ("Repository", Is("busybox")),
            ("Tag", Is("latest")),
            ("Digest", Is("<none>")),
            ("CreatedSince", Ago),
            ("CreatedAt", Moment),
            ("Size", Size),
            ("Containers", Is("0")),
            ("SharedSize", Is("N/A")),
            ("UniqueSize", Is("N/A")),
            ("VirtualSize", Size),
        ],
    );
    check(
        &host,
        &["history", "busybox"],
        &[
            ("ID", Id),
            ("CreatedSince", Ago),
            ("CreatedAt", Moment),
            ("CreatedBy", Is("testkit")),
            ("Size", Size),
            ("Comment", Is("")),
        ],
    );
    check(
        &host,
        &["network", "ls", "--filter", "name=none"],
        &[
            ("ID", Id),
            ("Name", Is("none")),
            ("Driver", Is("null")),
            ("Scope", Is("local")),
            ("IPv4", Is("true")),
            ("IPv6", Is("false")),
            ("Internal", Is("false")),
            ("Labels", Is("")),
            ("CreatedAt", Moment),
        ],
    );
    check(
        &host,
        &["system", "df"],
        &[
            ("Type", Is("Images")),
            ("TotalCount", Is("1")),
            ("Active", Is("0")),
            ("Size", Size),
            ("Reclaimable", Whole),
        ],
    );
}

#[test]
fn a_field_that_is_not_there_is_named() {
    let host = host();
    let told = host.fails(1, &["images", "--format", "{{.Nonsense}}"]);
    assert!(told.contains("Nonsense"), "{told}");
}
