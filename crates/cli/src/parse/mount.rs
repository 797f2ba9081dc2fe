//! `--mount type=…,src=…,dst=…`.

use super::csv;
use super::number::Bytes;
use super::volume::absolute;
use docker_api::types::host_config::{
    BindOptions, ImageOptions, Mount, TmpfsOptions, VolumeDriver, VolumeOptions,
};
use std::path::Path;
use std::str::FromStr;

/// One `--mount`; its source may still be relative to the working directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountFlag(pub(crate) Mount);

impl MountFlag {
    /// As it goes on the wire; `cwd` is where `./x` is.
    pub(crate) fn at(&self, cwd: &Path) -> Mount {
        let mut mount = self.0.clone();
        if mount.kind == "bind" {
            mount.source = absolute(&mount.source, cwd);
        }
        mount
    }
}

impl FromStr for MountFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut draft = Draft {
            mount: Mount { kind: "volume".to_owned(), ..Mount::default() },
            recursive: None,
        };
        for field in csv::fields(text)? {
            draft.field(&field)?;
        }
        draft.finish().map(Self)
    }
}

struct Draft {
    mount: Mount,
    recursive: Option<Recursive>,
}

/// `bind-recursive`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Recursive {
    Enabled,
    Disabled,
    Writable,
    ReadOnly,
}

impl Draft {
    fn field(&mut self, field: &str) -> Result<(), String> {
        let (typed, value) = match field.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (field, None),
        };
        let key = typed.to_lowercase();
        if let Some(done) = self.switch(&key, value) {
            return done;
        }
        let value = value.filter(|_| !key.is_empty());
        let Some(value) = value else {
            return Err(format!("invalid field '{field}' must be a key=value pair"));
        };
        match key.as_str() {
            "type" => self.mount.kind = value.to_lowercase(),
            "source" | "src" => self.mount.source = value.to_owned(),
            "target" | "dst" | "destination" => self.mount.target = value.to_owned(),
            "consistency" => self.mount.consistency = value.to_lowercase(),
            "bind-propagation" => self.bind().propagation = value.to_lowercase(),
            "bind-recursive" => self.recursive = Some(recursive(value)?),
            "volume-subpath" => self.volume().subpath = value.to_owned(),
            "volume-label" => insert(self.volume().labels.get_or_insert_default(), value),
            "volume-driver" => self.driver().name = value.to_owned(),
            "volume-opt" => insert(self.driver().options.get_or_insert_default(), value),
            "image-subpath" => {
                self.mount.image_options = Some(ImageOptions { subpath: value.to_owned() });
            }
            "tmpfs-size" => {
                let size: Bytes = value.parse().map_err(|_: String| bad(&key, value))?;
                self.tmpfs().size_bytes = size.0;
            }
            "tmpfs-mode" => {
                let mode = u32::from_str_radix(value, 8).map_err(|_| bad(&key, value))?;
                self.tmpfs().mode = mode;
            }
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
        Ok(())
    }

    /// Fields that may stand without a value.
    fn switch(&mut self, key: &str, value: Option<&str>) -> Option<Result<(), String>> {
        if key == "idmap" {
            self.mount.idmap = match value {
                None | Some("1" | "true") => Some(String::new()),
                Some("0" | "false") => None,
                Some(map) => Some(map.to_owned()),
            };
            return Some(Ok(()));
        }
        let is_switch = matches!(
            key,
            "readonly" | "ro" | "volume-nocopy" | "bind-nonrecursive" | "bind-create-src"
        );
        if !is_switch {
            return None;
        }
        let on = match value {
            None | Some("1" | "true") => true,
            Some("0" | "false") => false,
            Some(other) => return Some(Err(bad(key, other))),
        };
        match key {
            "volume-nocopy" => self.volume().no_copy = on,
            "bind-nonrecursive" => self.bind().non_recursive = on,
            "bind-create-src" => self.bind().create_mountpoint = on,
            _ => self.mount.read_only = on,
        }
        Some(Ok(()))
    }

    fn bind(&mut self) -> &mut BindOptions {
        self.mount.bind_options.get_or_insert_default()
    }

    fn volume(&mut self) -> &mut VolumeOptions {
        self.mount.volume_options.get_or_insert_default()
    }

    fn driver(&mut self) -> &mut VolumeDriver {
        self.volume().driver_config.get_or_insert_default()
    }

    fn tmpfs(&mut self) -> &mut TmpfsOptions {
        self.mount.tmpfs_options.get_or_insert_default()
    }

    fn finish(mut self) -> Result<Mount, String> {
        self.apply_recursive()?;
        let mount = self.mount;
        if mount.kind.is_empty() {
            return Err("type is required".to_owned());
        }
        if mount.target.is_empty() {
            return Err("target is required".to_owned());
        }
        for (options, given) in [
            ("bind", mount.bind_options.is_some()),
            ("volume", mount.volume_options.is_some()),
            ("image", mount.image_options.is_some()),
            ("tmpfs", mount.tmpfs_options.is_some()),
        ] {
            if given && mount.kind != options {
                let kind = &mount.kind;
                return Err(format!("cannot mix '{options}-*' options with mount type '{kind}'"));
            }
        }
        Ok(mount)
    }

    fn apply_recursive(&mut self) -> Result<(), String> {
        match self.recursive {
            None | Some(Recursive::Enabled) => {}
            Some(Recursive::Disabled) => self.bind().non_recursive = true,
            Some(Recursive::Writable) => {
                self.needs_read_only("writable")?;
                self.bind().read_only_non_recursive = true;
            }
            Some(Recursive::ReadOnly) => {
                self.needs_read_only("readonly")?;
                if self.bind().propagation != "rprivate" {
                    return Err("option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction".to_owned());
                }
                self.bind().read_only_force_recursive = true;
            }
        }
        Ok(())
    }

    fn needs_read_only(&self, value: &str) -> Result<(), String> {
        if self.mount.read_only {
            return Ok(());
        }
        Err(format!(
            "option 'bind-recursive={value}' requires 'readonly' to be specified in conjunction"
        ))
    }
}

fn recursive(value: &str) -> Result<Recursive, String> {
    match value {
        "enabled" => Ok(Recursive::Enabled),
        "disabled" => Ok(Recursive::Disabled),
        "writable" => Ok(Recursive::Writable),
        "readonly" => Ok(Recursive::ReadOnly),
        _ => Err(format!(
            "invalid value for bind-recursive: {value} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
        )),
    }
}

fn bad(key: &str, value: &str) -> String {
    format!("invalid value for {key}: {value}")
}

fn insert(map: &mut std::collections::BTreeMap<String, String>, pair: &str) {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    map.insert(key.to_owned(), value.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn shown(text: &str) -> String {
        match text.parse::<MountFlag>() {
            Ok(MountFlag(mount)) => serde_json::to_string(&mount).unwrap(),
            Err(e) => e,
        }
    }

    #[test]
    fn every_option_reaches_the_wire() {
        let lines: Vec<String> = [
            "type=bind,src=/a,dst=/b,readonly,bind-propagation=rslave",
            "type=volume,source=v,target=/c,volume-nocopy,volume-label=a=b,volume-driver=local,volume-opt=o=x,volume-subpath=s",
            "type=tmpfs,destination=/t,tmpfs-size=10m,tmpfs-mode=1770",
            "target=/q",
            "TYPE=bind,SRC=/a,DST=/b,readonly=0",
            "type=bind,src=/a,dst=/b,bind-recursive=disabled",
            "type=bind,src=/a,dst=/b,bind-recursive=writable,readonly",
            "type=bind,src=/a,dst=/b,bind-recursive=readonly,readonly,bind-propagation=rprivate",
            "type=bind,\"src=/a,x\",dst=/b,bind-nonrecursive",
            "type=bind,src=/a,dst=/b,bind-create-src",
            "type=image,src=i,dst=/b,image-subpath=x",
            "type=bind,src=/a,dst=/b,idmap",
            "type=volume,src=a,dst=/b,idmap=uids=0-5-1#1-9-1;gids=0-5-1",
        ]
        .iter()
        .map(|text| shown(text))
        .collect();
        expect![[r#"
            {"Type":"bind","Source":"/a","Target":"/b","ReadOnly":true,"BindOptions":{"Propagation":"rslave"}}
            {"Type":"volume","Source":"v","Target":"/c","VolumeOptions":{"NoCopy":true,"Labels":{"a":"b"},"Subpath":"s","DriverConfig":{"Name":"local","Options":{"o":"x"}}}}
            {"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":10485760,"Mode":1016}}
            {"Type":"volume","Target":"/q"}
            {"Type":"bind","Source":"/a","Target":"/b"}
            {"Type":"bind","Source":"/a","Target":"/b","BindOptions":{"NonRecursive":true}}
            {"Type":"bind","Source":"/a","Target":"/b","ReadOnly":true,"BindOptions":{"ReadOnlyNonRecursive":true}}
            {"Type":"bind","Source":"/a","Target":"/b","ReadOnly":true,"BindOptions":{"Propagation":"rprivate","ReadOnlyForceRecursive":true}}
            {"Type":"bind","Source":"/a,x","Target":"/b","BindOptions":{"NonRecursive":true}}
            {"Type":"bind","Source":"/a","Target":"/b","BindOptions":{"CreateMountpoint":true}}
            {"Type":"image","Source":"i","Target":"/b","ImageOptions":{"Subpath":"x"}}
            {"Type":"bind","Source":"/a","Target":"/b","Idmap":""}
            {"Type":"volume","Source":"a","Target":"/b","Idmap":"uids=0-5-1#1-9-1;gids=0-5-1"}"#]]
        .assert_eq(&lines.join("\n"));
    }

    #[test]
    fn objections_are_dockers() {
        for (text, want) in [
            ("foo", "invalid field 'foo' must be a key=value pair"),
            ("type=bind,src=/a", "target is required"),
            ("type=,dst=/b", "type is required"),
            ("type=bind,dst=/b,ro=maybe", "invalid value for ro: maybe"),
            ("type=bind,dst=/b,foo=1", "unexpected key 'foo' in 'foo=1'"),
            (" type=bind,dst=/b", "unexpected key ' type' in ' type=bind'"),
            (
                "type=bind,dst=/b,tmpfs-size=1",
                "cannot mix 'tmpfs-*' options with mount type 'bind'",
            ),
            (
                "type=volume,dst=/b,bind-propagation=rslave",
                "cannot mix 'bind-*' options with mount type 'volume'",
            ),
            (
                "type=bind,dst=/b,bind-recursive=x",
                "invalid value for bind-recursive: x (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")",
            ),
            (
                "type=bind,dst=/b,bind-recursive=readonly",
                "option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction",
            ),
            ("type=tmpfs,dst=/b,tmpfs-mode=9", "invalid value for tmpfs-mode: 9"),
            ("type=tmpfs,dst=/b,tmpfs-size=x", "invalid value for tmpfs-size: x"),
            ("type=volume,dst=/b,", "invalid field '' must be a key=value pair"),
            ("", "EOF"),
        ] {
            assert_eq!(shown(text), want, "{text}");
        }
    }
}
