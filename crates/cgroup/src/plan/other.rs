//! Tasks, huge pages, packets, remote memory access, and raw v2 files.

use std::collections::BTreeMap;

use super::{LimitError, Missing, Plan, Write, text};
use crate::detect::{Controller, Version};
use crate::limits::{HugePages, Max, Network, Rdma};

pub(super) fn pids(pids: Option<Max>, plan: &mut Plan<'_>) -> Result<(), LimitError> {
    let Some(max) = pids else { return Ok(()) };
    let version = plan.home(Controller::Pids, "a limit of tasks")?;
    // This controller was made for both versions and says `max` on both.
    plan.write((Controller::Pids, version), "pids.max", text(max, Version::V2));
    Ok(())
}

pub(super) fn huge_pages(limits: &[HugePages], plan: &mut Plan<'_>) -> Result<(), LimitError> {
    const LIMIT: &str = "a limit of huge pages";
    for HugePages { page_size, limit } in limits {
        let digits = page_size.trim_end_matches(|c: char| c.is_ascii_uppercase());
        let well_formed = digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.is_empty()
            && matches!(&page_size[digits.len()..], "KB" | "MB" | "GB");
        if !well_formed {
            return Err(LimitError::BadValue { limit: LIMIT, value: page_size.clone() });
        }
        let version = plan.home(Controller::Hugetlb, LIMIT)?;
        let file = match version {
            Version::V1 => "limit_in_bytes",
            Version::V2 => "max",
        };
        // What is reserved is limited as well, or a reservation could take all pages (5.7).
        for (prefix, missing) in [("", Missing::Fail), ("rsvd.", Missing::Ignore)] {
            plan.push(Write {
                controller: Controller::Hugetlb,
                version,
                file: format!("hugetlb.{page_size}.{prefix}{file}").into(),
                value: limit.to_string(),
                missing,
            });
        }
    }
    Ok(())
}

pub(super) fn network(network: &Network, plan: &mut Plan<'_>) -> Result<(), LimitError> {
    const CLASS: &str = "a network class";
    const PRIORITY: &str = "a network priority";
    if let Some(class) = network.class_id {
        let version = v1_only(Controller::NetCls, CLASS, plan)?;
        plan.write((Controller::NetCls, version), "net_cls.classid", class.to_string());
    }
    for (interface, priority) in &network.priorities {
        if interface.is_empty() || interface.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err(LimitError::BadValue { limit: PRIORITY, value: interface.clone() });
        }
        let version = v1_only(Controller::NetPrio, PRIORITY, plan)?;
        let home = (Controller::NetPrio, version);
        plan.write(home, "net_prio.ifpriomap", format!("{interface} {priority}"));
    }
    Ok(())
}

fn v1_only(
    controller: Controller,
    limit: &'static str,
    plan: &Plan<'_>,
) -> Result<Version, LimitError> {
    match plan.home(controller, limit)? {
        Version::V1 => Ok(Version::V1),
        Version::V2 => Err(LimitError::Unsupported { limit, version: Version::V2 }),
    }
}

pub(super) fn rdma(limits: &[Rdma], plan: &mut Plan<'_>) -> Result<(), LimitError> {
    const LIMIT: &str = "a limit of remote memory access";
    for Rdma { device, handles, objects } in limits {
        if device.is_empty() || device.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err(LimitError::BadValue { limit: LIMIT, value: device.clone() });
        }
        let version = plan.home(Controller::Rdma, LIMIT)?;
        let mut line = device.clone();
        for (key, value) in [("hca_handle", handles), ("hca_object", objects)] {
            line.extend(value.map(|value| format!(" {key}={value}")));
        }
        plan.write((Controller::Rdma, version), "rdma.max", line);
    }
    Ok(())
}

/// Files by name. Those by which a cgroup itself is run (its members, its type, its children's
/// controllers, freezing and killing) are no limits, and are refused.
pub(super) fn unified(
    files: &BTreeMap<String, String>,
    plan: &mut Plan<'_>,
) -> Result<(), LimitError> {
    const LIMIT: &str = "a raw cgroup file";
    for (file, value) in files {
        let bad = || LimitError::BadValue { limit: LIMIT, value: file.clone() };
        let plain =
            file.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_');
        let (prefix, _) = file.split_once('.').filter(|_| plain).ok_or_else(bad)?;
        let controller = match file.as_str() {
            // Any controller of v2 will do: these files are there without one.
            "cgroup.max.depth" | "cgroup.max.descendants" => plan.homes.v2.first().copied(),
            _ => Controller::from_name(prefix, Version::V2),
        };
        let controller = controller.ok_or_else(bad)?;
        if plan.home(controller, LIMIT)? == Version::V1 {
            return Err(LimitError::Unsupported { limit: LIMIT, version: Version::V1 });
        }
        plan.push(Write {
            controller,
            version: Version::V2,
            file: file.clone().into(),
            value: value.clone(),
            missing: Missing::Fail,
        });
    }
    Ok(())
}
