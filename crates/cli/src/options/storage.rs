//! Volumes, mounts and devices.

use super::Ambient;
use crate::parse::device::{self, CgroupRule, Device, Gpus};
use crate::parse::env;
use crate::parse::mount::MountFlag;
use crate::parse::security;
use crate::parse::volume::volumes;
use docker_api::types::containers::CreateContainer;
use docker_api::types::host_config::DeviceRequest;

#[derive(clap::Args, Debug)]
pub(super) struct StorageOptions {
    /// Give a device of the host: host[:container][:rwm]
    #[arg(long, value_name = "list")]
    device: Vec<String>,
    /// Allow devices by a rule: "c 1:3 rwm"
    #[arg(long, value_name = "list")]
    device_cgroup_rule: Vec<CgroupRule>,
    /// Give GPUs ('all' for all)
    #[arg(long, value_name = "gpu-request")]
    gpus: Vec<Gpus>,
    /// Mount something: type=bind|volume|tmpfs|image,source=…,target=…
    #[arg(long, value_name = "mount")]
    mount: Vec<MountFlag>,
    /// Make the root file system read-only
    #[arg(long)]
    read_only: bool,
    /// Size of /dev/shm
    #[arg(long, value_name = "bytes")]
    shm_size: Option<crate::parse::number::Bytes>,
    /// Options of the storage driver
    #[arg(long, value_name = "list")]
    storage_opt: Vec<String>,
    /// Mount a memory file system: path[:options]
    #[arg(long, value_name = "list")]
    tmpfs: Vec<String>,
    /// Mount a directory of the host or a volume: [source:]target[:options]
    #[arg(short, long, value_name = "list")]
    volume: Vec<String>,
    /// Driver of the volumes that are made
    #[arg(long, value_name = "string")]
    volume_driver: Option<String>,
    /// Take over the volumes of another container
    #[arg(long, value_name = "list")]
    volumes_from: Vec<String>,
}

impl StorageOptions {
    pub(super) fn apply(
        &self,
        request: &mut CreateContainer,
        ambient: &Ambient<'_>,
    ) -> Result<(), String> {
        let volumes = volumes(&self.volume, ambient.cwd)?;
        request.config.volumes = Some(volumes.anonymous);
        let host = &mut request.host_config;
        host.binds = (!volumes.binds.is_empty()).then_some(volumes.binds);
        host.volume_driver = self.volume_driver.clone().unwrap_or_default();
        host.volumes_from = (!self.volumes_from.is_empty()).then(|| self.volumes_from.clone());
        host.mounts = (!self.mount.is_empty())
            .then(|| self.mount.iter().map(|flag| flag.at(ambient.cwd)).collect());
        host.tmpfs = (!self.tmpfs.is_empty()).then(|| self.tmpfs_map());
        host.readonly_rootfs = self.read_only;
        host.shm_size = self.shm_size.map_or(0, |bytes| bytes.0);
        let storage = security::storage(&self.storage_opt)?;
        host.storage_opt = (!storage.is_empty()).then_some(storage);
        host.device_cgroup_rules = (!self.device_cgroup_rule.is_empty())
            .then(|| self.device_cgroup_rule.iter().map(|rule| rule.0.clone()).collect());
        self.devices(request)
    }

    fn tmpfs_map(&self) -> env::Pairs {
        let split = |text: &String| {
            let (path, options) = text.split_once(':').unwrap_or((text, ""));
            (path.to_owned(), options.to_owned())
        };
        self.tmpfs.iter().map(split).collect()
    }

    fn devices(&self, request: &mut CreateContainer) -> Result<(), String> {
        let mut files = Vec::new();
        let mut interfaces = Vec::new();
        for text in &self.device {
            match device::device(text)? {
                Device::File(mapping) => files.push(mapping),
                Device::Interface(name) => interfaces.push(name),
            }
        }
        let mut requests: Vec<DeviceRequest> = self.gpus.iter().map(|gpu| gpu.0.clone()).collect();
        if !interfaces.is_empty() {
            requests.push(DeviceRequest {
                driver: "cdi".to_owned(),
                device_ids: Some(interfaces),
                ..DeviceRequest::default()
            });
        }
        request.host_config.devices = Some(files);
        request.host_config.device_requests = (!requests.is_empty()).then_some(requests);
        Ok(())
    }
}
