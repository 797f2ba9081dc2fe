//! `network ls`.

use super::api_time;
use super::containers::Cut;
use crate::table::{Column, List, Named, Row, label_cell, natural, short_id};
use docker_api::types::networks::Network;

const RAW: &str = "network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n";

/// The formats with a name.
pub(crate) const NAMED: Named<'static> =
    Named { table: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}", raw: Some(RAW) };

const COLUMNS: &[Column] = &[
    ("ID", "NETWORK ID"),
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("IPv4", "IPV4"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("CreatedAt", "CREATED AT"),
];

/// The list for these networks, by name.
pub(crate) fn list(mut networks: Vec<Network>, cut: Cut) -> List<'static> {
    networks.sort_by(|a, b| natural(&a.name, &b.name));
    let rows = networks.iter().map(|network| row(network, cut)).collect();
    List { columns: COLUMNS, type_name: "*network.networkContext", rows }
}

fn row(network: &Network, cut: Cut) -> Row {
    let id = if cut == Cut::Short { short_id(&network.id) } else { &network.id };
    Row {
        fields: vec![
            ("ID", id.to_owned()),
            ("Name", network.name.clone()),
            ("Driver", network.driver.clone()),
            ("Scope", network.scope.clone()),
            ("IPv4", network.enable_ipv4.to_string()),
            ("IPv6", network.enable_ipv6.to_string()),
            ("Internal", network.internal.to_string()),
            ("Labels", label_cell(&network.labels)),
            ("CreatedAt", api_time(&network.created)),
        ],
        labels: network.labels.clone(),
    }
}
