//! `network create`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::Failure;
use crate::parse::env::{self, Label};
use crate::parse::pools::{AddressFlag, RangeFlag, pools};
use docker_api::types::networks::{ConfigReference, Ipam, NetworkCreate};
use std::process::ExitCode;

/// Create a network
#[derive(clap::Args, Debug)]
pub(super) struct NetworkCreateArgs {
    /// Let containers be attached by hand
    #[arg(long)]
    attachable: bool,
    /// Addresses that somebody else has: name=address
    #[arg(long, value_name = "map")]
    aux_address: Vec<String>,
    /// Take the configuration of that network
    #[arg(long, value_name = "network")]
    config_from: Option<String>,
    /// Make a configuration only
    #[arg(long)]
    config_only: bool,
    /// Driver of the network
    #[arg(short, long, value_name = "string", default_value = "bridge")]
    driver: String,
    /// Gateways of the subnets
    #[arg(long, value_name = "ip", value_delimiter = ',')]
    gateway: Vec<AddressFlag>,
    /// Make a swarm's routing mesh
    #[arg(long)]
    ingress: bool,
    /// Let nothing lead out of the network
    #[arg(long)]
    internal: bool,
    /// Give containers addresses of a part of the subnet
    #[arg(long, value_name = "ipnet", value_delimiter = ',')]
    ip_range: Vec<RangeFlag>,
    /// Driver of the addresses
    #[arg(long, value_name = "string", default_value = "default")]
    ipam_driver: String,
    /// Set an option of the addresses' driver
    #[arg(long, value_name = "map")]
    ipam_opt: Vec<String>,
    /// Give containers addresses of IPv4: true or false
    #[arg(long, value_name = "bool", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    ipv4: Option<bool>,
    /// Give containers addresses of IPv6: true or false; by default where the host has it
    #[arg(long, value_name = "bool", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    ipv6: Option<bool>,
    /// Set a label
    #[arg(long, value_name = "list")]
    label: Vec<Label>,
    /// Set an option of the driver
    #[arg(short, long, value_name = "map")]
    opt: Vec<String>,
    /// Where the network reaches: local
    #[arg(long, value_name = "string")]
    scope: Option<String>,
    /// Subnets in CIDR notation
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    subnet: Vec<String>,
    name: String,
}

command!(NetworkCreateArgs, create, ["network create"], "[OPTIONS] NETWORK", Arity::Exactly(1));

async fn create(cx: &Cx, args: NetworkCreateArgs) -> Outcome {
    let created = cx.client()?.network_create(&request(args)?).await?;
    cx.line(&created.id)?;
    Ok(ExitCode::SUCCESS)
}

fn request(args: NetworkCreateArgs) -> Result<NetworkCreate, Failure> {
    let others = env::map(&args.aux_address);
    let config = pools(&args.subnet, &args.ip_range, &args.gateway, &others);
    Ok(NetworkCreate {
        name: args.name,
        driver: args.driver,
        scope: args.scope.unwrap_or_default(),
        enable_ipv4: args.ipv4,
        enable_ipv6: args.ipv6,
        ipam: Some(Ipam {
            driver: args.ipam_driver,
            options: Some(env::map(&args.ipam_opt)),
            config: Some(config.map_err(Failure::error)?),
        }),
        internal: args.internal,
        attachable: args.attachable,
        ingress: args.ingress,
        config_only: args.config_only,
        config_from: args.config_from.map(|network| ConfigReference { network }),
        options: Some(env::map(&args.opt)),
        labels: Some(env::map(args.label.iter().map(|label| &label.0))),
        check_duplicate: false,
    })
}
