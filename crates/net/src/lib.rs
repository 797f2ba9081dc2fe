//! Connects network namespaces: bridge, veth, addresses, nftables, publishing.
