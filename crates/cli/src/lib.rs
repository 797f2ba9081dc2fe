//! argv to requests, responses to tables, JSON, progress; one file per command.
#![forbid(unsafe_code)]

mod argv;
mod cx;
mod error;
mod format;
mod human;
pub mod inspect;
mod options;
mod parse;
mod table;
pub mod template;
