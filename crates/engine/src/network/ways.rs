//! Which of a container's networks is the way out, and where its ports are published.
//!
//! Pure. The network with the highest priority leads out, among equals the first by name (Docker); one
//! without a gateway, as an internal one, never does, unless its link itself leads out.

use std::cmp::Reverse;

use model::address::Family;

use crate::record::Endpoint;

/// The place that leads out in a family.
pub(super) fn out(places: &[&Endpoint], family: Family) -> Option<usize> {
    let leads = |(_, place): &(usize, &&Endpoint)| place.way(family).is_some();
    let first = places.iter().enumerate().filter(leads);
    let order = |(_, place): &(usize, &&Endpoint)| {
        (Reverse(place.priority), place.network_name().to_owned())
    };
    first.min_by_key(order).map(|(index, _)| index)
}

/// The place at which ports are published: that which leads out, or the first.
pub(super) fn main(places: &[&Endpoint]) -> usize {
    out(places, Family::V4).or_else(|| out(places, Family::V6)).unwrap_or(0)
}

/// The places as the record keeps them: the main one, with the others beside it. Ports are not moved.
pub(super) fn arranged(mut places: Vec<Endpoint>) -> Option<Endpoint> {
    if places.is_empty() {
        return None;
    }
    let index = main(&places.iter().collect::<Vec<_>>());
    let mut main = places.remove(index);
    main.beside = places;
    Some(main)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::record::{JoinedNetwork, Out};
    use model::NetworkId;

    pub(in crate::network) fn place(
        name: &str,
        priority: i64,
        gateways: (&str, Option<&str>),
    ) -> Endpoint {
        let id = NetworkId::from_random([1; 32]);
        Endpoint {
            ipv4: "10.0.0.2".parse().unwrap(),
            ipv4_prefix: 24,
            gateway4: gateways.0.parse().unwrap(),
            ipv6: None,
            ipv6_prefix: 64,
            gateway6: gateways.1.map(|gateway| gateway.parse().unwrap()),
            mac: [2; 6],
            host4: None,
            ports: Vec::new(),
            network: Some(JoinedNetwork { id, name: name.to_owned() }),
            links: None,
            priority,
            out: Out::Gateway,
            beside: Vec::new(),
        }
    }

    const NONE: (&str, Option<&str>) = ("0.0.0.0", None);
    const V4: (&str, Option<&str>) = ("10.0.0.1", None);
    const V6: (&str, Option<&str>) = ("0.0.0.0", Some("fd00::1"));

    fn chosen(places: &[Endpoint]) -> (Option<usize>, Option<usize>, usize) {
        let places: Vec<&Endpoint> = places.iter().collect();
        (out(&places, Family::V4), out(&places, Family::V6), main(&places))
    }

    #[test]
    fn the_way_out_is_chosen_by_priority_then_by_name() {
        assert_eq!(chosen(&[place("b", 0, V4), place("a", 0, V4)]), (Some(1), None, 1));
        assert_eq!(chosen(&[place("b", 1, V4), place("a", 0, V4)]), (Some(0), None, 0));
        assert_eq!(chosen(&[place("b", 0, V4), place("a", -1, V4)]), (Some(0), None, 0));
        // Nothing leads out of an internal network, whatever its priority is.
        assert_eq!(chosen(&[place("a", 9, NONE), place("b", 0, V4)]), (Some(1), None, 1));
        assert_eq!(chosen(&[place("a", 9, NONE)]), (None, None, 0));
        assert_eq!(chosen(&[place("a", 0, V6), place("b", 0, V4)]), (Some(1), Some(0), 1));
    }

    #[test]
    fn a_link_leads_out_in_the_families_that_it_has() {
        let by_link = Endpoint { out: Out::Link, ..place("a", 0, NONE) };
        assert_eq!(chosen(&[by_link, place("b", 0, V6)]), (Some(0), Some(1), 0));
    }

    #[test]
    fn the_others_are_beside_the_main_place() {
        let all = vec![place("c", 0, V4), place("a", 0, V4), place("b", 0, V4)];
        let main = arranged(all.clone()).unwrap();
        let names: Vec<_> = main.all().map(Endpoint::network_name).collect();
        assert_eq!(names, ["a", "c", "b"]);
        assert_eq!(main.into_all().len(), all.len());
        assert_eq!(arranged(Vec::new()), None);
    }
}
