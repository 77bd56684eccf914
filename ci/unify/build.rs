//! Nothing to do: its dependencies are the point.

fn main() {}
