//! The binary: picks the role from argv and wires it.

fn main() {}
