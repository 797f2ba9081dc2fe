//! What is mounted: binds, volumes, tmpfs.

use super::settings::{given, listed, mapped};
use super::{Setting, number};
use docker_api::json::Tree;
use docker_api::types::Map;
use docker_api::types::config::ContainerConfig;
use docker_api::types::host_config::{BindOptions, HostConfig, Mount, VolumeOptions};
use docker_api::types::images::ImageConfig;

/// What is `/dev/shm` unless somebody says otherwise.
const USUAL_SHM: i64 = 64 << 20;

pub(super) fn add(
    config: &ContainerConfig,
    image: &ImageConfig,
    host: &HostConfig,
    all: &mut Vec<Setting>,
) {
    let inherited = |target: &&String| {
        image.volumes.as_ref().is_some_and(|volumes| volumes.contains_key(*target))
    };
    let anonymous = config.volumes.iter().flat_map(Map::keys).filter(|target| !inherited(target));
    let short: Vec<&String> = host.binds.iter().flatten().chain(anonymous).collect();
    let long = host.mounts.as_deref().unwrap_or_default();
    let volumes = short.iter().flat_map(|volume| ["--volume".to_owned(), (*volume).clone()]);
    let mounts = long.iter().flat_map(|mount| ["--mount".to_owned(), csv(mount)]);
    let words: Vec<String> = volumes.chain(mounts).collect();
    if !words.is_empty() {
        // Both spellings are one list of a service.
        let short = short.iter().map(|volume| Tree::String((*volume).clone()));
        let list = short.chain(long.iter().map(object)).collect();
        all.push(Setting::new(words, "volumes", Tree::Array(list)));
    }
    tmpfs(host, all);
    given(all, "volume-driver", "", &host.volume_driver);
    let from = host.volumes_from.iter().flatten();
    let words = from.clone().flat_map(|name| ["--volumes-from".to_owned(), name.clone()]);
    let names = from.map(|name| Tree::String(format!("container:{name}")));
    let words: Vec<String> = words.collect();
    if !words.is_empty() {
        all.push(Setting::new(words, "volumes_from", Tree::Array(names.collect())));
    }
    mapped(all, "storage-opt", "storage_opt", host.storage_opt.iter().flatten());
    if host.shm_size != 0 && host.shm_size != USUAL_SHM {
        all.push(Setting::number("shm-size", "shm_size", host.shm_size));
    }
}

/// `path:options`, or the path alone.
fn tmpfs(host: &HostConfig, all: &mut Vec<Setting>) {
    let word = |(path, options): (&String, &String)| {
        if options.is_empty() { path.clone() } else { format!("{path}:{options}") }
    };
    let list: Vec<String> = host.tmpfs.iter().flatten().map(word).collect();
    listed(all, "tmpfs", "tmpfs", Some(&list));
}

/// The volumes that have a name.
pub(super) fn named_volumes(host: &HostConfig) -> Vec<String> {
    let source = |bind: &String| {
        let (source, _) = bind.split_once(':')?;
        (!source.starts_with('/')).then(|| source.to_owned())
    };
    let mounted = |mount: &Mount| {
        (mount.kind == "volume" && !mount.source.is_empty()).then(|| mount.source.clone())
    };
    let mounts = host.mounts.iter().flatten().filter_map(mounted);
    let mut names: Vec<String> =
        host.binds.iter().flatten().filter_map(source).chain(mounts).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// A field of a mount: the name on the command line and the path of names in a service, each empty
/// where there is no word for it, and the value.
type Field = (&'static str, &'static [&'static str], Tree);

fn text(text: &str) -> Tree {
    Tree::String(text.to_owned())
}

fn fields(mount: &Mount) -> Vec<Field> {
    let mut fields: Vec<Field> = vec![("type", &["type"], text(&mount.kind))];
    if !mount.source.is_empty() {
        fields.push(("source", &["source"], text(&mount.source)));
    }
    fields.push(("target", &["target"], text(&mount.target)));
    if mount.read_only {
        fields.push(("readonly", &["read_only"], Tree::Bool(true)));
    }
    if !mount.consistency.is_empty() {
        fields.push(("consistency", &["consistency"], text(&mount.consistency)));
    }
    // A service has no word for it.
    match mount.idmap.as_deref() {
        None => {}
        Some("") => fields.push(("idmap", &[], Tree::Bool(true))),
        Some(map) => fields.push(("idmap", &[], text(map))),
    }
    if mount.kind == "bind" {
        bind(&mount.bind_options.clone().unwrap_or_default(), &mut fields);
    }
    if let Some(options) = &mount.volume_options {
        volume(options, &mut fields);
    }
    if let Some(image) = &mount.image_options
        && !image.subpath.is_empty()
    {
        fields.push(("image-subpath", &["image", "subpath"], text(&image.subpath)));
    }
    if let Some(tmpfs) = &mount.tmpfs_options {
        if tmpfs.size_bytes != 0 {
            fields.push(("tmpfs-size", &["tmpfs", "size"], number(tmpfs.size_bytes)));
        }
        if tmpfs.mode != 0 {
            fields.push(("tmpfs-mode", &["tmpfs", "mode"], number(i64::from(tmpfs.mode))));
        }
    }
    fields
}

fn bind(bind: &BindOptions, fields: &mut Vec<Field>) {
    if !bind.propagation.is_empty() {
        fields.push(("bind-propagation", &["bind", "propagation"], text(&bind.propagation)));
    }
    let recursive = match () {
        () if bind.non_recursive => "disabled",
        () if bind.read_only_non_recursive => "writable",
        () if bind.read_only_force_recursive => "readonly",
        () => "",
    };
    if !recursive.is_empty() {
        fields.push(("bind-recursive", &["bind", "recursive"], text(recursive)));
    }
    // A service makes what is missing unless it is told not to, a command line the other way round.
    let name = if bind.create_mountpoint { "bind-create-src" } else { "" };
    fields.push((name, &["bind", "create_host_path"], Tree::Bool(bind.create_mountpoint)));
}

fn volume(volume: &VolumeOptions, fields: &mut Vec<Field>) {
    let pairs = |map: &Map<String>| {
        Tree::Array(map.iter().map(|(key, value)| text(&format!("{key}={value}"))).collect())
    };
    if volume.no_copy {
        fields.push(("volume-nocopy", &["volume", "nocopy"], Tree::Bool(true)));
    }
    if !volume.subpath.is_empty() {
        fields.push(("volume-subpath", &["volume", "subpath"], text(&volume.subpath)));
    }
    if let Some(labels) = volume.labels.as_ref().filter(|labels| !labels.is_empty()) {
        fields.push(("volume-label", &["volume", "labels"], pairs(labels)));
    }
    // A service takes volumes with a driver of their own from the head of its file, where ours are
    // said to be there already.
    if let Some(driver) = &volume.driver_config {
        if !driver.name.is_empty() {
            fields.push(("volume-driver", &[], text(&driver.name)));
        }
        if let Some(options) = driver.options.as_ref().filter(|options| !options.is_empty()) {
            fields.push(("volume-opt", &[], pairs(options)));
        }
    }
}

/// One `--mount`.
fn csv(mount: &Mount) -> String {
    let words = |(name, _, value): Field| match value {
        _ if name.is_empty() => Vec::new(),
        Tree::Bool(_) => vec![name.to_owned()],
        // The command line counts modes in octal.
        Tree::Number(mode) if name == "tmpfs-mode" => {
            vec![format!("tmpfs-mode={:o}", mode.as_i64().unwrap_or_default())]
        }
        Tree::Array(all) => all.iter().map(|one| format!("{name}={}", plain(one))).collect(),
        value @ (Tree::Null | Tree::Number(_) | Tree::String(_) | Tree::Object(_)) => {
            vec![format!("{name}={}", plain(&value))]
        }
    };
    fields(mount).into_iter().flat_map(words).map(quoted).collect::<Vec<_>>().join(",")
}

/// A field as a list of fields reads it back.
pub(super) fn quoted(field: String) -> String {
    if field.contains([',', '"']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
}

fn plain(value: &Tree) -> String {
    if let Tree::String(text) = value {
        return text.clone();
    }
    crate::template::json::plain(value)
}

/// One mount of a service.
fn object(mount: &Mount) -> Tree {
    let mut pairs: Vec<(String, Tree)> = Vec::new();
    for (_, path, value) in fields(mount) {
        super::yaml::put(&mut pairs, path, value);
    }
    Tree::Object(pairs)
}
