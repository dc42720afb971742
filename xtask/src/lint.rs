//! Formatting, clippy for both worlds, and the documentation, all with warnings denied.

use anyhow::Result;

use crate::process::{cargo, run};
use crate::wasm::{Build, Wasm};
use crate::workspace::{NATIVE, Workspace};

/// Runs every check and stops at the first that complains.
///
/// Everything is checked in the profiles that programs and tests are built in, so that procedural
/// macros and build scripts are shared with those builds.
pub fn check(workspace: &Workspace) -> Result<()> {
    const STRICT: [&str; 4] = ["--all-targets", "--", "--deny", "warnings"];

    run(cargo(workspace).args(["fmt", "--all", "--check"]))?;

    for packages in NATIVE {
        run(cargo(workspace).arg("clippy").args(packages).args(STRICT))?;
    }
    let wasm = Wasm::find_or_install(workspace)?;
    for build in Build::ALL {
        run(wasm.cargo(workspace, "clippy", build).args(STRICT))?;
    }

    for packages in NATIVE {
        let mut doc = cargo(workspace);
        doc.arg("doc")
            .args(packages)
            .args(["--no-deps", "--document-private-items"]);
        run(doc.env("RUSTDOCFLAGS", "--deny warnings"))?;
    }
    Ok(())
}
