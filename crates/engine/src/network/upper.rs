//! A container's place on a link of the host's own (macvlan, ipvlan): the plan of its link.

use model::address::{Cidr, Mac};
use model::network::{Attachment, Inside};
use model::vlan::{IpvlanMode, Layer};
use net::address::LinkName;
use net::endpoint::{Carrier, EndpointPlan, OnParent, Way};
use net::host;
use net::parent::Parent;

use super::error::NetworkError;
use super::record::Known;
use super::seat::{LINK_PREFIX, LinkNames, Seat, endpoint_of, gateways_of, link_name, mac_of};
use super::{Terms, net_error};
use crate::record::{Endpoint, Out};
use crate::{Engine, EngineError};

impl Engine {
    /// A place on a link of the host's, where nothing is published.
    pub(super) fn parent_seat(
        &self,
        place: &Attachment,
        known: &Known,
        (name, parent): (LinkName, Parent),
        (addresses, names): (Vec<Cidr>, &mut LinkNames),
    ) -> Result<Seat, EngineError> {
        let no_network = || EngineError::NoSuchNetwork(known.name.clone());
        let layer = known.vlan()?.ok_or_else(no_network)?.layer;
        let mark = net::parent::mark(&known.id);
        let upper = OnParent { name, index: parent.index, layer, mark };
        let own = place.mac.map_or_else(|| mac_of(&addresses), Mac::from_octets);
        let (ways, out) = match (known.inside()?, layer) {
            (Inside::Only, _) => (Vec::new(), Out::Gateway),
            (Inside::No, Layer::Ipvlan(IpvlanMode::L3 | IpvlanMode::L3s, _)) => {
                (addresses.iter().map(|cidr| Way::Link(cidr.family())).collect(), Out::Link)
            }
            (Inside::No, Layer::Ipvlan(IpvlanMode::L2, _) | Layer::Macvlan(_)) => {
                let made = known.record.made.as_ref().ok_or_else(no_network)?;
                (gateways_of(made, &addresses), Out::Gateway)
            }
        };
        let plan = EndpointPlan {
            mac: if layer.has_own_mac() { own } else { parent.mac.unwrap_or(own) },
            carrier: Carrier::Parent(upper),
            inside_link: link_name(place, LINK_PREFIX, names)?,
            group: self.names().group(),
            ways,
            addresses,
            mtu: None,
            sysctls: Vec::new(),
        };
        let endpoint = Endpoint { out, ..endpoint_of(&plan, &[], known) };
        let plain = Terms::plain(host::stack().map_err(net_error)?);
        let terms = Terms { inside: Inside::Only, ..plain };
        Ok(Seat { bridge: None, plan, terms, endpoint })
    }
}

/// A hardware address is asked for where a container has one of its own.
pub(super) fn check_mac(known: &Known, asked: &Attachment) -> Result<(), NetworkError> {
    let has_own = known.vlan()?.is_none_or(|options| options.layer.has_own_mac());
    if asked.mac.is_some() && !has_own {
        return Err(NetworkError::ParentsMac(known.name.clone()));
    }
    Ok(())
}
