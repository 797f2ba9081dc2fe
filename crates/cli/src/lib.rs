//! argv to requests, responses to tables, JSON, progress; one file per command.
#![forbid(unsafe_code)]

pub mod inspect;
pub mod template;
