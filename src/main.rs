//! The `smore` command.
fn main() {}
