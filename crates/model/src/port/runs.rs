//! Ports that follow each other as one: what a published range is in a record.
//!
//! In memory each port is an entry of its own, as in Docker's API; written down, ten thousand of them are one line.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{ContainerPort, HostPort, PortBinding, PortRange};

/// Ports that follow each other on both sides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortRun {
    /// The lowest.
    pub first: PortBinding,
    /// How many; never 0.
    pub count: u16,
}

impl PortRun {
    fn is_followed_by(&self, next: &PortBinding) -> bool {
        let first = &self.first;
        let inside = first.container.port.checked_add(self.count);
        let outside = match (exact(first.host), exact(next.host)) {
            (Some(host), Some(next)) => host.checked_add(self.count) == Some(next),
            (Some(_), None) | (None, Some(_)) => false,
            (None, None) => first.host == HostPort::Random && next.host == HostPort::Random,
        };
        outside
            && inside == Some(next.container.port)
            && first.container.protocol == next.container.protocol
            && first.host_ip == next.host_ip
    }

    /// Each port; nothing beyond the last port that there is.
    pub fn bindings(self) -> impl Iterator<Item = PortBinding> {
        (0..self.count).map_while(move |index| nth(self.first, index))
    }
}

/// The one port of the host that will do, if only one does.
#[must_use]
pub fn exact(host: HostPort) -> Option<u16> {
    match host {
        HostPort::Within(range) if range.first == range.last => Some(range.first),
        HostPort::Within(_) | HostPort::Random => None,
    }
}

fn nth(first: PortBinding, index: u16) -> Option<PortBinding> {
    let container =
        ContainerPort { port: first.container.port.checked_add(index)?, ..first.container };
    let host = match exact(first.host) {
        Some(port) => {
            let port = port.checked_add(index)?;
            HostPort::Within(PortRange { first: port, last: port })
        }
        None => first.host,
    };
    Some(PortBinding { container, host, ..first })
}

/// Among so many of the last runs a port finds the one that it follows: a range that is published at several
/// addresses is listed port by port.
const OPEN: usize = 8;

/// Ports as runs, in the order of their first ones.
#[must_use]
pub fn runs(bindings: &[PortBinding]) -> Vec<PortRun> {
    let mut runs: Vec<PortRun> = Vec::new();
    for binding in bindings {
        let mut open = runs.iter_mut().rev().take(OPEN);
        match open.find(|run| run.count < u16::MAX && run.is_followed_by(binding)) {
            Some(run) => run.count += 1,
            None => runs.push(PortRun { first: *binding, count: 1 }),
        }
    }
    runs
}

const fn one() -> u16 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_one(count: &u16) -> bool {
    *count == 1
}

/// `serde(with)` for what is published.
pub mod bindings {
    use serde::{Deserializer, Serializer, de};

    use super::{
        ContainerPort, Deserialize, HostPort, IpAddr, PortBinding, PortRun, Serialize, is_one, one,
        runs,
    };

    /// A [`PortBinding`], and how many follow; the first records have no ranges.
    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Entry {
        container: ContainerPort,
        host_ip: Option<IpAddr>,
        host: HostPort,
        #[serde(default = "one", skip_serializing_if = "is_one")]
        count: u16,
    }

    /// Writes one entry for each run.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(ports: &[PortBinding], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(runs(ports).into_iter().map(|PortRun { first, count }| {
            let PortBinding { container, host_ip, host } = first;
            Entry { container, host_ip, host, count }
        }))
    }

    /// Reads what [`serialize`] has written.
    ///
    /// # Errors
    /// A run that has no port, or goes beyond the last that there is.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PortBinding>, D::Error> {
        let mut ports = Vec::new();
        for Entry { container, host_ip, host, count } in Vec::<Entry>::deserialize(from)? {
            let before = ports.len();
            ports.extend(
                PortRun { first: PortBinding { container, host_ip, host }, count }.bindings(),
            );
            if count == 0 || ports.len() - before != usize::from(count) {
                return Err(de::Error::custom(format!("{count} ports from {container} on")));
            }
        }
        Ok(ports)
    }
}

/// `serde(with)` for what is exposed: `80/tcp`, and `8000-8999/tcp` for a run.
pub mod exposed {
    use serde::{Deserializer, Serializer, de};

    use super::super::{PortRange, split_protocol};
    use super::{ContainerPort, Deserialize};

    /// Writes one text for each run.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(ports: &[ContainerPort], to: S) -> Result<S::Ok, S::Error> {
        let runs = ports
            .chunk_by(|a, b| a.protocol == b.protocol && a.port.checked_add(1) == Some(b.port));
        to.collect_seq(runs.filter_map(|run| match run {
            [] => None,
            [one] => Some(one.to_string()),
            [first, .., last] => Some(format!("{}-{last}", first.port)),
        }))
    }

    /// Reads what [`serialize`] has written.
    ///
    /// # Errors
    /// A text that is no port and no range of them.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<ContainerPort>, D::Error> {
        let mut ports = Vec::new();
        for text in Vec::<String>::deserialize(from)? {
            let (range, protocol) = split_protocol(&text).map_err(de::Error::custom)?;
            let range: PortRange = range
                .parse()
                .map_err(|()| de::Error::custom(format!("invalid containerPort: {text}")))?;
            ports.extend((range.first..=range.last).map(|port| ContainerPort { port, protocol }));
        }
        Ok(ports)
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_publish;
    use super::*;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Written {
        #[serde(with = "super::bindings")]
        published: Vec<PortBinding>,
        #[serde(with = "super::exposed")]
        exposed: Vec<ContainerPort>,
    }

    fn written(typed: &[&str]) -> Written {
        let published: Vec<PortBinding> =
            typed.iter().flat_map(|text| parse_publish(text).unwrap()).collect();
        let exposed = published.iter().map(|binding| binding.container).collect();
        Written { published, exposed }
    }

    #[test]
    fn a_range_is_one_entry_and_comes_back() {
        for (typed, entries) in [
            (vec!["80"], 1),
            (vec!["20000-29999:30000-39999"], 1),
            (vec!["20000-20099:80-179/udp", "20100:180/udp", "20101:182/udp"], 2),
            (vec!["8000-8002:80", "8000-8002:81"], 2),
            (vec!["90-99"], 1),
            (vec!["127.0.0.1:1-2:1-2", "3:3"], 2),
            (vec!["65534-65535:65534-65535", "1-65535:1-65535/udp"], 2),
        ] {
            let was = written(&typed);
            let text = serde_json::to_value(&was).unwrap();
            assert_eq!(text["published"].as_array().unwrap().len(), entries, "{text}");
            assert_eq!(serde_json::from_value::<Written>(text).unwrap(), was, "{typed:?}");
        }
        let mut two = written(&["127.0.0.1:1-99:1-99", "127.0.0.2:1-99:1-99"]).published;
        two.sort_by_key(|binding| binding.container.port);
        assert_eq!(runs(&two).len(), 2, "port by port");
        let text = serde_json::to_string(&written(&["8000-8009:80-89"])).unwrap();
        assert_eq!(
            text,
            r#"{"published":[{"container":"80/tcp","host_ip":null,"host":{"Within":{"first":8000,"last":8000}},"count":10}],"exposed":["80-89/tcp"]}"#
        );
    }

    #[test]
    fn what_is_beyond_the_last_port_is_refused() {
        let read = |count: u32, exposed: &str| {
            serde_json::from_str::<Written>(&format!(
                r#"{{"published":[{{"container":"65535/tcp","host_ip":null,"host":"Random","count":{count}}}],"exposed":["{exposed}"]}}"#
            ))
        };
        assert!(read(1, "80/tcp").is_ok());
        for (count, exposed) in [(0, "80/tcp"), (2, "80/tcp"), (1, "2-1/tcp"), (1, "x/tcp")] {
            assert!(read(count, exposed).is_err(), "{count} {exposed}");
        }
    }
}
