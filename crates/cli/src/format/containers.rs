//! `ps`.

use super::Clock;
use crate::human;
use crate::table::{Column, Format, List, Named, Row, ellipsis, label_cell, short_id};
use crate::template::literal::quote;
use docker_api::types::containers::{ContainerSummary, MountPoint, Port};

const TABLE: &str =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";
const TABLE_SIZE: &str = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}";
const RAW: &str = "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\nstate: {{- pad .State 1 0}}\nstatus: {{- pad .Status 1 0}}\nnames: {{.Names}}\nlabels: {{- pad .Labels 1 0}}\nports: {{- pad .Ports 1 0}}\n";
const RAW_SIZE: &str = "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\nstate: {{- pad .State 1 0}}\nstatus: {{- pad .Status 1 0}}\nnames: {{.Names}}\nlabels: {{- pad .Labels 1 0}}\nports: {{- pad .Ports 1 0}}\nsize: {{.Size}}\n";

/// The formats with a name.
pub(crate) const NAMED: Named<'static> = Named { table: TABLE, raw: Some(RAW) };
/// The same with sizes.
pub(crate) const NAMED_SIZE: Named<'static> = Named { table: TABLE_SIZE, raw: Some(RAW_SIZE) };

const COLUMNS: &[Column] = &[
    ("ID", "CONTAINER ID"),
    ("Names", "NAMES"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
    ("Platform", "PLATFORM"),
    ("HealthStatus", "HEALTH"),
];

/// Whether long texts are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// As lists do by default.
    Short,
    /// `--no-trunc`.
    Whole,
}

/// The list for these containers.
pub(crate) fn list(
    containers: &[ContainerSummary],
    cut: Cut,
    format: &Format,
    clock: &Clock,
) -> List<'static> {
    let rows = containers.iter().map(|container| row(container, cut, format, clock)).collect();
    List { columns: COLUMNS, type_name: "*formatter.ContainerContext", rows }
}

fn row(container: &ContainerSummary, cut: Cut, format: &Format, clock: &Clock) -> Row {
    let short = cut == Cut::Short;
    let id = if short { short_id(&container.id) } else { &container.id };
    let command = if short { ellipsis(&container.command, 20) } else { container.command.clone() };
    // A time zone costs a file to be read: only for those who look at it.
    let created =
        if format.wants("CreatedAt") { clock.date(container.created) } else { String::new() };
    let volumes = container.mounts.iter().filter(|mount| mount.driver == "local").count();
    let networks: Vec<&str> = container
        .network_settings
        .networks
        .iter()
        .flat_map(|networks| networks.keys().map(String::as_str))
        .collect();
    Row {
        fields: vec![
            ("ID", id.to_owned()),
            ("Names", names(&container.names, cut)),
            ("Image", image(container, cut)),
            ("Command", quote(&command)),
            ("CreatedAt", created),
            ("RunningFor", clock.ago(container.created)),
            ("Ports", ports(&container.ports)),
            ("State", container.state.clone()),
            ("Status", container.status.clone()),
            ("Size", size(container)),
            ("Labels", label_cell(&container.labels)),
            ("Mounts", mounts(&container.mounts, cut)),
            ("LocalVolumes", volumes.to_string()),
            ("Networks", networks.join(",")),
            ("Platform", platform(container)),
            ("HealthStatus", health(&container.status).to_owned()),
        ],
        labels: container.labels.clone(),
    }
}

/// Names without their slash; those that links gave, with a slash inside, only uncut.
fn names(names: &[String], cut: Cut) -> String {
    let mut bare = names.iter().map(|name| name.strip_prefix('/').unwrap_or(name));
    match cut {
        Cut::Short => bare.find(|name| !name.contains('/')).unwrap_or_default().to_owned(),
        Cut::Whole => bare.collect::<Vec<_>>().join(","),
    }
}

fn image(container: &ContainerSummary, cut: Cut) -> String {
    let name = container.image.as_str();
    if name.is_empty() {
        return "<no image>".to_owned();
    }
    if cut == Cut::Whole {
        return name.to_owned();
    }
    if name == container.image_id || name == short_id(&container.image_id) {
        return short_id(name).to_owned();
    }
    // A name with a digest loses it if it has a tag as well.
    match name.parse::<model::Reference>() {
        Ok(reference) if reference.tag().is_some() && reference.digest().is_some() => {
            name.split('@').next().unwrap_or(name).to_owned()
        }
        Ok(_) | Err(_) => name.to_owned(),
    }
}

fn size(container: &ContainerSummary) -> String {
    let own = human::size(human::float(container.size_rw.unwrap_or(0)));
    match container.size_root_fs {
        Some(all) if all > 0 => format!("{own} (virtual {})", human::size(human::float(all))),
        Some(_) | None => own,
    }
}

fn mounts(mounts: &[MountPoint], cut: Cut) -> String {
    let name = |mount: &MountPoint| {
        let name = if mount.name.is_empty() { &mount.source } else { &mount.name };
        if cut == Cut::Short { ellipsis(name, 15) } else { name.clone() }
    };
    mounts.iter().map(name).collect::<Vec<_>>().join(",")
}

fn platform(container: &ContainerSummary) -> String {
    let described = container.image_manifest_descriptor.as_ref();
    let Some(platform) = described.and_then(|d| d.platform.as_ref()) else {
        return String::new();
    };
    let parts = [&platform.os, &platform.architecture, &platform.variant];
    let given: Vec<&str> = parts.iter().map(|p| p.as_str()).filter(|p| !p.is_empty()).collect();
    given.join("/")
}

fn health(status: &str) -> &str {
    let inside = status.rsplit_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    match inside.map(|text| text.strip_prefix("health: ").unwrap_or(text)) {
        Some(health @ ("starting" | "healthy" | "unhealthy")) => health,
        Some(_) | None => "",
    }
}

/// Neighbouring ports are joined: `0.0.0.0:100-101->100-101/tcp`.
fn ports(ports: &[Port]) -> String {
    let mut sorted: Vec<Port> = ports.iter().flat_map(told_together).collect();
    sorted.sort_by(|a, b| {
        (a.private_port, &a.ip, a.public_port, &a.protocol).cmp(&(
            b.private_port,
            &b.ip,
            b.public_port,
            &b.protocol,
        ))
    });
    let mut open: Vec<Span> = Vec::new();
    let mut singles = Vec::new();
    let mut shown = Vec::new();
    for port in &sorted {
        if is_moved(port) {
            singles.push(mapped(port));
            continue;
        }
        let same = |span: &&mut Span| span.ip == port.ip && span.protocol == port.protocol;
        match open.iter_mut().find(same) {
            // Ranges at a container's own addresses lie over each other where its families have different ones.
            Some(span) if port.private_port <= span.last.saturating_add(1) => {
                span.last = span.last.max(last(port));
            }
            Some(span) => {
                shown.push(span.text());
                *span = Span::new(port);
            }
            None => open.push(Span::new(port)),
        }
    }
    shown.extend(open.iter().map(Span::text));
    shown.extend(singles);
    shown.join(", ")
}

fn is_moved(port: &Port) -> bool {
    !port.ip.is_empty() && port.public_port != port.private_port
}

/// The last port of a range, which is the first one where there is no other.
fn last(port: &Port) -> u16 {
    port.private_port.saturating_add(port.count.saturating_sub(1))
}

/// A range as it is, but for one that leads to other numbers: of that each port is shown (Docker).
fn told_together(port: &Port) -> Vec<Port> {
    if !is_moved(port) {
        return vec![port.clone()];
    }
    let ports = (port.private_port..=last(port)).zip(port.public_port..);
    let one =
        |(private_port, public_port)| Port { private_port, public_port, count: 0, ..port.clone() };
    ports.map(one).collect()
}

struct Span<'a> {
    ip: &'a str,
    protocol: &'a str,
    first: u16,
    last: u16,
}

impl<'a> Span<'a> {
    fn new(port: &'a Port) -> Self {
        Self { ip: &port.ip, protocol: &port.protocol, first: port.private_port, last: last(port) }
    }

    fn text(&self) -> String {
        let range = if self.first == self.last {
            self.first.to_string()
        } else {
            format!("{}-{}", self.first, self.last)
        };
        let outside = host(self.ip, &range);
        format!("{outside}{range}/{}", self.protocol)
    }
}

fn host(ip: &str, port: &str) -> String {
    match ip {
        "" => String::new(),
        ip if ip.contains(':') => format!("[{ip}]:{port}->"),
        ip => format!("{ip}:{port}->"),
    }
}

fn mapped(port: &Port) -> String {
    let outside = host(&port.ip, &port.public_port.to_string());
    format!("{outside}{}/{}", port.private_port, port.protocol)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn port(ip: &str, private_port: u16, public_port: u16, protocol: &str) -> Port {
        Port { ip: ip.into(), private_port, public_port, protocol: protocol.into(), count: 0 }
    }

    fn containers() -> Vec<ContainerSummary> {
        let created = super::super::tests::clock().now.as_second() - 7200;
        let text = format!(
            r#"[{{"Id":"0123456789abcdef0123","Names":["/x/y","/web"],"Image":"nginx:latest","ImageID":"sha256:aa","Command":"/docker-entrypoint.sh nginx -g 'daemon off;'","Created":{created},"Ports":[],"SizeRw":1234567,"SizeRootFs":77812345,"Labels":{{"b":"2","a":"1"}},"State":"running","Status":"Up 2 hours (healthy)","NetworkSettings":{{"Networks":{{"foo":{{}},"bridge":{{}}}}}},"Mounts":[{{"Type":"volume","Name":"0123456789abcdef0123456789abcdef","Destination":"/d","Driver":"local"}},{{"Type":"bind","Source":"/short","Destination":"/e"}}]}},
            {{"Id":"fedcba9876543210","Names":["/b"],"Image":"sha256:0123456789abcdef","ImageID":"sha256:0123456789abcdef","Command":"sh","Created":{created},"Ports":[],"Labels":{{}},"State":"exited","Status":"Exited (0) 2 hours ago","Mounts":[]}}]"#
        );
        docker_api::json::parse_reply(text.as_bytes()).unwrap()
    }

    fn check(format: &str, cut: Cut, want: Expect) {
        let Ok(format) = Format::parse(format, NAMED) else { panic!("{format}") };
        let list = list(&containers(), cut, &format, &super::super::tests::clock());
        want.assert_eq(&format.render(list).unwrap_or_else(|e| e.message.unwrap_or_default()));
    }

    #[test]
    fn the_table() {
        check(
            "",
            Cut::Short,
            expect![[r#"
            CONTAINER ID   IMAGE          COMMAND                  CREATED       STATUS                   PORTS     NAMES
            0123456789ab   nginx:latest   "/docker-entrypoint.…"   2 hours ago   Up 2 hours (healthy)               web
            fedcba987654   0123456789ab   "sh"                     2 hours ago   Exited (0) 2 hours ago             b
        "#]],
        );
        check(
            "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.Names}}",
            Cut::Whole,
            expect![[r#"
            CONTAINER ID           IMAGE                     COMMAND                                          NAMES
            0123456789abcdef0123   nginx:latest              "/docker-entrypoint.sh nginx -g 'daemon off;'"   x/y,web
            fedcba9876543210       sha256:0123456789abcdef   "sh"                                             b
        "#]],
        );
    }

    #[test]
    fn every_field() {
        check(
            "{{.Mounts}}|{{.LocalVolumes}}|{{.Networks}}|{{.Labels}}|{{.Label \"a\"}}|{{.CreatedAt}}|{{.Size}}|{{.HealthStatus}}|{{.Platform}}",
            Cut::Short,
            expect![[r#"
                0123456789abcd…,/short|1|bridge,foo|a=1,b=2|1|2026-01-01 08:30:00 +0000 UTC|1.23MB (virtual 77.8MB)|healthy|
                |0||||2026-01-01 08:30:00 +0000 UTC|0B||
            "#]],
        );
        check(
            "raw",
            Cut::Short,
            expect![[r#"
            container_id: 0123456789ab
            image: nginx:latest
            command: "/docker-entrypoint.…"
            created_at: 2026-01-01 08:30:00 +0000 UTC
            state: running
            status: Up 2 hours (healthy)
            names: web
            labels: a=1,b=2
            ports:

            container_id: fedcba987654
            image: 0123456789ab
            command: "sh"
            created_at: 2026-01-01 08:30:00 +0000 UTC
            state: exited
            status: Exited (0) 2 hours ago
            names: b
            labels:
            ports:

        "#]],
        );
    }

    #[test]
    fn neighbouring_ports_are_joined() {
        let list = [
            port("0.0.0.0", 80, 8080, "tcp"),
            port("::", 80, 8080, "tcp"),
            port("", 443, 0, "tcp"),
            port("0.0.0.0", 100, 100, "tcp"),
            port("0.0.0.0", 101, 101, "tcp"),
            port("0.0.0.0", 53, 53, "udp"),
            port("", 444, 0, "tcp"),
        ];
        expect!["0.0.0.0:53->53/udp, 0.0.0.0:100-101->100-101/tcp, 443-444/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"].assert_eq(&ports(&list));
        expect!["0.0.0.0:80->80/tcp, 0.0.0.0:82->82/tcp, [::]:80->80/tcp"].assert_eq(&ports(&[
            port("0.0.0.0", 80, 80, "tcp"),
            port("::", 80, 80, "tcp"),
            port("0.0.0.0", 82, 82, "tcp"),
        ]));
    }

    /// A container is reached at other ports of its IPv6 address than of its IPv4 address.
    #[test]
    fn ranges_that_lie_over_each_other_are_one() {
        let range = |first, count| Port { count, ..port("", first, 0, "tcp") };
        expect!["80-179/tcp"].assert_eq(&ports(&[range(80, 10), range(80, 100), range(90, 5)]));
        expect!["80-84/tcp, 86/tcp"].assert_eq(&ports(&[range(80, 3), range(81, 4), range(86, 0)]));
    }

    /// A list of ranges shows what one of their ports does.
    #[test]
    fn ranges_look_like_their_ports() {
        let range = |port: Port, count| Port { count, ..port };
        let ranges = [
            range(port("0.0.0.0", 100, 100, "tcp"), 20),
            range(port("::", 100, 100, "tcp"), 5),
            range(port("::", 107, 107, "tcp"), 3),
            port("0.0.0.0", 120, 120, "tcp"),
            range(port("0.0.0.0", 100, 100, "udp"), 2),
            range(port("0.0.0.0", 300, 8300, "tcp"), 2),
            range(port("::", 300, 8300, "tcp"), 2),
            range(port("::", 65_530, 65_530, "tcp"), 6),
        ];
        let each = |port: &Port| -> Vec<Port> {
            let of = |add| Port {
                private_port: port.private_port + add,
                public_port: port.public_port + add,
                count: 0,
                ..port.clone()
            };
            (0..port.count.max(1)).map(of).collect()
        };
        let single: Vec<Port> = ranges.iter().flat_map(each).collect();
        assert_eq!(ports(&ranges), ports(&single));
        expect!["[::]:100-104->100-104/tcp, [::]:107-109->107-109/tcp, 0.0.0.0:100-120->100-120/tcp, 0.0.0.0:100-101->100-101/udp, [::]:65530-65535->65530-65535/tcp, 0.0.0.0:8300->300/tcp, [::]:8300->300/tcp, 0.0.0.0:8301->301/tcp, [::]:8301->301/tcp"]
            .assert_eq(&ports(&ranges));
    }
}
