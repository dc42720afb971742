//! Where a model came from: its file, and what manifests say of it.

use std::path::Path;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

/// Where a model came from, for manifests.
pub type Origin = Map<String, Value>;

/// What is said of weights called `name` that lie in `file`.
pub fn origin(name: &str, file: &str, sha256: &str) -> Origin {
    let mut origin = Origin::new();
    origin.insert("weights".into(), json!(name));
    origin.insert("weights_file".into(), json!(file));
    origin.insert("weights_sha256".into(), json!(sha256));
    origin
}

/// A whole file.
pub fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
