//! What a container's log options come to when it starts: files, attributes, the tag, the address.
//!
//! Labels, variables and templates are resolved here, since the shim knows nothing of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;

use model::container::Source;
use model::log::{LogDetails, LogFiles, LogSpec, LogTarget, SyslogAddress};
use model::template::{
    Elem, Functions, List, Map, Method, MissingKey, Origin, Struct, Template, Value,
};
use regex_lite::Regex;
use shim::protocol::{LogConfig, LogCopy, LogSink, SinkAddress, SinkForm, SinkTls};

use crate::container::Container;
use crate::{Engine, EngineError};

/// What a tag is that nobody has given.
const DEFAULT_TAG: &str = "{{.ID}}";
/// Where systemd's journal takes entries.
const JOURNAL: &str = "/run/systemd/journal/socket";
/// Digits of a short id.
const SHORT: usize = 12;

impl Engine {
    /// The log as its shim is told to write it.
    ///
    /// # Errors
    /// A tag does not fit, or a host has no address.
    pub(crate) fn log_config(&self, container: &Container) -> Result<LogConfig, EngineError> {
        match &container.record.spec.log {
            LogSpec::None => Ok(LogConfig::None),
            LogSpec::JsonFile { max_size, max_file, compression, details, delivery, .. } => {
                let mut attrs = extra(details, container);
                if details.tag.is_some() {
                    attrs.insert("tag".to_owned(), tag(details, container)?);
                }
                Ok(LogConfig::JsonFile {
                    path: self.log_path(container),
                    max_size: *max_size,
                    max_file: *max_file,
                    attrs,
                    compression: *compression,
                    delivery: *delivery,
                })
            }
            LogSpec::Local { files, delivery, .. } => Ok(LogConfig::Local {
                files: self.log_copy(container, *files),
                delivery: *delivery,
            }),
            LogSpec::Remote { target, details, cache, delivery, .. } => Ok(LogConfig::Remote {
                sink: self.log_sink(container, target, details)?,
                copy: cache.map(|files| self.log_copy(container, files)),
                delivery: *delivery,
            }),
        }
    }

    /// The file that is written now of a log that can be read.
    pub(crate) fn log_path(&self, container: &Container) -> PathBuf {
        match container.record.spec.log {
            LogSpec::JsonFile { .. } => self.paths().log(&container.id),
            LogSpec::Local { .. } | LogSpec::Remote { .. } | LogSpec::None => {
                self.paths().local_log(&container.id)
            }
        }
    }

    fn log_copy(&self, container: &Container, files: LogFiles) -> LogCopy {
        LogCopy { path: self.log_path(container), files }
    }

    fn log_sink(
        &self,
        container: &Container,
        target: &LogTarget,
        details: &LogDetails,
    ) -> Result<LogSink, EngineError> {
        let tag = tag(details, container)?;
        Ok(match target {
            LogTarget::Journald => LogSink {
                address: SinkAddress::Journal(JOURNAL.into()),
                form: SinkForm::Journal { fields: journal_fields(details, container, tag) },
            },
            LogTarget::Syslog { address, facility, format } => LogSink {
                address: self.sink_address(address)?,
                form: SinkForm::Syslog { facility: *facility, format: *format, tag },
            },
        })
    }

    fn sink_address(&self, address: &SyslogAddress) -> Result<SinkAddress, EngineError> {
        Ok(match address {
            SyslogAddress::Host => SinkAddress::Host,
            SyslogAddress::Unix(path) => SinkAddress::Unix(path.into()),
            SyslogAddress::UnixDatagram(path) => SinkAddress::UnixDatagram(path.into()),
            SyslogAddress::Udp(host, port) => SinkAddress::Udp(look_up(host, *port)?),
            SyslogAddress::Tcp(host, port) => SinkAddress::Tcp(look_up(host, *port)?),
            SyslogAddress::Tls(tls) => SinkAddress::Tls(Box::new(SinkTls {
                address: look_up(&tls.host, tls.port)?,
                name: tls.host.clone(),
                authority: tls.authority.as_ref().map(PathBuf::from),
                identity: tls.identity.as_ref().map(|(chain, key)| (chain.into(), key.into())),
                trust: tls.trust,
            })),
        })
    }
}

fn look_up(host: &str, port: u16) -> Result<SocketAddr, EngineError> {
    let failed = |reason: String| EngineError::LogHost { host: host.to_owned(), reason };
    let found = registry::addresses(host).map_err(|error| failed(error.to_string()))?;
    let first = found.first().ok_or_else(|| failed("no such host".to_owned()))?;
    Ok(SocketAddr::new(*first, port))
}

/// The labels and variables that the options choose.
pub(crate) fn extra(details: &LogDetails, container: &Container) -> BTreeMap<String, String> {
    let resolved = &container.record.resolved;
    let env: BTreeMap<String, String> = resolved
        .env
        .iter()
        .filter_map(|entry| entry.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut chosen = choose(&resolved.labels, &details.labels, details.labels_regex.as_deref());
    chosen.extend(choose(&env, &details.env, details.env_regex.as_deref()));
    chosen
}

fn choose(
    all: &BTreeMap<String, String>,
    names: &[String],
    pattern: Option<&str>,
) -> BTreeMap<String, String> {
    // It was read when the container was made.
    let pattern = pattern.and_then(|pattern| Regex::new(pattern).ok());
    let is_chosen = |name: &String| {
        names.contains(name) || pattern.as_ref().is_some_and(|pattern| pattern.is_match(name))
    };
    let chosen = all.iter().filter(|(name, _)| is_chosen(name));
    chosen.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Docker's names, and those of the options in the letters that the journal allows.
fn journal_fields(
    details: &LogDetails,
    container: &Container,
    tag: String,
) -> BTreeMap<String, String> {
    let id = container.id.to_string();
    let named = |(name, value): (String, String)| Some((journal_name(&name)?, value));
    let mut fields: BTreeMap<String, String> =
        extra(details, container).into_iter().filter_map(named).collect();
    let own = [
        ("CONTAINER_ID", id[..SHORT].to_owned()),
        ("CONTAINER_NAME", container.name().to_owned()),
        ("IMAGE_NAME", image_name(container)),
        ("SYSLOG_IDENTIFIER", tag.clone()),
        ("CONTAINER_TAG", tag),
        ("CONTAINER_ID_FULL", id),
    ];
    // No label can pass for one of these.
    fields.extend(own.map(|(name, value)| (name.to_owned(), value)));
    fields
}

/// Capitals, digits and `_`, the first of which is no `_`: those are the journal's own fields.
fn journal_name(name: &str) -> Option<String> {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = name.chars().map(letter).collect();
    let name = name.trim_start_matches('_');
    (!name.is_empty()).then(|| name.to_owned())
}

fn image_name(container: &Container) -> String {
    match &container.record.spec.source {
        Source::Image(name) => name.clone(),
        Source::Directory(path) | Source::DirectoryOverlay(path) => path.display().to_string(),
    }
}

/// The tag, by its template or Docker's.
fn tag(details: &LogDetails, container: &Container) -> Result<String, EngineError> {
    let text = details.tag.as_deref().unwrap_or(DEFAULT_TAG);
    let failed = |reason: String| EngineError::LogTag { tag: text.to_owned(), reason };
    let template = Template::parse(text).map_err(|error| failed(error.to_string()))?;
    let mut tag = String::new();
    template
        .execute(&info(details, container), MissingKey::NoValue, Functions::Data, &mut tag)
        .map_err(|error| failed(error.to_string()))?;
    Ok(tag)
}

/// Docker's structure `logger.Info`, with its methods as fields.
fn info(details: &LogDetails, container: &Container) -> Value {
    let resolved = &container.record.resolved;
    let (id, name) = (container.id.to_string(), container.name());
    let image_id = container.record.image.as_ref().map(ToString::to_string).unwrap_or_default();
    let image = image_name(container);
    let (path, args) = match resolved.argv.split_first() {
        Some((path, args)) => (path.as_str(), args),
        None => ("", [].as_slice()),
    };
    let text = |text: &str| Value::str(text);
    let fields = [
        ("ID", text(&id[..SHORT])),
        ("FullID", text(&id)),
        ("Name", text(name)),
        ("Command", text(&resolved.argv.join(" "))),
        // As long as a short id, with the algorithm in front: Docker's.
        ("ImageID", text(image_id.get(..SHORT).unwrap_or(&image_id))),
        ("ImageFullID", text(&image_id)),
        ("ImageName", text(&image)),
        ("DaemonName", text("docker")),
        ("ContainerID", text(&id)),
        ("ContainerName", text(&format!("/{name}"))),
        ("ContainerEntrypoint", text(path)),
        ("ContainerArgs", strings(args)),
        ("ContainerImageID", text(&image_id)),
        ("ContainerImageName", text(&image)),
        ("ContainerEnv", strings(&resolved.env)),
        ("ContainerLabels", map(&resolved.labels)),
    ];
    Value::Struct(Rc::new(Struct {
        type_name: "*logger.Info",
        fields: fields.map(|(name, value)| (name.to_owned(), value)).into(),
        omitted: Vec::new(),
        method: Method::ExtraAttributes(extra(details, container)),
        origin: Origin::Server,
    }))
}

fn strings(items: &[String]) -> Value {
    let items = items.iter().map(Value::str).collect();
    Value::List(Rc::new(List { items, elem: Elem::Str }))
}

fn map(entries: &BTreeMap<String, String>) -> Value {
    let entries = entries.iter().map(|(name, value)| (name.clone(), Value::str(value))).collect();
    Value::Map(Rc::new(Map { entries, elem: Elem::Str }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_the_journal_takes() {
        for (name, want) in [
            ("com.example/tier-1", Some("COM_EXAMPLE_TIER_1")),
            ("_PID", Some("PID")),
            ("é", None),
            ("__", None),
        ] {
            assert_eq!(journal_name(name).as_deref(), want, "{name}");
        }
    }

    #[test]
    fn names_and_patterns_choose() {
        let all = ["a", "ab", "b", "c"].map(|name| (name.to_owned(), name.to_uppercase())).into();
        let chosen = |names: &[&str], pattern| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            choose(&all, &names, pattern).into_values().collect::<Vec<_>>()
        };
        assert_eq!(chosen(&[], None), [""; 0]);
        assert_eq!(chosen(&["c", "d"], None), ["C"]);
        assert_eq!(chosen(&["c"], Some("^a")), ["A", "AB", "C"]);
    }
}
