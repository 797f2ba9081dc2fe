//! `port`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::Failure;
use crate::table::natural;
use docker_api::types::network_settings::{PortBinding, PortMap};
use model::port::ContainerPort;
use std::process::ExitCode;

/// Show where a container's ports are published
#[derive(clap::Args, Debug)]
pub(super) struct PortArgs {
    container: String,
    port: Option<String>,
}

command!(
    PortArgs,
    port,
    ["container port", "port"],
    "CONTAINER [PRIVATE_PORT[/PROTO]]",
    Arity::Between(1, 2)
);

async fn port(cx: &Cx, args: PortArgs) -> Outcome {
    let container = cx.client()?.container_inspect(&args.container).await?.value;
    let ports = container.network_settings.ports.unwrap_or_default();
    let lines = match &args.port {
        None => all(&ports),
        Some(text) => one(&ports, text, &args.container)?,
    };
    for line in lines {
        cx.line(&line)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn all(ports: &PortMap) -> Vec<String> {
    let mut lines: Vec<String> = ports
        .iter()
        .flat_map(|(port, hosts)| {
            hosts.iter().flatten().map(move |host| format!("{port} -> {}", address(host)))
        })
        .collect();
    lines.sort_by(|a, b| natural(a, b));
    lines
}

fn one(ports: &PortMap, text: &str, container: &str) -> Result<Vec<String>, Failure> {
    let port: ContainerPort =
        text.parse().map_err(|e| Failure::error(format!("Error: invalid port ({text}): {e}")))?;
    let hosts = ports.get(&port.to_string()).and_then(Option::as_ref);
    match hosts {
        Some(hosts) if !hosts.is_empty() => Ok(hosts.iter().map(address).collect()),
        Some(_) | None => {
            Err(Failure::error(format!("Error: No public port '{text}' published for {container}")))
        }
    }
}

fn address(host: &PortBinding) -> String {
    if host.host_ip.contains(':') {
        format!("[{}]:{}", host.host_ip, host.host_port)
    } else {
        format!("{}:{}", host.host_ip, host.host_port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_in_order() {
        let host = |ip: &str, port: &str| PortBinding {
            host_ip: ip.to_owned(),
            host_port: port.to_owned(),
        };
        let ports: PortMap = [
            ("9000/tcp".to_owned(), Some(vec![host("0.0.0.0", "9000")])),
            ("80/tcp".to_owned(), Some(vec![host("0.0.0.0", "8080"), host("::", "8080")])),
            ("81/tcp".to_owned(), None),
        ]
        .into();
        assert_eq!(
            all(&ports),
            ["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080", "9000/tcp -> 0.0.0.0:9000"]
        );
        assert_eq!(one(&ports, "80", "c").unwrap(), ["0.0.0.0:8080", "[::]:8080"]);
        let error = one(&ports, "81/tcp", "c").unwrap_err();
        assert_eq!(error.message.unwrap(), "Error: No public port '81/tcp' published for c");
    }
}
