//! Tests that need root: real file systems, overlays, devices.

#[cfg(test)]
mod archives;
#[cfg(test)]
mod containers;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod layer;
#[cfg(test)]
mod processes;
