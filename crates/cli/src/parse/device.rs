//! Devices: `--device`, `--device-cgroup-rule`, block I/O limits, `--gpus`.

use super::csv;
use super::number::Bytes;
use docker_api::types::host_config::{DeviceMapping, DeviceRequest, ThrottleDevice, WeightDevice};
use std::collections::BTreeMap;
use std::str::FromStr;

/// One `--device`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    /// A device file of the host.
    File(DeviceMapping),
    /// A name of the container device interface, `vendor/class=name`.
    Interface(String),
}

/// Reads `host[:container][:mode]`.
pub(crate) fn device(text: &str) -> Result<Device, String> {
    if is_interface(text) {
        return Ok(Device::Interface(text.to_owned()));
    }
    let parts: Vec<&str> = text.split(':').collect();
    let (host, inside, mode) = match parts[..] {
        [host] => (host, host, "rwm"),
        [host, mode] if is_mode(mode) => (host, host, mode),
        [host, inside] => (host, inside, "rwm"),
        [host, inside, mode] => (host, inside, mode),
        _ => return Err(format!("bad format for path: {text}")),
    };
    if host.is_empty() {
        return Err(format!("bad format for path: {text}"));
    }
    if !is_mode(mode) {
        return Err(format!("bad mode specified: {mode}"));
    }
    if !inside.starts_with('/') {
        return Err(format!("{inside} is not an absolute path"));
    }
    Ok(Device::File(DeviceMapping {
        path_on_host: host.to_owned(),
        path_in_container: inside.to_owned(),
        cgroup_permissions: mode.to_owned(),
    }))
}

fn is_mode(text: &str) -> bool {
    !text.is_empty()
        && text.chars().enumerate().all(|(at, c)| "rwm".contains(c) && !text[..at].contains(c))
}

fn is_interface(text: &str) -> bool {
    let Some((kind, name)) = text.split_once('=') else { return false };
    let Some((vendor, class)) = kind.split_once('/') else { return false };
    !vendor.is_empty() && !class.is_empty() && !class.contains('/') && !name.is_empty()
}

/// One `--device-cgroup-rule`: `c 1:* rwm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CgroupRule(pub(crate) String);

impl FromStr for CgroupRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text == "*" || text.parse::<u32>().is_ok();
        let parts: Vec<&str> = text.split(' ').collect();
        let fits = match parts[..] {
            [kind, numbers, mode] => {
                matches!(kind, "a" | "b" | "c")
                    && numbers.split_once(':').is_some_and(|(a, b)| number(a) && number(b))
                    && is_mode(mode)
            }
            _ => false,
        };
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("invalid device cgroup format '{text}'"))
        }
    }
}

fn split_device(text: &str) -> Result<(&str, &str), String> {
    let (path, value) = text.split_once(':').ok_or_else(|| format!("bad format: {text}"))?;
    if !path.starts_with("/dev/") {
        return Err(format!("bad format for device path: {text}"));
    }
    Ok((path, value))
}

/// One `--blkio-weight-device`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Weight(pub(crate) WeightDevice);

impl FromStr for Weight {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, value) = split_device(text)?;
        match value.parse::<u16>() {
            Ok(weight) if weight == 0 || (10..=1000).contains(&weight) => {
                Ok(Self(WeightDevice { path: path.to_owned(), weight }))
            }
            Ok(_) | Err(_) => Err(format!("invalid weight for device: {text}")),
        }
    }
}

/// One limit in bytes a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bps(pub(crate) ThrottleDevice);

impl FromStr for Bps {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, value) = split_device(text)?;
        let rate = value.parse::<Bytes>().ok().and_then(|bytes| u64::try_from(bytes.0).ok());
        let rate = rate.ok_or_else(|| {
            format!("invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb")
        })?;
        Ok(Self(ThrottleDevice { path: path.to_owned(), rate }))
    }
}

/// One limit in operations a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Iops(pub(crate) ThrottleDevice);

impl FromStr for Iops {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, value) = split_device(text)?;
        let rate = value.parse().map_err(|_| {
            format!("invalid rate for device: {text}. The correct format is <device-path>:<number>. Number must be a positive integer")
        })?;
        Ok(Self(ThrottleDevice { path: path.to_owned(), rate }))
    }
}

/// `--gpus all`, `--gpus 2`, `--gpus '"device=0,1",capabilities=utility'`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gpus(pub(crate) DeviceRequest);

impl FromStr for Gpus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut request = DeviceRequest { count: 1, ..DeviceRequest::default() };
        let mut capabilities = Vec::new();
        let mut options = BTreeMap::new();
        let fields = csv::fields(text)?;
        for (at, field) in fields.iter().enumerate() {
            let (key, value) = match field.split_once('=') {
                Some(pair) => pair,
                None if at == 0 => ("count", field.as_str()),
                None => return Err(format!("invalid field '{field}' must be a key=value pair")),
            };
            let list = || value.split(',').map(str::to_owned);
            match key {
                "driver" => request.driver = value.to_owned(),
                "count" => request.count = count(value)?,
                "device" => {
                    request.device_ids = Some(list().collect());
                    request.count = 0;
                }
                "capabilities" => capabilities = list().collect(),
                "options" => options = super::env::map(list()),
                _ => return Err(format!("unexpected key '{key}' in '{field}'")),
            }
        }
        if !capabilities.iter().any(|capability| capability == "gpu") {
            capabilities.push("gpu".to_owned());
        }
        request.capabilities = Some(vec![capabilities]);
        request.options = Some(options);
        Ok(Self(request))
    }
}

fn count(text: &str) -> Result<i64, String> {
    if text == "all" {
        return Ok(-1);
    }
    text.parse().map_err(|_| {
        format!("invalid count ({text}): value must be either \"all\" or an integer: strconv.Atoi: parsing {}: invalid syntax", crate::template::literal::quote(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match device(text) {
            Ok(Device::File(d)) => {
                format!("{} {} {}", d.path_on_host, d.path_in_container, d.cgroup_permissions)
            }
            Ok(Device::Interface(name)) => format!("cdi {name}"),
            Err(e) => e,
        }
    }

    #[test]
    fn device_forms() {
        for (text, want) in [
            ("/dev/a", "/dev/a /dev/a rwm"),
            ("/dev/a:/dev/b", "/dev/a /dev/b rwm"),
            ("/dev/a:/dev/b:r", "/dev/a /dev/b r"),
            ("/dev/a:rw", "/dev/a /dev/a rw"),
            ("vendor.com/class=name", "cdi vendor.com/class=name"),
            ("/dev/a:/b:xx", "bad mode specified: xx"),
            ("a:b:c:d", "bad format for path: a:b:c:d"),
            (":", "bad format for path: :"),
            ("", "bad format for path: "),
            (":/dev/a", "bad format for path: :/dev/a"),
            ("/dev/a::rw", " is not an absolute path"),
        ] {
            assert_eq!(shown(text), want, "{text}");
        }
        assert!("c 1:* rwm".parse::<CgroupRule>().is_ok());
        assert_eq!(
            "foo".parse::<CgroupRule>(),
            Err("invalid device cgroup format 'foo'".to_owned())
        );
    }

    #[test]
    fn block_limits() {
        assert_eq!("/dev/sda:1mb".parse::<Bps>().unwrap().0.rate, 1 << 20);
        assert_eq!("/dev/sda:3".parse::<Iops>().unwrap().0.rate, 3);
        assert_eq!("/dev/sda:200".parse::<Weight>().unwrap().0.weight, 200);
        assert_eq!("foo".parse::<Bps>(), Err("bad format: foo".to_owned()));
        assert_eq!("sda:1".parse::<Bps>(), Err("bad format for device path: sda:1".to_owned()));
        assert_eq!(
            "/dev/sda:5".parse::<Weight>(),
            Err("invalid weight for device: /dev/sda:5".to_owned())
        );
        assert!("/dev/sda:x".parse::<Iops>().unwrap_err().starts_with("invalid rate for device"));
    }

    #[test]
    fn gpus_forms() {
        let Gpus(all) = "all".parse().unwrap();
        assert_eq!((all.count, all.capabilities), (-1, Some(vec![vec!["gpu".to_owned()]])));
        let Gpus(some) = "\"device=0,1\",capabilities=utility".parse().unwrap();
        assert_eq!((some.count, some.device_ids.unwrap().len()), (0, 2));
        assert_eq!(some.capabilities.unwrap()[0], ["utility", "gpu"]);
        assert_eq!("foo=1".parse::<Gpus>(), Err("unexpected key 'foo' in 'foo=1'".to_owned()));
    }
}
