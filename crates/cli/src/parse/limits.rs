//! `--ulimit` and `--restart`.

use std::str::FromStr;

use docker_api::types::host_config::{RestartPolicy, Ulimit};
use model::ulimit::UlimitKind;

use super::number::Int;

/// One `--ulimit type=soft[:hard]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UlimitFlag(pub(crate) Ulimit);

impl FromStr for UlimitFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((name, values)) = text.split_once('=') else {
            return Err(format!("invalid ulimit argument: {text}"));
        };
        name.parse::<UlimitKind>().map_err(|error| error.to_string())?;
        let parts: Vec<&str> = values.split(':').collect();
        let number = |text: &str| text.parse::<Int>().map(|value| value.0);
        let (soft, hard) = match parts[..] {
            [both] => (number(both)?, number(both)?),
            [soft, hard] => (number(soft)?, number(hard)?),
            _ => {
                return Err(format!(
                    "too many limit value arguments - {values}, can only have up to two, `soft[:hard]`"
                ));
            }
        };
        check(soft, hard)?;
        Ok(Self(Ulimit { name: name.to_owned(), soft, hard }))
    }
}

fn check(soft: i64, hard: i64) -> Result<(), String> {
    const ORDER: &str = "ulimit soft limit must be less than or equal to hard limit";
    if hard == -1 {
        return Ok(());
    }
    if soft == -1 {
        return Err(format!("{ORDER}: soft: -1 (unlimited), hard: {hard}"));
    }
    if soft > hard {
        return Err(format!("{ORDER}: {soft} > {hard}"));
    }
    Ok(())
}

/// The last of several limits of one kind, by kind.
pub(crate) fn ulimits(flags: &[UlimitFlag]) -> Vec<Ulimit> {
    let mut by_name = std::collections::BTreeMap::new();
    for UlimitFlag(limit) in flags {
        by_name.insert(limit.name.as_str(), limit);
    }
    by_name.into_values().cloned().collect()
}

/// `--restart name[:count]`. Which names there are is the server's to say.
pub(crate) fn restart(text: &str) -> Result<RestartPolicy, String> {
    let (name, count) = match text.split_once(':') {
        None => (text, 0),
        Some(("", _)) => {
            return Err("invalid restart policy format: no policy provided before colon".to_owned());
        }
        Some((name, count)) => {
            let count = count.parse().map_err(|_| {
                "invalid restart policy format: maximum retry count must be an integer".to_owned()
            })?;
            (name, count)
        }
    };
    Ok(RestartPolicy { name: name.to_owned(), maximum_retry_count: count })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ulimit(text: &str) -> String {
        match text.parse::<UlimitFlag>() {
            Ok(UlimitFlag(limit)) => format!("{} {} {}", limit.name, limit.soft, limit.hard),
            Err(e) => e,
        }
    }

    #[test]
    fn ulimit_forms() {
        for (text, want) in [
            ("nofile=1024", "nofile 1024 1024"),
            ("nproc=1:2", "nproc 1 2"),
            ("core=-1", "core -1 -1"),
            ("foo", "invalid ulimit argument: foo"),
            ("foo=1", "invalid ulimit type: foo"),
            ("nofile=2:1", "ulimit soft limit must be less than or equal to hard limit: 2 > 1"),
            (
                "nofile=-1:5",
                "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: 5",
            ),
            ("nofile=x", "strconv.ParseInt: parsing \"x\": invalid syntax"),
            (
                "nofile=1:2:3",
                "too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`",
            ),
        ] {
            assert_eq!(ulimit(text), want);
        }
    }

    #[test]
    fn restart_forms() {
        let shown = |text| restart(text).map(|p| format!("{} {}", p.name, p.maximum_retry_count));
        assert_eq!(shown("always"), Ok("always 0".to_owned()));
        assert_eq!(shown("on-failure:3"), Ok("on-failure 3".to_owned()));
        for (text, want) in [
            (
                "on-failure:x",
                "invalid restart policy format: maximum retry count must be an integer",
            ),
            ("a:b:c", "invalid restart policy format: maximum retry count must be an integer"),
            (":3", "invalid restart policy format: no policy provided before colon"),
        ] {
            assert_eq!(shown(text), Err(want.to_owned()), "{text}");
        }
    }
}
