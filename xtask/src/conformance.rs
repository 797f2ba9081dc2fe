//! Suites that others have written for OCI runtimes.

mod runtime;
mod sources;
mod validation;

pub(crate) use validation::{PACKAGES, check};
