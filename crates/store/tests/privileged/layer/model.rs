//! overlayfs shows of a stack of unpacked layers what the image specification says they mean.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use store::layer::{self, ApplyOptions};

use super::archive::Archive;
use super::{listing, overlay};
use sys::root::Root;

/// One entry of a layer.
#[derive(Debug, Clone)]
enum Op {
    Dir(String),
    File(String, u8),
    Whiteout(String),
    Opaque(String),
}

/// What is at each path: a directory, or a file with its content.
type Tree = BTreeMap<String, Option<u8>>;

fn remove(tree: &mut Tree, path: &str) {
    tree.retain(|at, _| at != path && !at.starts_with(&format!("{path}/")));
}

fn remove_below(tree: &mut Tree, dir: &str) {
    tree.retain(|at, _| !dir.is_empty() && !at.starts_with(&format!("{dir}/")));
}

fn put_dir(tree: &mut Tree, path: &str) {
    if let Some(parent) = Path::new(path).parent().and_then(Path::to_str).filter(|p| !p.is_empty())
    {
        put_dir(tree, parent);
    }
    if tree.get(path) != Some(&None) {
        remove(tree, path);
        tree.insert(path.to_owned(), None);
    }
}

fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent)
}

/// The specification: whiteouts hide what is below, whatever their place in the archive; then the
/// entries come one after another.
fn apply_model(lower: &Tree, ops: &[Op]) -> Tree {
    let mut tree = lower.clone();
    for op in ops {
        match op {
            Op::Whiteout(path) => remove(&mut tree, path),
            Op::Opaque(dir) => remove_below(&mut tree, dir),
            Op::Dir(_) | Op::File(..) => {}
        }
    }
    for op in ops {
        let (Op::Dir(path) | Op::File(path, _) | Op::Whiteout(path) | Op::Opaque(path)) = op;
        if let Some(parent) = parent(path) {
            put_dir(&mut tree, parent);
        }
        match op {
            Op::Dir(path) => put_dir(&mut tree, path),
            Op::File(path, content) => {
                remove(&mut tree, path);
                tree.insert(path.clone(), Some(*content));
            }
            Op::Opaque(path) if !path.is_empty() => put_dir(&mut tree, path),
            Op::Whiteout(_) | Op::Opaque(_) => {}
        }
    }
    tree
}

/// Leaves out entries below a file of the same layer, which are refused.
fn consistent(ops: Vec<Op>) -> Vec<Op> {
    let mut own = Tree::new();
    let mut kept = Vec::new();
    for op in ops {
        let (Op::Dir(path) | Op::File(path, _) | Op::Whiteout(path) | Op::Opaque(path)) = &op;
        let mut above: Vec<_> =
            Path::new(path).ancestors().skip(1).filter_map(Path::to_str).collect();
        if matches!(op, Op::Opaque(_)) {
            above.push(path);
        }
        if above.iter().any(|dir| matches!(own.get(*dir), Some(Some(_)))) {
            continue;
        }
        if let Some(dir) = parent(path) {
            put_dir(&mut own, dir);
        }
        match &op {
            Op::Dir(path) => put_dir(&mut own, path),
            Op::File(path, content) => {
                remove(&mut own, path);
                own.insert(path.clone(), Some(*content));
            }
            Op::Opaque(path) if !path.is_empty() => put_dir(&mut own, path),
            Op::Whiteout(_) | Op::Opaque(_) => {}
        }
        kept.push(op);
    }
    kept
}

fn archive(ops: &[Op]) -> Vec<u8> {
    let at = |dir: &str, name: &str| {
        if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
    };
    let add = |archive: Archive, op: &Op| match op {
        Op::Dir(path) => archive.dir(&format!("{path}/")),
        Op::File(path, content) => archive.file(path, &content.to_string()),
        Op::Opaque(dir) => archive.file(&at(dir, ".wh..wh..opq"), ""),
        Op::Whiteout(path) => {
            let name = path.rsplit('/').next().unwrap_or(path);
            archive.file(&at(parent(path).unwrap_or(""), &format!(".wh.{name}")), "")
        }
    };
    ops.iter().fold(Archive::new(), add).end()
}

fn path() -> impl Strategy<Value = String> {
    "[ab](/[ab]){0,2}"
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => path().prop_map(Op::Dir),
        4 => (path(), any::<u8>()).prop_map(|(path, content)| Op::File(path, content)),
        3 => path().prop_map(Op::Whiteout),
        1 => prop_oneof![path(), Just(String::new())].prop_map(Op::Opaque),
    ]
}

fn expected(tree: &Tree) -> Vec<String> {
    let line = |(path, node): (&String, &Option<u8>)| match node {
        None => format!("{path} dir"),
        Some(content) => format!("{path} file \"{content}\""),
    };
    let mut lines: Vec<_> = tree.iter().map(line).collect();
    lines.sort();
    lines
}

fn shown(root: &Root) -> Vec<String> {
    let short = |line: &str| {
        let mut words = line.split(' ');
        let path = words.next().unwrap_or_default();
        let rest: Vec<_> = words.skip(2).take_while(|word| !word.contains("overlay")).collect();
        format!("{path} {}", rest.join(" "))
    };
    let mut lines: Vec<_> = listing(root).lines().map(short).collect();
    lines.sort();
    lines
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stack_of_layers_is_what_the_specification_says(
        layers in prop::collection::vec(prop::collection::vec(op(), 0..8).prop_map(consistent), 1..5),
    ) {
        let base = tempfile::Builder::new().prefix("dhow-model-").tempdir().unwrap();
        let mut model = Tree::new();
        // overlayfs wants two lower directories where nothing is writable.
        let (empty, bottom) = (base.path().join("empty"), base.path().join("bottom"));
        std::fs::create_dir(&empty).unwrap();
        std::fs::create_dir(&bottom).unwrap();
        let mut stack = vec![empty.clone(), bottom.clone()];
        for (number, ops) in layers.iter().enumerate() {
            let dir = base.path().join(number.to_string());
            std::fs::create_dir(&dir).unwrap();
            let root = Root::open(&dir).unwrap();
            let applied = layer::apply(&archive(ops)[..], &root, &ApplyOptions::default()).unwrap();
            if applied.opaque_root {
                stack = vec![empty.clone(), bottom.clone()];
            }
            stack.insert(0, dir);
            model = apply_model(&model, ops);
        }
        let lowers: Vec<&Path> = stack.iter().map(std::path::PathBuf::as_path).collect();
        let merged = overlay(&lowers, None);
        prop_assert_eq!(shown(&merged), expected(&model));
    }
}
