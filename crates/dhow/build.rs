//! Tells the linker where the program begins, and what of it lies together.
//!
//! `sys::entry` comes before the C library. What every start executes (`order.txt`, which `cargo xtask order` makes)
//! is put side by side: a page that is touched is mapped with the fifteen around it.

use std::path::{Path, PathBuf};

/// What comes first in a release.
const ORDER: &str = "order.txt";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={ORDER}");
    println!("cargo::rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    let is = |name, value| std::env::var(name).is_ok_and(|target| target == value);
    let is_target = is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ARCH", "x86_64")
        && is("CARGO_CFG_TARGET_ENV", "gnu");
    // A program that is loaded anywhere, or by a dynamic linker, is relocated first: nothing of ours may run before.
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let pairs =
        || flags.split('\x1f').filter_map(|word| word.trim_start_matches("-C").split_once('='));
    let last = |wanted: &str| pairs().rfind(|(name, _)| *name == wanted);
    let is_fixed = last("relocation-model").is_some_and(|(_, model)| model == "static")
        && pairs().any(|(name, all)| {
            name == "target-feature" && all.split(',').any(|one| one == "+crt-static")
        });
    if !(is_target && is_fixed) {
        return;
    }
    println!("cargo::rustc-link-arg-bins=-Wl,--entry=dhow_start");
    if is("PROFILE", "release") {
        let folder = std::env::var("OUT_DIR").map(PathBuf::from).unwrap_or_default();
        if let Some(script) = write_script(&folder) {
            println!("cargo::rustc-link-arg-bins=-Wl,--script={}", script.display());
        }
    }
}

/// A script that adds to the linker's own: what the list names, in its order, in front of all other text. None for an
/// empty list.
fn write_script(folder: &Path) -> Option<PathBuf> {
    let list = std::fs::read_to_string(ORDER).expect("the list of what comes first");
    let named = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let sections: String = named.map(section).collect();
    // 64 KiB is what is mapped at once.
    let script = format!(
        "SECTIONS {{ .text.first : ALIGN(0x10000) {{\n{sections}}} }} INSERT BEFORE .text;\n"
    );
    let path = folder.join("order.ld");
    std::fs::write(&path, script).expect("a place for the linker's script");
    (!sections.is_empty()).then_some(path)
}

/// An object of the C library, or a function, which is in a section of its own.
fn section(name: &str) -> String {
    if name.ends_with(".o") {
        format!("*libc.a:{name}(.text .text.*)\n")
    } else {
        format!("*(.text.{name} .text.unlikely.{name})\n")
    }
}
