//! `-p` and `--expose`, on their way to the wire.

use docker_api::types::network_settings::{PortBinding, PortMap};
use docker_api::types::{Empty, Map};
use model::port::{HostPort, PortRange, parse_publish};

/// Ports a container exposes, and what they are published as.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) exposed: Map<Empty>,
    pub(crate) bindings: PortMap,
}

/// Reads all flags of both kinds.
pub(crate) fn ports(publish: &[String], expose: &[String]) -> Result<Ports, String> {
    let mut ports = Ports::default();
    for text in publish {
        let text = if text.contains('=') { &short(text)? } else { text };
        for binding in parse_publish(text).map_err(|e| e.to_string())? {
            let port = binding.container.to_string();
            ports.exposed.insert(port.clone(), Empty {});
            let host = PortBinding {
                host_ip: binding.host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
                host_port: host_port(binding.host),
            };
            ports.bindings.entry(port).or_default().get_or_insert_default().push(host);
        }
    }
    for text in expose {
        add_exposed(&mut ports.exposed, text)?;
    }
    Ok(ports)
}

/// `published=8080,target=80,protocol=udp,mode=host` in the short form. Here a port can only be
/// published on its own host, which is what both modes come to.
fn short(text: &str) -> Result<String, String> {
    let (mut published, mut target, mut protocol) = ("", "", "tcp");
    for field in text.split(',') {
        match field.split_once('=') {
            Some(("published", value)) => published = value,
            Some(("target", value)) => target = value,
            Some(("protocol", value)) => protocol = value,
            Some(("mode", "host" | "ingress")) => {}
            Some((name, value)) if !name.is_empty() => {
                return Err(format!("invalid publish option: {name}={value}"));
            }
            Some(_) | None => {
                return Err(format!(
                    "invalid publish opts format (should be name=value but got '{field}')"
                ));
            }
        }
    }
    Ok(format!("{published}:{target}/{protocol}"))
}

fn host_port(port: HostPort) -> String {
    match port {
        HostPort::Random => String::new(),
        HostPort::Within(PortRange { first, last }) if first == last => first.to_string(),
        HostPort::Within(PortRange { first, last }) => format!("{first}-{last}"),
    }
}

fn add_exposed(exposed: &mut Map<Empty>, text: &str) -> Result<(), String> {
    if text.contains(':') {
        return Err(format!("invalid port format for --expose: {text}"));
    }
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let bad = |why: String| format!("invalid range format for --expose: {text}, error: {why}");
    if range.is_empty() {
        return Err(bad("empty string specified for ports".to_owned()));
    }
    let number = |text: &str| {
        text.parse::<u16>()
            .map_err(|_| bad(format!("strconv.ParseUint: parsing \"{text}\": invalid syntax")))
    };
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last) = (number(first)?, number(last)?);
    if last < first {
        return Err(bad(format!("invalid range specified for port: {range}")));
    }
    for port in first..=last {
        exposed.insert(format!("{port}/{}", protocol.to_lowercase()), Empty {});
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn both_kinds_together() {
        let publish = strings(&[
            "80",
            "8080:80",
            "127.0.0.1::81/udp",
            "[::1]:5000-5001:5000-5001/tcp",
            "8000-8001:82",
        ]);
        let got = ports(&publish, &strings(&["90-91", "92/UDP"])).unwrap();
        let exposed: Vec<&str> = got.exposed.keys().map(String::as_str).collect();
        assert_eq!(
            exposed,
            ["5000/tcp", "5001/tcp", "80/tcp", "81/udp", "82/tcp", "90/tcp", "91/tcp", "92/udp"]
        );
        let shown: Vec<String> = got
            .bindings
            .iter()
            .flat_map(|(port, hosts)| {
                hosts
                    .iter()
                    .flatten()
                    .map(move |h| format!("{}={}->{port}", h.host_ip, h.host_port))
            })
            .collect();
        assert_eq!(
            shown,
            [
                "::1=5000->5000/tcp",
                "::1=5001->5001/tcp",
                "=->80/tcp",
                "=8080->80/tcp",
                "127.0.0.1=->81/udp",
                "=8000-8001->82/tcp"
            ]
        );
    }

    #[test]
    fn the_long_form_is_the_short_one_with_names() {
        for (long, brief) in [
            ("published=8080,target=80", "8080:80/tcp"),
            ("target=80,published=8080-8081,protocol=udp,mode=host", "8080-8081:80/udp"),
            ("target=80", ":80/tcp"),
        ] {
            let got = ports(&strings(&[long]), &[]);
            assert!(got.is_ok(), "{long}: {got:?}");
            assert_eq!(got, ports(&strings(&[brief]), &[]), "{long}");
        }
    }

    #[test]
    fn refusals() {
        for (publish, expose, want) in [
            (Some("99999"), None, "invalid containerPort: 99999"),
            (Some("target=x"), None, "invalid containerPort: x"),
            (Some("target=80,foo=bar"), None, "invalid publish option: foo=bar"),
            (
                Some("target=80,udp"),
                None,
                "invalid publish opts format (should be name=value but got 'udp')",
            ),
            (
                Some("80-81:80-85"),
                None,
                "invalid ranges specified for container and host Ports: 80-85 and 80-81",
            ),
            (None, Some("1:2"), "invalid port format for --expose: 1:2"),
            (
                None,
                Some("5-3"),
                "invalid range format for --expose: 5-3, error: invalid range specified for port: 5-3",
            ),
            (
                None,
                Some("foo"),
                "invalid range format for --expose: foo, error: strconv.ParseUint: parsing \"foo\": invalid syntax",
            ),
        ] {
            let list = |text: Option<&str>| strings(&text.into_iter().collect::<Vec<_>>());
            assert_eq!(ports(&list(publish), &list(expose)), Err(want.to_owned()));
        }
    }
}
