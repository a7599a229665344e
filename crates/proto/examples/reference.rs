//! Writes docs/api.md as the protos now have it; see build/reference.rs.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let page = include_str!(concat!(env!("OUT_DIR"), "/api.md"));
    std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/api.md"), page)
}
