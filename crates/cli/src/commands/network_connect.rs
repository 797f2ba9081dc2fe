//! `network connect`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::Failure;
use crate::parse::env;
use crate::parse::network::Link;
use docker_api::types::network_settings::{EndpointIpamConfig, EndpointSettings};
use docker_api::types::networks::NetworkConnect;
use std::process::ExitCode;

/// Connect a container to a network
#[derive(clap::Args, Debug)]
pub(super) struct NetworkConnectArgs {
    /// Another name of the container in the network
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    alias: Vec<String>,
    /// Set an option of the driver for this container
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    driver_opt: Vec<String>,
    /// The network with the highest priority is the way out
    #[arg(long, value_name = "int", default_value_t, allow_negative_numbers = true)]
    gw_priority: i64,
    /// IPv4 address
    #[arg(long, value_name = "ip")]
    ip: Option<String>,
    /// IPv6 address
    #[arg(long, value_name = "ip")]
    ip6: Option<String>,
    /// Link to another container
    #[arg(long, value_name = "list")]
    link: Vec<Link>,
    /// Link-local addresses
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    link_local_ip: Vec<String>,
    network: String,
    container: String,
}

command!(
    NetworkConnectArgs,
    connect,
    ["network connect"],
    "[OPTIONS] NETWORK CONTAINER",
    Arity::Exactly(2)
);

async fn connect(cx: &Cx, args: NetworkConnectArgs) -> Outcome {
    let network = args.network.clone();
    cx.client()?.network_connect(&network, &request(args)?).await?;
    Ok(ExitCode::SUCCESS)
}

fn request(args: NetworkConnectArgs) -> Result<NetworkConnect, Failure> {
    if let Some(bad) = args.driver_opt.iter().find(|option| !option.contains('=')) {
        let why = "invalid key/value pair format in driver options";
        return Err(Failure::error(format!("{why}: {bad}")));
    }
    let links = args.link.into_iter().map(|link| link.0).collect();
    let ipam = EndpointIpamConfig {
        ipv4_address: args.ip.unwrap_or_default(),
        ipv6_address: args.ip6.unwrap_or_default(),
        link_local_ips: some(args.link_local_ip),
    };
    let settings = EndpointSettings {
        ipam_config: (ipam != EndpointIpamConfig::default()).then_some(ipam),
        links: some(links),
        aliases: some(args.alias),
        driver_opts: Some(env::map(&args.driver_opt)).filter(|options| !options.is_empty()),
        gw_priority: args.gw_priority,
        ..EndpointSettings::default()
    };
    Ok(NetworkConnect { container: args.container, endpoint_config: Some(settings) })
}

fn some(list: Vec<String>) -> Option<Vec<String>> {
    (!list.is_empty()).then_some(list)
}
