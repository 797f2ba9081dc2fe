//! What the query strings of the API say, from the client's side: options as types, printed once.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What may stand in a query value or one path segment as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// In a path that is a name (`localhost:5000/a/b:tag`), also these.
const NAME: &AsciiSet = &PLAIN.remove(b'/').remove(b':').remove(b'@');

/// A name or id as part of a path.
pub(crate) fn segment(name: &str) -> String {
    utf8_percent_encode(name, NAME).to_string()
}

/// A container's name or id as part of a path. The API shows names with a slash before them, and
/// takes them so.
pub(crate) fn container_segment(name: &str) -> String {
    segment(name.trim_start_matches('/'))
}

/// A query string under construction. Parameters at their default are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(String);

impl Query {
    /// Adds `key=value`.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl AsRef<str>) -> Self {
        let mark = if self.0.is_empty() { '?' } else { '&' };
        let value = utf8_percent_encode(value.as_ref(), PLAIN);
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{mark}{key}={value}");
        self
    }

    /// Adds `key=value` if there is a value.
    #[must_use]
    pub fn maybe(self, key: &str, value: Option<impl AsRef<str>>) -> Self {
        match value {
            Some(value) => self.set(key, value),
            None => self,
        }
    }

    /// Adds `key=1` if the flag is up.
    #[must_use]
    pub fn flag(self, key: &str, up: bool) -> Self {
        if up { self.set(key, "1") } else { self }
    }

    /// Adds the filters if there are any.
    #[must_use]
    pub fn filters(self, filters: &Filters) -> Self {
        if filters.0.is_empty() { self } else { self.set("filters", filters.to_json()) }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// `--filter key=value`, several values a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, BTreeMap<String, bool>>);

impl Filters {
    /// Adds one.
    pub fn add(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.entry(key.into()).or_default().insert(value.into(), true);
    }

    /// Whether there is one of this key.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Whether this one is there.
    #[must_use]
    pub fn contains(&self, key: &str, value: &str) -> bool {
        self.0.get(key).is_some_and(|values| values.contains_key(value))
    }

    /// All of them, sorted: keys with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|(key, values)| {
            values.keys().map(move |value| (key.as_str(), value.as_str()))
        })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn to_json(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_default()
    }
}

/// Options of `build_prune`.
#[derive(Debug, Clone, Default)]
pub struct BuildPrune {
    /// Not only what no image needs.
    pub all: bool,
    /// Bytes that may stay.
    pub keep_storage: Option<i64>,
    /// Which pieces.
    pub filters: Filters,
}

impl BuildPrune {
    pub(crate) fn query(&self) -> Query {
        let keep = self.keep_storage.map(|bytes| bytes.to_string());
        Query::default().flag("all", self.all).maybe("keep-storage", keep).filters(&self.filters)
    }
}

/// Options of `container_list`.
#[derive(Debug, Clone, Default)]
pub struct ListContainers {
    /// Also those that do not run.
    pub all: bool,
    /// At most this many, newest first; implies `all`.
    pub limit: Option<u32>,
    /// Count the bytes, which takes time.
    pub size: bool,
    /// Ports that follow each other as one; Docker does not know it and lists each.
    pub ranges: bool,
    /// Which ones.
    pub filters: Filters,
}

impl ListContainers {
    pub(crate) fn query(&self) -> Query {
        Query::default()
            .flag("all", self.all)
            .maybe("limit", self.limit.map(|n| n.to_string()))
            .flag("size", self.size)
            .flag("ranges", self.ranges)
            .filters(&self.filters)
    }
}

/// Options of `container_commit`.
#[derive(Debug, Clone, Default)]
pub struct CommitContainer {
    /// Its name or id.
    pub container: String,
    /// The image's repository and tag, or none.
    pub reference: Option<(String, String)>,
    /// The history's comment.
    pub comment: String,
    /// Who makes it.
    pub author: String,
    /// Dockerfile instructions to apply to its configuration.
    pub changes: Vec<String>,
    /// Do not pause the container meanwhile.
    pub let_run: bool,
}

impl CommitContainer {
    pub(crate) fn query(&self) -> Query {
        let mut query = Query::default()
            .set("author", &self.author)
            .set("comment", &self.comment)
            .set("container", self.container.trim_start_matches('/'));
        if let Some((repo, tag)) = &self.reference {
            query = query.set("repo", repo).set("tag", tag);
        }
        for change in &self.changes {
            query = query.set("changes", change);
        }
        query.maybe("pause", self.let_run.then_some("0"))
    }
}

/// Options of `container_put_archive`.
#[derive(Debug, Clone, Default)]
pub struct PutArchive {
    /// The directory to unpack in.
    pub path: String,
    /// A directory does not replace anything else, and the other way round.
    pub keep_kinds: bool,
    /// The files belong to the container's user, not to the archive's.
    pub copy_owner: bool,
}

impl PutArchive {
    pub(crate) fn query(&self) -> Query {
        let flag = |up: bool| up.then_some("true");
        Query::default()
            .maybe("copyUIDGID", flag(self.copy_owner))
            .maybe("noOverwriteDirNonDir", flag(self.keep_kinds))
            .set("path", &self.path)
    }
}

/// Options of `container_stop` and `container_restart`.
#[derive(Debug, Clone, Default)]
pub struct StopOptions {
    /// Instead of the container's own stop signal.
    pub signal: Option<String>,
    /// Seconds until SIGKILL, -1 for never, instead of the container's own.
    pub timeout: Option<i64>,
}

impl StopOptions {
    pub(crate) fn query(&self) -> Query {
        Query::default()
            .maybe("signal", self.signal.as_ref())
            .maybe("t", self.timeout.map(|t| t.to_string()))
    }
}

/// Options of `container_remove`.
#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveContainer {
    /// Its anonymous volumes as well.
    pub volumes: bool,
    /// Kill it if it runs.
    pub force: bool,
    /// Only the link of this name.
    pub link: bool,
}

impl RemoveContainer {
    pub(crate) fn query(self) -> Query {
        Query::default().flag("v", self.volumes).flag("force", self.force).flag("link", self.link)
    }
}

/// Options of `container_logs`.
#[derive(Debug, Clone, Default)]
pub struct LogsQuery {
    /// Until the container stops.
    pub follow: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Unix seconds, with a fraction if need be.
    pub since: Option<String>,
    /// Unix seconds, with a fraction if need be.
    pub until: Option<String>,
    /// RFC 3339 with nanoseconds in front of each line.
    pub timestamps: bool,
    /// A number of lines, or `all`.
    pub tail: Option<String>,
    /// The log driver's extra attributes in front of each line.
    pub details: bool,
}

impl LogsQuery {
    pub(crate) fn query(&self) -> Query {
        Query::default()
            .flag("details", self.details)
            .flag("follow", self.follow)
            .maybe("since", self.since.as_ref())
            .flag("stderr", self.stderr)
            .flag("stdout", self.stdout)
            .maybe("tail", self.tail.as_ref())
            .flag("timestamps", self.timestamps)
            .maybe("until", self.until.as_ref())
    }
}

/// Options of `container_attach`.
#[derive(Debug, Clone, Default)]
pub struct AttachQuery {
    /// What was logged before, first.
    pub logs: bool,
    /// What comes from now on.
    pub stream: bool,
    /// Give it input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Instead of ctrl-p,ctrl-q.
    pub detach_keys: Option<String>,
}

impl AttachQuery {
    pub(crate) fn query(&self) -> Query {
        Query::default()
            .maybe("detachKeys", self.detach_keys.as_ref())
            .flag("logs", self.logs)
            .flag("stderr", self.stderr)
            .flag("stdin", self.stdin)
            .flag("stdout", self.stdout)
            .flag("stream", self.stream)
    }
}

/// When `container_wait` comes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WaitCondition {
    /// As soon as it does not run, at once if it does not run now.
    #[default]
    NotRunning,
    /// At its next exit, even if it does not run now.
    NextExit,
    /// When it is gone.
    Removed,
}

impl WaitCondition {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotRunning => "not-running",
            Self::NextExit => "next-exit",
            Self::Removed => "removed",
        }
    }
}

/// Options of `image_list`.
#[derive(Debug, Clone, Default)]
pub struct ListImages {
    /// Also intermediate ones.
    pub all: bool,
    /// With their digests.
    pub digests: bool,
    /// With what they have for each platform.
    pub manifests: bool,
    /// Which ones.
    pub filters: Filters,
}

impl ListImages {
    pub(crate) fn query(&self) -> Query {
        Query::default()
            .flag("all", self.all)
            .flag("digests", self.digests)
            .flag("manifests", self.manifests)
            .filters(&self.filters)
    }
}

/// Options of `image_import`.
#[derive(Debug, Clone, Default)]
pub struct ImportImage {
    /// Where the server is to fetch the archive from; without it, the archive is what is sent.
    pub source: Option<String>,
    /// The name to give it, or none.
    pub reference: Option<String>,
    /// The history's comment.
    pub message: Option<String>,
    /// Dockerfile instructions to apply to its configuration.
    pub changes: Vec<String>,
    /// `os/arch[/variant]`, else this machine's.
    pub platform: Option<String>,
}

impl ImportImage {
    pub(crate) fn query(&self) -> Query {
        let mut query = Query::default()
            .set("fromSrc", self.source.as_deref().unwrap_or("-"))
            .maybe("repo", self.reference.as_ref())
            .maybe("message", self.message.as_ref())
            .maybe("platform", self.platform.as_ref());
        for change in &self.changes {
            query = query.set("changes", change);
        }
        query
    }
}

/// Options of `events`.
#[derive(Debug, Clone, Default)]
pub struct EventsQuery {
    /// Unix seconds, with a fraction if need be.
    pub since: Option<String>,
    /// Unix seconds, with a fraction if need be.
    pub until: Option<String>,
    /// Which ones.
    pub filters: Filters,
}

impl EventsQuery {
    pub(crate) fn query(&self) -> Query {
        Query::default()
            .maybe("since", self.since.as_ref())
            .maybe("until", self.until.as_ref())
            .filters(&self.filters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn queries_print_what_is_set() {
        let mut filters = Filters::default();
        filters.add("name", "x");
        filters.add("status", "exited");
        let list = ListContainers { all: true, size: true, filters, ..Default::default() };
        expect![[
            r#"?all=1&size=1&filters=%7B%22name%22%3A%7B%22x%22%3Atrue%7D%2C%22status%22%3A%7B%22exited%22%3Atrue%7D%7D"#
        ]]
        .assert_eq(list.query().as_str());
        assert_eq!(ListContainers::default().query().as_str(), "");
        let stop = StopOptions { signal: Some("TERM".into()), timeout: Some(-1) };
        assert_eq!(stop.query().as_str(), "?signal=TERM&t=-1");
    }

    #[test]
    fn names_keep_their_slashes_and_nothing_else_of_a_url() {
        assert_eq!(segment("localhost:5000/a/b:tag"), "localhost:5000/a/b:tag");
        assert_eq!(segment("a?b#c d%\n"), "a%3Fb%23c%20d%25%0A");
    }
}
