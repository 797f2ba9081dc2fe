//! argv to requests, responses to tables, JSON, progress; one file per command.
