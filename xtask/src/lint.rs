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
    for build in [Build::Cpu, Build::Training] {
        run(wasm.cargo(workspace, "clippy", build).args(STRICT))?;
    }
    // `cargo clippy` would have all of Burn checked for wasm32 beside building it for the page. Clippy's driver
    // is a compiler, too: as the one of the workspace's own crates it finds Burn as the page's build needs it.
    let mut build = wasm.cargo(workspace, "build", Build::Gpu);
    build
        .args(["--lib", "--config", "profile.web.opt-level=0"])
        .args(["--config", "profile.web.package.rekindle-cpu.opt-level=0"])
        .env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver")
        .env(
            "CLIPPY_ARGS",
            "--deny__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__",
        );
    run(&mut build)?;

    for packages in NATIVE {
        let mut doc = cargo(workspace);
        doc.arg("doc")
            .args(packages)
            .args(["--no-deps", "--document-private-items"]);
        run(doc.env("RUSTDOCFLAGS", "--deny warnings"))?;
    }
    Ok(())
}
