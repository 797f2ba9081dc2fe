//! Tests of names, removal and publishing.
