//! Contexts: servers that the user has given a name, in files below `contexts/meta`.
//!
//! They are found here; `keep` makes, changes and removes them. The one called `default` is in no file.

pub(crate) mod endpoint;
pub(crate) mod keep;

use crate::argv::hosts::ClientTls;
use docker_api::json::Tree;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// What a context may keep for TLS: who vouches for its server, what is shown to it, and the key of that.
const TLS_FILES: [&str; 3] = ["ca.pem", "cert.pem", "key.pem"];

/// The name of what is meant without any context.
pub(crate) const DEFAULT: &str = "default";

/// A server with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    pub(crate) name: String,
    pub(crate) description: String,
    /// `unix:///…`
    pub(crate) host: String,
    /// How TLS is spoken with it, if it says so.
    pub(crate) tls: Option<ClientTls>,
    /// Its `meta.json`; `None` for the default one.
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Meta {
    name: String,
    metadata: Metadata,
    endpoints: Endpoints,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Metadata {
    description: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Endpoints {
    docker: Endpoint,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Endpoint {
    host: String,
    #[serde(rename = "SkipTLSVerify")]
    skip_tls_verify: bool,
}

/// Every context that a file tells of, by name.
pub(crate) fn all(directory: Option<&Path>) -> Vec<Context> {
    let Some(directory) = directory else { return Vec::new() };
    let entries = std::fs::read_dir(directory.join("contexts/meta"));
    let entries = entries.into_iter().flatten().flatten();
    let mut found: Vec<Context> =
        entries.filter_map(|entry| read(&entry.path().join("meta.json"))).collect();
    found.sort_by(|a, b| crate::table::natural(&a.name, &b.name));
    found
}

/// One by its name; the error is the message.
pub(crate) fn find(directory: Option<&Path>, name: &str) -> Result<Context, String> {
    let found = all(directory).into_iter().find(|context| context.name == name);
    found.ok_or_else(|| format!("context {name:?}: context not found"))
}

/// A file that is no context's is none.
fn read(file: &Path) -> Option<Context> {
    let text = std::fs::read(file).ok()?;
    let meta: Meta = serde_json::from_slice(&text).ok()?;
    let docker = meta.endpoints.docker;
    let directory = file.parent().and_then(tls_directory);
    Some(Context {
        name: meta.name,
        description: meta.metadata.description,
        tls: directory.and_then(|dir| tls(&dir.join("docker"), docker.skip_tls_verify)),
        host: docker.host,
        file: Some(file.to_owned()),
    })
    .filter(|context| !context.name.is_empty())
}

/// Where a context's certificates are: its directory below `contexts/tls` has the name of that below
/// `contexts/meta`.
fn tls_directory(meta: &Path) -> Option<PathBuf> {
    let contexts = meta.parent()?.parent()?;
    Some(contexts.join("tls").join(meta.file_name()?))
}

/// How TLS is spoken with a context's server: by the files that it has.
fn tls(directory: &Path, trusts_anyone: bool) -> Option<ClientTls> {
    // What cannot be looked at is read when it is used, which then says why: TLS is never left out for that.
    let is_there = |path: &PathBuf| path.try_exists().unwrap_or(true);
    let [authority, certificate, key] =
        TLS_FILES.map(|name| Some(directory.join(name)).filter(is_there));
    let any = authority.is_some() || certificate.is_some() || key.is_some() || trusts_anyone;
    any.then_some(ClientTls { trusts_anyone, authority, certificate, key })
}

/// What `context inspect` shows.
pub(crate) fn described(context: &Context) -> Result<Tree, String> {
    let text = |text: &str| Tree::String(text.to_owned());
    let object = |pairs: Vec<(&str, Tree)>| {
        Tree::Object(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    };
    let (mut pairs, storage, material) = match &context.file {
        None => {
            let docker =
                object(vec![("Host", text(&context.host)), ("SkipTLSVerify", Tree::Bool(false))]);
            let pairs = vec![
                ("Name".to_owned(), text(&context.name)),
                ("Metadata".to_owned(), object(Vec::new())),
                ("Endpoints".to_owned(), object(vec![("docker", docker)])),
            ];
            (pairs, ["<IN MEMORY>".to_owned(), "<IN MEMORY>".to_owned()], Vec::new())
        }
        Some(file) => {
            let bytes = std::fs::read(file).map_err(|e| format!("open {}: {e}", file.display()))?;
            let Ok(Tree::Object(pairs)) = Tree::parse(&bytes) else {
                return Err(format!("context {:?}: {} is broken", context.name, file.display()));
            };
            let meta = file.parent().unwrap_or(file);
            let tls = tls_directory(meta).unwrap_or_default();
            let material = material(&tls).map_err(|e| format!("read {}: {e}", tls.display()))?;
            (pairs, [meta, &tls].map(|path| path.display().to_string()), material)
        }
    };
    pairs.push(("TLSMaterial".to_owned(), Tree::Object(material)));
    let [meta, tls] = storage;
    let storage =
        object(vec![("MetadataPath", Tree::String(meta)), ("TLSPath", Tree::String(tls))]);
    pairs.push(("Storage".to_owned(), storage));
    Ok(Tree::Object(pairs))
}

/// The names of a context's certificates, by endpoint.
fn material(directory: &Path) -> std::io::Result<Vec<(String, Tree)>> {
    let mut found = Vec::new();
    for endpoint in keep::listed(directory)? {
        let files = keep::listed(&directory.join(&endpoint))?;
        found.push((endpoint, Tree::Array(files.into_iter().map(Tree::String).collect())));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_contexts_are_found_by_the_name_in_them() {
        let dir = tempfile::tempdir().unwrap();
        let make = |directory: &str, text: &str| {
            let directory = dir.path().join("contexts/meta").join(directory);
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join("meta.json"), text).unwrap();
        };
        let full = r#"{"Name":"foo","Metadata":{"Description":"a b"},"Endpoints":{"docker":{"Host":"unix:///x.sock","SkipTLSVerify":false}}}"#;
        make("2c26", full);
        make("aaaa", r#"{"Name":"bar","Metadata":{},"Endpoints":{}}"#);
        make("bbbb", "{");
        let names: Vec<_> = all(Some(dir.path())).into_iter().map(|c| c.name).collect();
        assert_eq!(names, ["bar", "foo"]);
        let foo = find(Some(dir.path()), "foo").unwrap();
        assert_eq!((foo.description.as_str(), foo.host.as_str()), ("a b", "unix:///x.sock"));
        let shown = crate::template::json::plain(&described(&foo).unwrap());
        assert!(shown.contains("/contexts/tls/2c26"), "{shown}");
        let missing = find(Some(dir.path()), "nope").unwrap_err();
        assert_eq!(missing, "context \"nope\": context not found");
        assert_eq!(all(None), []);
    }
}
