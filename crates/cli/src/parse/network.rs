//! Names, addresses and networks: `--network`, `--add-host`, `--dns`, `--link`, MAC addresses.

use super::csv;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

/// One `--network`: a name, or `name=…,alias=…,ip=…`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NetworkFlag {
    pub(crate) name: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) ipv4: String,
    pub(crate) ipv6: String,
    pub(crate) link_local: Vec<String>,
    pub(crate) mac: String,
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) gw_priority: i64,
}

impl FromStr for NetworkFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Docker tells the two forms apart by a key with its value.
        let long = text.split(',').any(|field| {
            field.split_once('=').is_some_and(|(key, value)| !key.is_empty() && !value.is_empty())
        });
        if !long {
            return Ok(Self { name: text.to_owned(), ..Self::default() });
        }
        let mut network = Self::default();
        for field in csv::fields(text)? {
            network.field(&field)?;
        }
        if network.name.is_empty() {
            return Err("network name/id is not specified".to_owned());
        }
        Ok(network)
    }
}

impl NetworkFlag {
    fn field(&mut self, field: &str) -> Result<(), String> {
        let Some((key, value)) = field.split_once('=').filter(|(_, value)| !value.is_empty())
        else {
            return Err(format!("invalid field {field}"));
        };
        let text = value.trim().to_lowercase();
        match key.trim().to_lowercase().as_str() {
            "name" => self.name = value.trim().to_owned(),
            "alias" => self.aliases.push(text),
            "ip" => self.ipv4 = text,
            "ip6" => self.ipv6 = text,
            "mac-address" => self.mac = mac(&text)?,
            "link-local-ip" => self.link_local.push(text),
            "driver-opt" => {
                // A value keeps its capitals: `IFNAME` is a word of one (Docker).
                let (key, value) = value
                    .trim()
                    .split_once('=')
                    .ok_or("invalid key value pair format in driver options")?;
                self.options.insert(key.trim().to_lowercase(), value.trim().to_owned());
            }
            "gw-priority" => {
                self.gw_priority = text.parse().map_err(|_| {
                    format!(
                        "invalid gw-priority (strconv.Atoi: parsing \"{text}\": invalid syntax)"
                    )
                })?;
            }
            other => return Err(format!("invalid field key {other}")),
        }
        Ok(())
    }
}

/// A hardware address, as typed.
pub(crate) fn mac(text: &str) -> Result<String, String> {
    let bytes: Vec<&str> = text.split([':', '-']).collect();
    let hex = |part: &&str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
    if matches!(bytes.len(), 6 | 8 | 20) && bytes.iter().all(hex) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text} is not a valid mac address"))
    }
}

/// One `--add-host name:address` or `name=address`; kept as `name:address`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExtraHost(pub(crate) String);

impl FromStr for ExtraHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("bad format for add-host: {}", crate::template::literal::quote(text));
        let at = text.find(['=', ':']).ok_or_else(bad)?;
        let (name, address) = (&text[..at], &text[at + 1..]);
        if name.is_empty() {
            return Err(bad());
        }
        let bare = match address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(bare) => bare,
            None => address,
        };
        if bare != "host-gateway" && bare.parse::<IpAddr>().is_err() {
            let address = crate::template::literal::quote(address);
            return Err(format!("invalid IP address in add-host: {address}"));
        }
        Ok(Self(format!("{name}:{bare}")))
    }
}

/// One `--dns`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nameserver(pub(crate) String);

impl FromStr for Nameserver {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().parse::<IpAddr>() {
            Ok(address) => Ok(Self(address.to_string())),
            Err(_) => Err(format!("IP address is not correctly formatted: {text}")),
        }
    }
}

/// One `--dns-search`; a dot alone means none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SearchDomain(pub(crate) String);

impl FromStr for SearchDomain {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let label = |part: &str| {
            !part.is_empty()
                && part.len() <= 63
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        let bare = text.strip_suffix('.').unwrap_or(text);
        let fits = text == "."
            || (text.len() < 255
                && bare.split('.').all(label)
                && text.bytes().any(|b| b.is_ascii_alphabetic()));
        if fits { Ok(Self(text.to_owned())) } else { Err(format!("{text} is not a valid domain")) }
    }
}

/// One `--link container[:alias]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link(pub(crate) String);

impl FromStr for Link {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("empty string specified for links".to_owned());
        }
        if text.matches(':').count() > 1 {
            return Err(format!("bad format for links: {text}"));
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_short_and_long() {
        let read = |text: &str| text.parse::<NetworkFlag>();
        assert_eq!(read("foo").unwrap().name, "foo");
        assert_eq!(read("name=").unwrap().name, "name=");
        let long = read("name=Foo,alias=a,ip=1.2.3.4,mac-address=02:42:ac:11:00:02,driver-opt=a=b,gw-priority=5").unwrap();
        assert_eq!((long.name.as_str(), long.gw_priority), ("Foo", 5));
        assert_eq!((long.aliases, long.options.len()), (vec!["a".to_owned()], 1));
        for (text, want) in [
            ("x=y", "invalid field key x"),
            ("foo,alias=x", "invalid field foo"),
            ("name=a,b", "invalid field b"),
            ("alias=a", "network name/id is not specified"),
            ("name=a,mac-address=zz", "zz is not a valid mac address"),
        ] {
            assert_eq!(read(text), Err(want.to_owned()), "{text}");
        }
    }

    #[test]
    fn hosts_servers_and_domains() {
        for (text, want) in [
            ("a:1.2.3.4", Ok("a:1.2.3.4")),
            ("b=::1", Ok("b:::1")),
            ("b:[::1]", Ok("b:::1")),
            ("c:host-gateway", Ok("c:host-gateway")),
            ("foo", Err("bad format for add-host: \"foo\"")),
            (":1.1.1.1", Err("bad format for add-host: \":1.1.1.1\"")),
            ("a:x", Err("invalid IP address in add-host: \"x\"")),
        ] {
            let got = text.parse::<ExtraHost>().map(|host| host.0);
            assert_eq!(got, want.map(str::to_owned).map_err(str::to_owned));
        }
        assert_eq!(
            "foo".parse::<Nameserver>(),
            Err("IP address is not correctly formatted: foo".to_owned())
        );
        assert!(".".parse::<SearchDomain>().is_ok() && "a.b".parse::<SearchDomain>().is_ok());
        assert_eq!("a b".parse::<SearchDomain>(), Err("a b is not a valid domain".to_owned()));
        assert_eq!("a:b:c".parse::<Link>(), Err("bad format for links: a:b:c".to_owned()));
    }
}
