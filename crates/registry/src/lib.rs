//! The OCI distribution protocol: a client for any registry.
