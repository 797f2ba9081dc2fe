//! Flags to requests.
