//! The list of what the linker puts side by side in front of a release: the functions that a start executes.
//!
//! Owns how the list is found and in which groups it stands. What the linker makes of it is `crates/dhow/build.rs`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use regex_lite::Regex;

use crate::bench::{inputs, oci};
use crate::{demo, host, images};

/// The list in the repository.
const LIST: &str = "crates/dhow/order.txt";

/// The runtime alone. A delete that comes before the kernel has buried the process is repeated.
const RUNTIME: &str = r#"set -e
dhow() { "$1/dhow" oci --root "$1/state" "$2" "$3" $4 $5 </dev/null; }
dhow "$1" create order --bundle "$1/bundle" >"$1/output" 2>&1
dhow "$1" start order
until dhow "$1" delete order 2>/dev/null; do :; done
"#;

/// The engine's commands that are given most, with their guardians.
const ENGINE: &str = r#"set -e
export DHOW_ROOT="$1/root" DHOW_RUN="$1/run"
"$1/dhow" run --rm busybox true
"$1/dhow" run --rm --network none busybox true
"$1/dhow" run -d --name order busybox sleep 1000 >/dev/null
"$1/dhow" exec order true
"$1/dhow" ps -q >/dev/null
"$1/dhow" rm -f order >/dev/null
"#;

const HEADER: &str = "\
# What the linker puts first in a release, side by side: functions, and objects of the C library. `cargo xtask order` makes this
# list: it executes a release and sees what is called. A star stands for what changes in a name with the compiler, the dependencies
# and the profile; a name that nothing has any more does no harm, and no good. First comes what only `dhow oci` calls in create,
# start and delete, then what these and the engine's run, exec, ps and rm both call, then what the engine alone does.
";

/// So many bytes of each name in the list have to lie in front: a function that is executed has twice as many.
const EACH: u64 = 400;

/// Builds a release, watches it at its usual work, and writes the list.
///
/// # Errors
/// The first step that fails.
pub(crate) fn run() -> Result<()> {
    let dir = host::workspace().join("target/order");
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))?;
    }
    fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    let map = dir.join("map");
    let told = format!("link-arg=-Wl,-Map={}", map.display());
    host::say("building");
    let words = ["rustc", "--release", "--package", "dhow", "--bin", "dhow", "--", "-C", &told];
    host::run("cargo", &words)?;
    host::run("cargo", &["build", "--package", "sys", "--example", "touched"])?;
    let text = places(&fs::read_to_string(&map)?);
    fs::copy(demo::binary()?, dir.join("dhow"))?;
    let listed: String = text.keys().fold(String::new(), |mut listed, address| {
        let _ = writeln!(listed, "{address:x}");
        listed
    });
    fs::write(dir.join("functions"), listed)?;
    oci::bundle(&dir)?;
    let archive = images::make_busybox_only(&host::workspace().join("target/images"))?;
    let dhow =
        |words: &[&str]| host::finish(host::dhow(&dir.join("dhow"), &dir, words), "dhow", words);
    dhow(&["load", "-q", "-i", &inputs::text(&archive)])?;
    let touched = touched(&dir, RUNTIME, &text)
        .and_then(|runtime| Ok((runtime, touched(&dir, ENGINE, &text)?)));
    oci::remove_groups();
    dhow(&["system", "reset", "--force"])?;
    let (runtime, engine) = touched?;
    let list = list(&runtime, &engine);
    fs::write(host::workspace().join(LIST), &list)?;
    fs::remove_dir_all(&dir)?;
    host::say(&format!("{LIST}: {} lines; build again to have it so", list.lines().count()));
    Ok(())
}

/// Says so if a release has been linked by a list that was made for another one.
///
/// # Errors
/// The list or the program cannot be read.
pub(crate) fn check(program: &Path) -> Result<()> {
    let list = fs::read_to_string(host::workspace().join(LIST))?;
    let sections = host::output("readelf", &["--sections", "--wide", &inputs::text(program)])?;
    if !is_followed(&list, &sections) {
        host::say(&format!(
            "{LIST} is not this release's: a start takes more memory; cargo xtask order makes it anew"
        ));
    }
    Ok(())
}

/// Sections are told as `[ 8] .text.first PROGBITS 00000000007e0000 5e0000 4b4fe3 00 AX …`.
fn is_followed(list: &str, sections: &str) -> bool {
    let names = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
    let line = sections.lines().find_map(|line| line.split_once(" .text.first "));
    let size = line.and_then(|(_, rest)| rest.split_whitespace().nth(3));
    let size = size.and_then(|size| u64::from_str_radix(size, 16).ok());
    names > 0 && size.is_some_and(|size| size / EACH >= names as u64)
}

/// What the script's processes execute, in the order of their first time.
fn touched(dir: &Path, script: &str, text: &Places) -> Result<Vec<String>> {
    let path = |name| inputs::text(&dir.join(name));
    let tracer = demo::built("debug")?.with_file_name("examples").join("touched");
    let (program, functions, output) = (path("dhow"), path("functions"), path("touched"));
    let words = [&program, &functions, &output, "/bin/sh", "-c", script, "sh", &path("")];
    host::run(&inputs::text(&tracer), &words)?;
    let mut known = BTreeSet::new();
    let touched = fs::read_to_string(&output)?;
    let place = |line| text.get(&u64::from_str_radix(line, 16).ok()?);
    let mut names = Vec::new();
    for name in touched.lines().filter_map(place) {
        let name = pattern(name)?;
        if known.insert(name.clone()) {
            names.push(name);
        }
    }
    ensure!(!names.is_empty(), "nothing of the program was executed");
    Ok(names)
}

fn list(runtime: &[String], engine: &[String]) -> String {
    let both = |name: &&String| runtime.contains(name) && engine.contains(name);
    let groups = [
        runtime.iter().filter(|name| !both(name)).collect::<Vec<_>>(),
        runtime.iter().filter(both).collect(),
        engine.iter().filter(|name| !both(name)).collect(),
    ];
    let mut text = HEADER.to_owned();
    for group in groups {
        text.push('\n');
        for name in group {
            text.push_str(name);
            text.push('\n');
        }
    }
    text
}

/// Where functions begin, and in what: a section's function, or a whole object of the C library.
type Places = BTreeMap<u64, String>;

/// Reads the linker's map.
///
/// Columns are address, load address, size, alignment and what it is: an input section of an object
/// (`…/libc.a(puts.o):(.text)`), or a symbol in the section above.
fn places(map: &str) -> Places {
    let mut places = Places::new();
    let mut name = None;
    for line in map.lines() {
        let mut words = line.split_whitespace();
        let address = words.next().and_then(|word| u64::from_str_radix(word, 16).ok());
        let (Some(address), Some(what)) = (address, words.nth(3)) else { continue };
        if let Some((object, section)) = what.split_once(":(.") {
            name = placed(object, section.trim_end_matches(')'));
        }
        if let Some(name) = &name {
            places.entry(address).or_insert_with(|| name.clone());
        }
    }
    places
}

/// The name of what stands in a section. C objects that have one section for all are placed whole.
fn placed(object: &str, section: &str) -> Option<String> {
    let text = section.strip_prefix("text")?;
    if let Some((_, name)) = object.split_once("/libc.a(") {
        return Some(name.trim_end_matches(')').to_owned());
    }
    text.strip_prefix(".unlikely").unwrap_or(text).strip_prefix('.').map(str::to_owned)
}

/// What in a symbol's name changes from build to build: what tells a crate from others of its name (a hash of its version,
/// features and dependencies), the places where what is said again was said first, which that hash moves (RFC 2603), the
/// hash at the end of what comes with the compiler, in the older mangling, and the number of what the optimiser has split.
const CHANGES: [(&str, &str); 4] = [
    ("Cs[0-9A-Za-z]{6,12}_", "Cs*_"),
    ("B[0-9A-Za-z]{0,3}_", "B*_"),
    ("17h[0-9a-f]{16}E", "17h*E"),
    (r"\.llvm\.[0-9]+", ".llvm.*"),
];

/// A symbol's name with a star for all that changes.
fn pattern(name: &str) -> Result<String> {
    CHANGES.iter().try_fold(name.to_owned(), |name, (what, star)| {
        Ok(Regex::new(what)?.replace_all(&name, *star).into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "\
             VMA              LMA     Size Align Out     In      Symbol
          580000           580000   15ffee8    64 .text
          580000           580000       35    16         /x/dhow.o:(.text._ZN4core3fmt5write17h0123456789abcdefE)
          580000           580000       35     1                 _ZN4core3fmt5write17h0123456789abcdefE
          580040           580040       20    16         /x/dhow.o:(.text.unlikely._ZN3std4cold17h0123456789abcdefE)
          580060           580060      100    16         /usr/lib/libc.a(malloc.o):(.text)
          580080           580080       10     1                 free
          580160           580160        8    16         /x/libring.a(aes.o):(.text)
          580170           580170        8    16         /x/libsqlite3.a(sqlite3.o):(.text.sqlite3_step)
          600000           600000        8    16         /x/dhow.o:(.rodata.cst8)
";

    #[test]
    fn a_function_is_placed_by_its_section_and_one_of_the_c_library_by_its_object() {
        let placed = places(MAP);
        let found: Vec<_> = placed.iter().map(|(at, name)| (*at, name.as_str())).collect();
        assert_eq!(
            found,
            [
                (0x58_0000, "_ZN4core3fmt5write17h0123456789abcdefE"),
                (0x58_0040, "_ZN3std4cold17h0123456789abcdefE"),
                (0x58_0060, "malloc.o"),
                (0x58_0080, "malloc.o"),
                (0x58_0170, "sqlite3_step"),
            ]
        );
    }

    #[test]
    fn a_list_of_another_release_is_noticed() {
        let sections = |size| {
            format!(
                "  [ 8] .text.first       PROGBITS        00000000007e0000 5e0000 {size} 00  AX  0   0 65536\n"
            )
        };
        assert!(is_followed("# two\n\none\ntwo\n", &sections("000320")));
        assert!(!is_followed("# two\n\none\ntwo\n", &sections("00031f")));
        assert!(!is_followed("one\n", "  [ 8] .text PROGBITS 0 0 4b4fe3 00\n"));
        assert!(!is_followed("# none\n", &sections("000320")));
    }

    #[test]
    fn a_name_is_the_same_after_another_build() {
        let same =
            |name: &str, wanted: &str| assert_eq!(pattern(name).ok().as_deref(), Some(wanted));
        same(
            "_RINvNtCs6QUzcKZ5DMf_10serde_core2de9next_elemNtCs1a2B3c4D5e6_7runtime4SpecEB4_",
            "_RINvNtCs*_10serde_core2de9next_elemNtCs*_7runtime4SpecEB*_",
        );
        same("_RNvCs6QUzcKZ5DMf_4dhow4main.llvm.17893", "_RNvCs*_4dhow4main.llvm.*");
        same("_ZN4core3fmt5write17h0123456789abcdefE", "_ZN4core3fmt5write17h*E");
        same("sqlite3_step", "sqlite3_step");
        same("malloc.o", "malloc.o");
    }

    #[test]
    fn what_both_call_lies_between_what_one_of_them_calls() {
        let names = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let list = list(&names("start create read"), &names("start read run"));
        assert_eq!(list.strip_prefix(HEADER), Some("\ncreate\n\nstart\nread\n\nrun\n"));
    }
}
