//! `--change`: the Dockerfile instructions that alter how an image runs, for commit and import.
//!
//! Pure. Only the instructions that Docker accepts there; what they mean is what they mean in a
//! Dockerfile, without variables.

use std::collections::BTreeMap;

use model::image::RunConfig;
use serde_json::json;

/// Why a change was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Not one of the instructions; Docker's words.
    #[error("{0} is not a valid change command")]
    Unknown(String),
    /// Nothing behind it.
    #[error("{0} requires at least one argument")]
    Empty(&'static str),
    /// Not what the instruction takes.
    #[error("{instruction}: {problem}: {text:?}")]
    Bad {
        /// The instruction.
        instruction: &'static str,
        /// What is wrong.
        problem: &'static str,
        /// Where.
        text: String,
    },
}

/// Applies instructions in order.
///
/// # Errors
/// One of them is unknown or wrong.
pub fn apply(config: &mut RunConfig, changes: &[impl AsRef<str>]) -> Result<(), ChangeError> {
    changes.iter().try_for_each(|change| apply_one(config, change.as_ref().trim()))
}

fn apply_one(config: &mut RunConfig, change: &str) -> Result<(), ChangeError> {
    let (word, rest) = change.split_once(char::is_whitespace).unwrap_or((change, ""));
    let rest = rest.trim();
    match word.to_ascii_uppercase().as_str() {
        "CMD" => config.cmd = Some(command("CMD", rest, config)?),
        "ENTRYPOINT" => {
            config.entrypoint = Some(command("ENTRYPOINT", rest, config)?);
        }
        "ENV" => set_env(config, pairs("ENV", rest)?),
        "EXPOSE" => expose(config, required("EXPOSE", rest)?)?,
        "HEALTHCHECK" => config.healthcheck = Some(healthcheck(rest)?),
        "LABEL" => config.labels.extend(pairs("LABEL", rest)?),
        "ONBUILD" => {
            let trigger = required("ONBUILD", rest)?.to_owned();
            config.on_build.get_or_insert_default().push(trigger);
        }
        "STOPSIGNAL" => config.stop_signal = Some(required("STOPSIGNAL", rest)?.to_owned()),
        "USER" => config.user = required("USER", rest)?.to_owned(),
        "VOLUME" => volumes(config, required("VOLUME", rest)?),
        "WORKDIR" => workdir(config, required("WORKDIR", rest)?),
        _ => return Err(ChangeError::Unknown(word.to_owned())),
    }
    Ok(())
}

fn required<'t>(instruction: &'static str, rest: &'t str) -> Result<&'t str, ChangeError> {
    if rest.is_empty() { Err(ChangeError::Empty(instruction)) } else { Ok(rest) }
}

/// A JSON array is the command itself; anything else is for the shell.
fn command(
    instruction: &'static str,
    rest: &str,
    config: &RunConfig,
) -> Result<Vec<String>, ChangeError> {
    if let Some(words) = json_words(rest) {
        return Ok(words);
    }
    let shell = config.shell.clone();
    let mut words = shell.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
    words.push(required(instruction, rest)?.to_owned());
    Ok(words)
}

fn json_words(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

/// `key=value …` with quotes, or the old form `key value`.
fn pairs(instruction: &'static str, rest: &str) -> Result<Vec<(String, String)>, ChangeError> {
    let bad =
        |problem, text: &str| ChangeError::Bad { instruction, problem, text: text.to_owned() };
    let words =
        words(required(instruction, rest)?).ok_or_else(|| bad("a quote is not closed", rest))?;
    if words.first().is_some_and(|word| !word.contains('=')) {
        let (key, value) =
            rest.split_once(char::is_whitespace).ok_or_else(|| bad("expected key=value", rest))?;
        return Ok(vec![(key.to_owned(), value.trim().to_owned())]);
    }
    words
        .iter()
        .map(|word| match word.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            Some(_) | None => Err(bad("expected key=value", word)),
        })
        .collect()
}

/// Splits at blanks; quotes keep blanks, a backslash the next character. `None`: an open quote.
fn words(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(chars.next()),
            ('"' | '\'', None) => {
                word.get_or_insert_default();
                quote = Some(c);
            }
            (c, Some(open)) if c == open => quote = None,
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

fn set_env(config: &mut RunConfig, pairs: Vec<(String, String)>) {
    for (key, value) in pairs {
        let entry = format!("{key}={value}");
        let prefix = format!("{key}=");
        match config.env.iter_mut().find(|there| there.starts_with(&prefix)) {
            Some(there) => *there = entry,
            None => config.env.push(entry),
        }
    }
}

fn expose(config: &mut RunConfig, rest: &str) -> Result<(), ChangeError> {
    for word in rest.split_ascii_whitespace() {
        let (ports, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
        let protocol = protocol.to_ascii_lowercase();
        let bad = || ChangeError::Bad {
            instruction: "EXPOSE",
            problem: "not a port",
            text: word.to_owned(),
        };
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let first: u16 = first.parse().map_err(|_| bad())?;
        let last: u16 = last.parse().map_err(|_| bad())?;
        if first == 0 || first > last || !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
            return Err(bad());
        }
        let keys = (first..=last).map(|port| (format!("{port}/{protocol}"), json!({})));
        config.exposed_ports.extend(keys);
    }
    Ok(())
}

fn volumes(config: &mut RunConfig, rest: &str) {
    let paths = json_words(rest)
        .unwrap_or_else(|| rest.split_ascii_whitespace().map(str::to_owned).collect());
    config.volumes.extend(paths.into_iter().map(|path| (path, json!({}))));
}

/// A relative directory is below the one that there is.
fn workdir(config: &mut RunConfig, rest: &str) {
    let whole = if rest.starts_with('/') {
        rest.to_owned()
    } else {
        format!("{}/{rest}", config.working_dir)
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    config.working_dir = format!("/{}", parts.join("/"));
}

/// `NONE`, or options and `CMD …`, as Docker keeps it in the configuration.
fn healthcheck(rest: &str) -> Result<serde_json::Value, ChangeError> {
    let mut check = serde_json::Map::new();
    let mut rest = required("HEALTHCHECK", rest)?;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
        let (key, value) = health_option(option)?;
        check.insert(key.to_owned(), value);
        rest = after.trim_start();
    }
    let (word, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let test = match word.to_ascii_uppercase().as_str() {
        "NONE" => json!(["NONE"]),
        "CMD" => match json_words(command.trim()) {
            Some(words) => {
                json!(std::iter::once("CMD".to_owned()).chain(words).collect::<Vec<_>>())
            }
            None => json!(["CMD-SHELL", required("HEALTHCHECK CMD", command.trim())?]),
        },
        _ => return Err(bad_health("expected NONE or CMD", rest)),
    };
    check.insert("Test".to_owned(), test);
    Ok(check.into())
}

fn health_option(option: &str) -> Result<(&'static str, serde_json::Value), ChangeError> {
    let (key, value) = option.split_once('=').unwrap_or((option, ""));
    let duration = || {
        nanoseconds(value).map(|ns| json!(ns)).ok_or_else(|| bad_health("not a duration", value))
    };
    match key {
        "interval" => Ok(("Interval", duration()?)),
        "timeout" => Ok(("Timeout", duration()?)),
        "start-period" => Ok(("StartPeriod", duration()?)),
        "start-interval" => Ok(("StartInterval", duration()?)),
        "retries" => {
            let retries: u32 = value.parse().map_err(|_| bad_health("not a number", value))?;
            Ok(("Retries", json!(retries)))
        }
        _ => Err(bad_health("unknown option", option)),
    }
}

fn bad_health(problem: &'static str, text: &str) -> ChangeError {
    ChangeError::Bad { instruction: "HEALTHCHECK", problem, text: text.to_owned() }
}

/// Go's durations: `1m30s`, `500ms`.
fn nanoseconds(text: &str) -> Option<u64> {
    let units: BTreeMap<&str, u64> = BTreeMap::from([
        ("ns", 1),
        ("us", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ]);
    let mut rest = text;
    let mut total = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*units.get(unit)?)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(changes: &[&str], expected: &Expect) {
        let mut config = RunConfig::default();
        let text = match apply(&mut config, changes) {
            Ok(()) => json!(config).to_string(),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn instructions_mean_what_they_mean_in_a_dockerfile() {
        check(
            &[
                r#"CMD ["a", "b"]"#,
                "entrypoint echo $HOME",
                "USER 1:2",
                "WORKDIR a",
                "WORKDIR ../b",
            ],
            &expect![[
                r#"{"Cmd":["a","b"],"Entrypoint":["/bin/sh","-c","echo $HOME"],"User":"1:2","WorkingDir":"/b"}"#
            ]],
        );
        check(
            &[r#"ENV A=1 B="two words" C=x\ y"#, "ENV A 3 4", "LABEL a.b=c"],
            &expect![[r#"{"Env":["A=3 4","B=two words","C=x y"],"Labels":{"a.b":"c"}}"#]],
        );
        check(
            &[
                "EXPOSE 80 81-82/udp",
                r#"VOLUME ["/a b"]"#,
                "VOLUME /c /d",
                "STOPSIGNAL SIGINT",
                "ONBUILD RUN x",
            ],
            &expect![[
                r#"{"ExposedPorts":{"80/tcp":{},"81/udp":{},"82/udp":{}},"OnBuild":["RUN x"],"StopSignal":"SIGINT","Volumes":{"/a b":{},"/c":{},"/d":{}}}"#
            ]],
        );
        check(
            &["HEALTHCHECK --interval=1m30s --retries=3 CMD curl x"],
            &expect![[
                r#"{"Healthcheck":{"Interval":90000000000,"Retries":3,"Test":["CMD-SHELL","curl x"]}}"#
            ]],
        );
        check(&["HEALTHCHECK NONE"], &expect![[r#"{"Healthcheck":{"Test":["NONE"]}}"#]]);
    }

    #[test]
    fn what_docker_refuses_is_refused() {
        check(&["FOO bar"], &expect!["FOO is not a valid change command"]);
        check(&["RUN x"], &expect!["RUN is not a valid change command"]);
        check(&["USER"], &expect!["USER requires at least one argument"]);
        check(&["ENV A=\"x"], &expect![[r#"ENV: a quote is not closed: "A=\"x""#]]);
        check(&["ENV =x"], &expect![[r#"ENV: expected key=value: "=x""#]]);
        check(&["EXPOSE 70000"], &expect![[r#"EXPOSE: not a port: "70000""#]]);
        check(&["EXPOSE 90-80"], &expect![[r#"EXPOSE: not a port: "90-80""#]]);
        check(
            &["HEALTHCHECK --interval=x CMD a"],
            &expect![[r#"HEALTHCHECK: not a duration: "x""#]],
        );
    }
}
