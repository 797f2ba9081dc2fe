//! `--change`: the Dockerfile instructions that alter how an image runs, for commit and import.
//!
//! Pure. Only the instructions that Docker accepts there; what they mean is what they mean in a
//! Dockerfile, with the variables of the configuration that they change (`words`).

mod words;

use std::collections::BTreeMap;

use model::image::RunConfig;
use serde_json::json;

/// Why a change was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Not one of the instructions; Docker's words.
    #[error("{0} is not a valid change command")]
    Unknown(String),
    /// Nothing but comments.
    #[error("file with no instructions")]
    Nothing,
    /// Nothing behind it.
    #[error("{0} requires at least one argument")]
    Empty(&'static str),
    /// Nothing behind it, where one thing is to be.
    #[error("{0} requires exactly one argument")]
    NotOne(&'static str),
    /// A key without a value.
    #[error("{0} must have two arguments")]
    NotTwo(&'static str),
    /// Not a port.
    #[error("invalid containerPort: {0}")]
    Port(String),
    /// Not a signal.
    #[error(transparent)]
    Signal(#[from] model::signal::BadSignal),
    /// An instruction that no build can be triggered to do.
    #[error("{0} isn't allowed as an ONBUILD trigger")]
    Trigger(String),
    /// A trigger of triggers.
    #[error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")]
    Chain,
    /// Neither `NONE` nor `CMD`.
    #[error("Unknown type \"{0}\" in HEALTHCHECK (try CMD)")]
    HealthType(String),
    /// `CMD` and nothing.
    #[error("Missing command after HEALTHCHECK CMD")]
    NoHealthCommand,
    /// Shorter than Docker's shortest.
    #[error("Interval \"{0}\" cannot be less than 1ms")]
    Interval(String),
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

/// Applies instructions in order. A text may hold several, one a line.
///
/// # Errors
/// One of them is unknown or wrong.
pub fn apply(config: &mut RunConfig, changes: &[impl AsRef<str>]) -> Result<(), ChangeError> {
    let lines: Vec<&str> = changes.iter().flat_map(|change| change.as_ref().lines()).collect();
    let is_instruction = |line: &&&str| !line.is_empty() && !line.starts_with('#');
    let lines: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
    let instructions: Vec<&&str> = lines.iter().filter(is_instruction).collect();
    if instructions.is_empty() && !changes.is_empty() {
        return Err(ChangeError::Nothing);
    }
    let mut command = Command::Inherited;
    for instruction in instructions {
        command = apply_one(config, instruction, command)?;
    }
    Ok(())
}

/// Where the command comes from: a new entrypoint drops one that was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Inherited,
    Given,
}

fn apply_one(
    config: &mut RunConfig,
    change: &str,
    mut command_is: Command,
) -> Result<Command, ChangeError> {
    let (word, rest) = change.split_once(char::is_whitespace).unwrap_or((change, ""));
    let rest = rest.trim();
    match word.to_ascii_uppercase().as_str() {
        "CMD" => {
            config.cmd = Some(command("CMD", rest, config)?);
            command_is = Command::Given;
        }
        "ENTRYPOINT" => {
            config.entrypoint = Some(command("ENTRYPOINT", rest, config)?);
            if command_is == Command::Inherited {
                config.cmd = None;
            }
        }
        "ENV" => set_env(config, pairs("ENV", rest, &config.env)?),
        "EXPOSE" => expose(config, required("EXPOSE", rest)?)?,
        "HEALTHCHECK" => config.healthcheck = Some(healthcheck(rest)?),
        "LABEL" => config.labels.extend(pairs("LABEL", rest, &config.env)?),
        "ONBUILD" => {
            let trigger = trigger(required("ONBUILD", rest)?)?;
            config.on_build.get_or_insert_default().push(trigger);
        }
        "STOPSIGNAL" => {
            let signal = one("STOPSIGNAL", rest, &config.env)?;
            signal.parse::<model::Signal>()?;
            config.stop_signal = Some(signal);
        }
        "USER" => config.user = one("USER", rest, &config.env)?,
        "VOLUME" => volumes(config, required("VOLUME", rest)?)?,
        "WORKDIR" => {
            let dir = one("WORKDIR", rest, &config.env)?;
            workdir(config, &dir);
        }
        _ => return Err(ChangeError::Unknown(word.to_owned())),
    }
    Ok(command_is)
}

/// All that stands there, as one thing.
fn one(instruction: &'static str, rest: &str, env: &[String]) -> Result<String, ChangeError> {
    let text = words::expand(rest, env).ok_or_else(|| open_quote(instruction, rest))?;
    if text.is_empty() { Err(ChangeError::NotOne(instruction)) } else { Ok(text) }
}

fn open_quote(instruction: &'static str, text: &str) -> ChangeError {
    ChangeError::Bad { instruction, problem: "a quote is not closed", text: text.to_owned() }
}

fn trigger(text: &str) -> Result<String, ChangeError> {
    let word = text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    match word.as_str() {
        "ONBUILD" => Err(ChangeError::Chain),
        "FROM" | "MAINTAINER" => Err(ChangeError::Trigger(word)),
        _ => Ok(text.to_owned()),
    }
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
fn pairs(
    instruction: &'static str,
    rest: &str,
    env: &[String],
) -> Result<Vec<(String, String)>, ChangeError> {
    let rest = required(instruction, rest)?;
    let words = words::split(rest, env).ok_or_else(|| open_quote(instruction, rest))?;
    let is_old = rest.split_whitespace().next().is_some_and(|word| !word.contains('='));
    if is_old {
        let (key, value) =
            rest.split_once(char::is_whitespace).ok_or(ChangeError::NotTwo(instruction))?;
        let value =
            words::expand(value.trim(), env).ok_or_else(|| open_quote(instruction, rest))?;
        return Ok(vec![(key.to_owned(), value)]);
    }
    let bad = |text: &str| ChangeError::Bad {
        instruction,
        problem: "expected key=value",
        text: text.to_owned(),
    };
    words
        .iter()
        .map(|word| match word.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            Some(_) | None => Err(bad(word)),
        })
        .collect()
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
    let words = words::split(rest, &config.env).ok_or_else(|| open_quote("EXPOSE", rest))?;
    for word in words {
        let word = word.as_str();
        let (ports, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
        let protocol = protocol.to_ascii_lowercase();
        let bad = || ChangeError::Port(word.to_owned());
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

fn volumes(config: &mut RunConfig, rest: &str) -> Result<(), ChangeError> {
    let paths = match json_words(rest) {
        Some(paths) => paths,
        None => words::split(rest, &config.env).ok_or_else(|| open_quote("VOLUME", rest))?,
    };
    if paths.is_empty() {
        return Err(ChangeError::Empty("VOLUME"));
    }
    config.volumes.extend(paths.into_iter().map(|path| (path, json!({}))));
    Ok(())
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
            None if command.trim().is_empty() => return Err(ChangeError::NoHealthCommand),
            None => json!(["CMD-SHELL", command.trim()]),
        },
        _ => return Err(ChangeError::HealthType(word.to_ascii_uppercase())),
    };
    check.insert("Test".to_owned(), test);
    Ok(check.into())
}

fn health_option(option: &str) -> Result<(&'static str, serde_json::Value), ChangeError> {
    let (key, value) = option.split_once('=').unwrap_or((option, ""));
    let duration = || match nanoseconds(value) {
        Some(ns @ 1_000_000..) => Ok(json!(ns)),
        Some(_) => Err(ChangeError::Interval(key.to_owned())),
        None if value.starts_with('-') && nanoseconds(&value[1..]).is_some() => {
            Err(ChangeError::Interval(key.to_owned()))
        }
        None => Err(bad_health("not a duration", value)),
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
    if text == "0" {
        return Some(0);
    }
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
                "# what is run\nCMD [\"a\", \"b\"]\n",
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
    fn a_new_entrypoint_drops_the_command_that_was_there() {
        let words = |words: &[&str]| Some(words.iter().map(ToString::to_string).collect());
        let before = || RunConfig { cmd: words(&["old"]), ..RunConfig::default() };
        let mut config = before();
        apply(&mut config, &["ENTRYPOINT [\"e\"]"]).unwrap();
        assert_eq!(config.cmd, None);
        let mut config = before();
        apply(&mut config, &["CMD [\"new\"]", "ENTRYPOINT [\"e\"]"]).unwrap();
        assert_eq!(config.cmd, words(&["new"]));
    }

    #[test]
    fn variables_are_those_of_the_configuration() {
        check(
            &[
                "ENV DIR=/a NAME=me",
                "WORKDIR $DIR/${NAME}",
                "USER '$NAME'",
                "LABEL x=${NO:-y} z=\\$NAME",
            ],
            &expect![[
                r#"{"Env":["DIR=/a","NAME=me"],"Labels":{"x":"y","z":"$NAME"},"User":"$NAME","WorkingDir":"/a/me"}"#
            ]],
        );
    }

    #[test]
    fn what_docker_refuses_is_refused() {
        check(&["FOO bar"], &expect!["FOO is not a valid change command"]);
        check(&["RUN x"], &expect!["RUN is not a valid change command"]);
        check(&["USER"], &expect!["USER requires exactly one argument"]);
        check(&["ENV A"], &expect!["ENV must have two arguments"]);
        check(&["LABEL a"], &expect!["LABEL must have two arguments"]);
        check(&["VOLUME []"], &expect!["VOLUME requires at least one argument"]);
        check(&["EXPOSE x"], &expect!["invalid containerPort: x"]);
        check(&["STOPSIGNAL FOO"], &expect!["invalid signal: FOO"]);
        check(&["ONBUILD FROM x"], &expect!["FROM isn't allowed as an ONBUILD trigger"]);
        check(
            &["ONBUILD ONBUILD RUN x"],
            &expect!["Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"],
        );
        check(&["HEALTHCHECK FOO"], &expect![[r#"Unknown type "FOO" in HEALTHCHECK (try CMD)"#]]);
        check(&["HEALTHCHECK CMD"], &expect!["Missing command after HEALTHCHECK CMD"]);
        check(
            &["HEALTHCHECK --interval=0 CMD x"],
            &expect![[r#"Interval "interval" cannot be less than 1ms"#]],
        );
        check(&["", "# comment"], &expect!["file with no instructions"]);
        check(&["ENV A=\"x"], &expect![[r#"ENV: a quote is not closed: "A=\"x""#]]);
        check(&["ENV =x"], &expect![[r#"ENV: expected key=value: "=x""#]]);
        check(&["EXPOSE 70000"], &expect!["invalid containerPort: 70000"]);
        check(&["EXPOSE 90-80"], &expect!["invalid containerPort: 90-80"]);
        check(
            &["HEALTHCHECK --interval=x CMD a"],
            &expect![[r#"HEALTHCHECK: not a duration: "x""#]],
        );
    }
}
