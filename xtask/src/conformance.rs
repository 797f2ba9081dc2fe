//! Suites that others have written for OCI runtimes.

mod expected;
mod facts;
mod mirror;
mod runtime;
mod sources;
mod validation;

pub(crate) use validation::{PACKAGES, check};
