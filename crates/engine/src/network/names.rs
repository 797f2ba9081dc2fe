//! What containers are called on their networks: who writes it, and who takes it away.
//!
//! A container's guardian takes its names away at its end. Those of one whose guardian was killed are void, since
//! nobody holds its life; they go with what else it has left.

use std::net::IpAddr;

use model::{ContainerId, NetworkId};
use net::dns::files::NameFiles;
use net::dns::record::Record;

use crate::container::Container;
use crate::naming::is_named;
use crate::record::Endpoint;
use crate::{Engine, EngineError};

impl Engine {
    pub(crate) fn name_files(&self) -> NameFiles {
        NameFiles::of(self.paths().run())
    }

    /// Writes what a container that starts is called where it is.
    pub(crate) fn put_own_names(
        &self,
        container: &Container,
        endpoint: Option<&Endpoint>,
    ) -> Result<(), EngineError> {
        let asked = container.record.spec.network.places();
        let mut put = Vec::new();
        for place in endpoint.into_iter().flat_map(Endpoint::all) {
            if !is_named(&container.record, Some(place)) {
                continue;
            }
            let (network, name) = self.named_network(place)?;
            let is_id = |typed: &str| self.network(typed).is_ok_and(|known| known.id == network);
            // A name may be the beginning of another's id.
            let aliases = asked.iter().find(|asked| asked.network == name);
            let aliases = aliases.or_else(|| asked.iter().find(|asked| is_id(&asked.network)));
            let aliases = aliases.map_or(&[][..], |asked| &asked.aliases);
            let addresses = place.addresses().iter().map(|cidr| cidr.address()).collect();
            self.put_names(container, &network, aliases, addresses)?;
            put.push(network);
        }
        // Who is asked meanwhile knows it all the time where it stays.
        let files = self.name_files();
        let others = files.networks().into_iter().filter(|network| !put.contains(network));
        others.for_each(|network| files.take(&network, &container.id));
        Ok(())
    }

    /// Writes what a container is called on one network, in place of what was there: its name, its aliases there,
    /// its short id and its host name (Docker). Whoever asks from then on hears it.
    pub(crate) fn put_names(
        &self,
        container: &Container,
        network: &NetworkId,
        aliases: &[String],
        addresses: Vec<IpAddr>,
    ) -> Result<(), EngineError> {
        let own = [container.row.name.to_string()];
        let more = [container.id.short(), container.record.resolved.hostname.clone()];
        let names = own.into_iter().chain(aliases.iter().cloned()).chain(more);
        let files = self.name_files();
        let put = files.put(network, &container.id, &Record::new(names, addresses));
        put.map_err(EngineError::file("write", files.file(network, &container.id)))
    }

    /// Gives a container that runs its new name wherever it has one.
    pub(crate) fn put_new_name(&self, container: &Container) -> Result<(), EngineError> {
        let (files, id) = (self.name_files(), &container.id);
        for network in files.networks() {
            let Some(Record { names, addresses }) = files.get(&network, id) else { continue };
            let own = [container.row.name.to_string()];
            let names = own.into_iter().chain(names.into_iter().skip(1));
            // It may have been the same as the name before.
            let hostname = [container.record.resolved.hostname.clone()];
            let record = Record::new(names.chain(hostname), addresses);
            match files.put(&network, id, &record) {
                // Somebody has taken them since they were read: the container ends.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                put => put.map_err(EngineError::file("write", files.file(&network, id)))?,
            }
        }
        Ok(())
    }

    /// Takes away what a container is called, on all networks.
    pub(crate) fn take_names(&self, container: &ContainerId) {
        self.name_files().take_all(container);
    }
}
