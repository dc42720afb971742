//! Formatting, clippy for both worlds, and the documentation, all with warnings denied.

use anyhow::Result;

use crate::process::{cargo, run};
use crate::wasm::Wasm;
use crate::workspace::Workspace;

/// Runs every check and stops at the first that complains.
pub fn check(workspace: &Workspace) -> Result<()> {
    run(cargo(workspace).args(["fmt", "--all", "--check"]))?;

    // Only compiled on wasm32: the web crate. Only compiled natively: everything else.
    const NATIVE: [&str; 4] = ["--workspace", "--exclude", "rekindle-web", "--release"];
    let mut clippy = cargo(workspace);
    clippy.arg("clippy").args(NATIVE).arg("--all-targets");
    run(clippy.args(["--", "--deny", "warnings"]))?;

    let wasm = Wasm::find_or_install(workspace)?;
    let mut clippy = wasm.cargo(workspace, "clippy");
    run(clippy.args(["--all-targets", "--", "--deny", "warnings"]))?;

    let mut doc = cargo(workspace);
    doc.arg("doc")
        .args(NATIVE)
        .args(["--no-deps", "--document-private-items"]);
    run(doc.env("RUSTDOCFLAGS", "--deny warnings"))
}
