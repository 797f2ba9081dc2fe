//! Tells the linker where the program begins: `sys::entry` comes before the C library.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
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
    if is_target && is_fixed {
        println!("cargo::rustc-link-arg-bins=-Wl,--entry=dhow_start");
    }
}
