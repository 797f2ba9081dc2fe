//! argv to requests, responses to tables, JSON, progress; one file per command.
#![forbid(unsafe_code)]

mod argv;
mod cx;
mod error;
mod human;
pub mod inspect;
mod parse;
pub mod template;
