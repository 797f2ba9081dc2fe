//! Settings of the kernel for one link of a container, and their text: `net.ipv4.conf.IFNAME.log_martians=1`.
//!
//! Pure. The word `IFNAME` stands for what the link is called inside.

/// A setting of one link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkSysctl {
    protocol: String,
    section: String,
    key: String,
    value: String,
}

impl LinkSysctl {
    /// Reads settings that are separated by commas.
    ///
    /// # Errors
    /// The first that is none of a link.
    pub fn parse(text: &str) -> Result<Vec<Self>, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(|part| Self::one(part).ok_or_else(|| part.to_owned())).collect()
    }

    fn one(text: &str) -> Option<Self> {
        let (name, value) = text.split_once('=')?;
        let mut parts = name.split('.');
        let mut next = || parts.next().map(str::to_owned);
        let (net, protocol, section, link, key) = (next()?, next()?, next()?, next()?, next()?);
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let is_known = net == "net"
            && matches!(protocol.as_str(), "ipv4" | "ipv6" | "mpls")
            && matches!(section.as_str(), "conf" | "neigh" | "input")
            && link == "IFNAME"
            && !key.is_empty()
            && key.chars().all(plain)
            && parts.next().is_none();
        let is_value = !value.is_empty() && value.chars().all(|c| c == ' ' || c.is_ascii_graphic());
        (is_known && is_value).then(|| Self { protocol, section, key, value: value.to_owned() })
    }

    /// Its file below `/proc/sys/net`, for a link of this name.
    #[must_use]
    pub fn file(&self, link: &str) -> String {
        let Self { protocol, section, key, .. } = self;
        format!("{protocol}/{section}/{link}/{key}")
    }

    /// What is written there.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_a_link_are_read() {
        let text = "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.neigh.IFNAME.gc_stale_time=30,";
        let read = LinkSysctl::parse(text).unwrap();
        let told: Vec<_> = read.iter().map(|one| (one.file("eth0"), one.value())).collect();
        let first = ("ipv4/conf/eth0/log_martians".to_owned(), "1");
        assert_eq!(told, [first, ("ipv6/neigh/eth0/gc_stale_time".to_owned(), "30")]);
    }

    #[test]
    fn what_is_not_of_a_link_is_refused() {
        for text in [
            "net.ipv4.conf.eth0.log_martians=1",
            "net.ipv4.conf.IFNAME.log_martians",
            "net.ipv4.conf.IFNAME.=1",
            "net.ipv4.conf.IFNAME...=1",
            "net.ipv4.conf.IFNAME.a/b=1",
            "net.core.conf.IFNAME.x=1",
            "kernel.ipv4.conf.IFNAME.x=1",
            "net.ipv4.conf.IFNAME.x.y=1",
            "net.ipv4.conf.IFNAME.x=",
            "net.ipv4.conf.IFNAME.x=1\n2",
        ] {
            assert_eq!(LinkSysctl::parse(text), Err(text.to_owned()));
        }
    }
}
