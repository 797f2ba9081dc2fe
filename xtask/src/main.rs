//! Automation: demo, test, bench, images, tidy.

fn main() {}
