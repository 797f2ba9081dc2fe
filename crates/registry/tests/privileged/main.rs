//! Pulls from a registry with faults. Root is needed to unpack what layers hold.

#[cfg(test)]
mod auth;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod push;
#[cfg(test)]
mod server;
