//! Where this machine has Debian's packages from, in apt's own words.
//!
//! Only the repository is told: which of its releases has what is wanted, `sources.rs` looks for.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::host;

/// Debian's packages, apart from those of its security team and of backports, which have labels of their own.
const WANTED: [&str; 4] =
    ["Created-By: Packages", "Origin: Debian", "Label: Debian", "Component: main"];

/// A repository of Debian.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mirror {
    pub(super) uri: String,
    /// Whose signatures count, as apt's configuration has it: the field's text, which may be a key of many lines.
    /// Without any, apt's own keys.
    signed_by: Option<String>,
}

impl Mirror {
    /// An entry for apt that has the sources of a release.
    pub(super) fn entry(&self, release: &str) -> String {
        self.entry_of("deb-src", release)
    }

    /// An entry for apt that has the packages of a release.
    pub(super) fn binaries(&self, release: &str) -> String {
        self.entry_of("deb", release)
    }

    fn entry_of(&self, kind: &str, release: &str) -> String {
        let Self { uri, signed_by } = self;
        let signed_by = signed_by.as_ref().map(|keys| format!("Signed-By: {keys}\n"));
        let signed_by = signed_by.unwrap_or_default();
        format!("Types: {kind}\nURIs: {uri}\nSuites: {release}\nComponents: main\n{signed_by}")
    }
}

/// The repositories of Debian that this machine's apt knows, in its order.
///
/// # Errors
/// apt fails, or knows none.
pub(super) fn of_this_machine() -> Result<Vec<Mirror>> {
    let mut told = indexes()?;
    if told.is_empty() {
        // apt tells of a repository what it has read there, and has not read anything yet.
        host::say("reading this machine's lists of packages");
        host::run("apt-get", &["update", "-q", "-q"])?;
        told = indexes()?;
    }
    let mut mirrors = Vec::new();
    for line in told.lines() {
        let (uri, entry) = line.split_once(' ').context("apt names no entry of an index")?;
        let mirror = Mirror { uri: uri.to_owned(), signed_by: signed_by(entry)? };
        if !mirrors.contains(&mirror) {
            mirrors.push(mirror);
        }
    }
    if mirrors.is_empty() {
        bail!(
            "apt has no repository of Debian on this machine: `apt-get indextargets {}` names none, \
             so add one to /etc/apt/sources.list.d",
            WANTED.map(|field| format!("'{field}'")).join(" ")
        );
    }
    Ok(mirrors)
}

fn indexes() -> Result<String> {
    let format = ["indextargets", "--format", "$(REPO_URI) $(SOURCESENTRY)"];
    host::output("apt-get", &[&format[..], &WANTED].concat())
}

/// Whose signatures an entry wants: apt names it by its file, and its number there.
fn signed_by(entry: &str) -> Result<Option<String>> {
    let place = entry.rsplit_once(':').and_then(|(file, at)| Some((file, at.parse().ok()?)));
    let Some((file, number)) = place else { bail!("apt names an entry that is none: {entry:?}") };
    let text = fs::read_to_string(file).with_context(|| format!("read {file}"))?;
    Ok(if file.ends_with(".sources") { of_stanza(&text, number) } else { of_line(&text, number) })
}

/// Of the entry of this number, which are fields of several lines, with empty ones between entries.
fn of_stanza(text: &str, number: usize) -> Option<String> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let is_empty = |line: &&str| line.trim().is_empty();
    let mut stanzas = lines.split(is_empty).filter(|stanza| !stanza.is_empty());
    let mut lines = stanzas.nth(number.checked_sub(1)?)?.iter();
    let value = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("signed-by").then_some(value.trim())
    })?;
    let more = lines.take_while(|line| line.starts_with([' ', '\t']));
    Some(more.fold(value.to_owned(), |all, line| format!("{all}\n{line}")))
}

/// Of the line of this number, whose options stand in brackets.
fn of_line(text: &str, number: usize) -> Option<String> {
    let line = text.lines().nth(number.checked_sub(1)?)?;
    let options = line.split_once('[')?.1.split_once(']')?.0;
    let value = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="))?;
    Some(value.replace(',', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_keeps_the_keys_that_the_machine_trusts() {
        let text = "# one\nTypes: deb\nURIs: a\nSigned-By: /a.gpg\n\n# none\n\n\
                    types: deb\nsigned-by:\n BEGIN\n .\n# not this\n =abc\nURIs: b\n\nTypes: deb\n";
        assert_eq!(of_stanza(text, 1).as_deref(), Some("/a.gpg"));
        let key = of_stanza(text, 2);
        assert_eq!(key.as_deref(), Some("\n BEGIN\n .\n =abc"));
        assert_eq!(of_stanza(text, 3), None);
        let entry = |signed_by| Mirror { uri: "u:/d/".to_owned(), signed_by }.entry("sid");
        let begin = "Types: deb-src\nURIs: u:/d/\nSuites: sid\nComponents: main\n";
        assert_eq!(entry(None), begin);
        assert_eq!(entry(key), format!("{begin}Signed-By: \n BEGIN\n .\n =abc\n"));
    }

    #[test]
    fn a_line_of_the_old_form_is_read_too() {
        let text = "# a\ndeb [arch=amd64 signed-by=/a.gpg,/b.gpg] u:/d x main\ndeb u:/d y main\n";
        assert_eq!(of_line(text, 2).as_deref(), Some("/a.gpg /b.gpg"));
        assert_eq!(of_line(text, 3), None);
        assert_eq!(of_line(text, 9), None);
    }
}
