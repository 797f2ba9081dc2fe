//! The messages for links that stand on another one, and for a link that leads nowhere.
//!
//! Owns numbers and layouts (`linux/if_link.h`) of dummy, 802.1Q, macvlan and ipvlan.

use model::vlan::{IpvlanFlag, IpvlanMode, Layer, MacvlanMode};

use super::{
    IFF_UP, IFLA_ADDRESS, IFLA_GROUP, IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINKINFO,
    IFLA_NET_NS_FD, create, link_header, write_mtu,
};
use crate::address::{LinkName, Mac};
use crate::netlink::{Batch, Writer};

const IFLA_LINK: u16 = 5;
const VLAN_ID: u16 = 1;
const MACVLAN_MODE: u16 = 1;
const IPVLAN_MODE: u16 = 1;
const IPVLAN_FLAGS: u16 = 2;

/// Adds a link that leads nowhere, up.
pub(crate) fn add_dummy(batch: &mut Batch, name: &LinkName, group: u32) {
    batch.message(create("add a dummy link"), &link_header(0, IFF_UP, IFF_UP), |w| {
        w.text(IFLA_IFNAME, name.as_str());
        w.native_u32(IFLA_GROUP, group);
        w.nest(IFLA_LINKINFO, |w| w.text(IFLA_INFO_KIND, "dummy"));
    });
}

/// Adds a link for what has this number of 802.1Q on another, up.
pub(crate) fn add_tagged(batch: &mut Batch, name: &LinkName, (base, tag): (u32, u16), group: u32) {
    batch.message(create("add a subinterface"), &link_header(0, IFF_UP, IFF_UP), |w| {
        w.text(IFLA_IFNAME, name.as_str());
        w.native_u32(IFLA_LINK, base);
        w.native_u32(IFLA_GROUP, group);
        w.nest(IFLA_LINKINFO, |w| {
            w.text(IFLA_INFO_KIND, "vlan");
            w.nest(IFLA_INFO_DATA, |w| w.bytes(VLAN_ID, &tag.to_ne_bytes()));
        });
    });
}

/// What a container's link on one of the host's is made of.
#[derive(Debug)]
pub(crate) struct Upper<'a> {
    pub(crate) parent: u32,
    pub(crate) layer: Layer,
    pub(crate) group: u32,
    pub(crate) inside: &'a LinkName,
    pub(crate) netns: u32,
    /// `None`: it has that of its parent.
    pub(crate) mac: Option<Mac>,
    pub(crate) mtu: Option<u32>,
}

/// Adds a link on one of the host's, down, in the other namespace under its final name: it is nowhere else at
/// any time.
pub(crate) fn add_upper(batch: &mut Batch, upper: &Upper<'_>) {
    batch.message(create("add a link on another"), &link_header(0, 0, 0), |w| {
        w.text(IFLA_IFNAME, upper.inside.as_str());
        w.native_u32(IFLA_LINK, upper.parent);
        w.native_u32(IFLA_NET_NS_FD, upper.netns);
        w.native_u32(IFLA_GROUP, upper.group);
        if let Some(mac) = upper.mac {
            w.bytes(IFLA_ADDRESS, &mac.octets());
        }
        write_mtu(w, upper.mtu);
        w.nest(IFLA_LINKINFO, |w| write_layer(w, upper.layer));
    });
}

fn write_layer(w: &mut Writer, layer: Layer) {
    match layer {
        Layer::Macvlan(mode) => {
            w.text(IFLA_INFO_KIND, "macvlan");
            let mode = match mode {
                MacvlanMode::Private => 1,
                MacvlanMode::Vepa => 2,
                MacvlanMode::Bridge => 4,
                MacvlanMode::Passthru => 8,
            };
            w.nest(IFLA_INFO_DATA, |w| w.native_u32(MACVLAN_MODE, mode));
        }
        Layer::Ipvlan(mode, flag) => {
            w.text(IFLA_INFO_KIND, "ipvlan");
            let mode: u16 = match mode {
                IpvlanMode::L2 => 0,
                IpvlanMode::L3 => 1,
                IpvlanMode::L3s => 2,
            };
            let flags: u16 = match flag {
                IpvlanFlag::Bridge => 0,
                IpvlanFlag::Private => 1,
                IpvlanFlag::Vepa => 2,
            };
            w.nest(IFLA_INFO_DATA, |w| {
                w.bytes(IPVLAN_MODE, &mode.to_ne_bytes());
                w.bytes(IPVLAN_FLAGS, &flags.to_ne_bytes());
            });
        }
    }
}
