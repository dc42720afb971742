//! A Rust that compiles for wasm32: the active toolchain with rustup's target, or Debian's Rust
//! with a standard library built from its own sources.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{Missing, cargo, output_of, program, run, run_within};
use crate::system::{install_debian, is_root, which};
use crate::workspace::Workspace;

const TARGET: &str = "wasm32-unknown-unknown";

/// The name under which rustup knows Debian's Rust, once we have linked it.
const DEBIAN_TOOLCHAIN: &str = "rekindle-wasm";

/// A build of the web crate. A visitor downloads one of the first two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// Graphics adapters, and the processor for when they fail.
    Gpu,
    /// The processor alone, and no training of more than heads.
    Cpu,
    /// The processor alone: what a visitor who has the second one downloads when he trains more than a head.
    Training,
}

impl Build {
    /// All, the largest one first.
    pub const ALL: [Self; 3] = [Self::Gpu, Self::Cpu, Self::Training];

    /// What the page calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gpu => "gpu",
            Self::Cpu => "cpu",
            Self::Training => "training",
        }
    }

    /// Its Cargo profile. Cargo keeps one library of a name in a profile's folder: two builds in one
    /// folder would take turns and never be up to date.
    pub fn profile(self) -> &'static str {
        match self {
            Self::Gpu => "web",
            Self::Cpu => "web-cpu",
            Self::Training => "web-training",
        }
    }
}

/// A toolchain with a standard library for wasm32.
pub struct Wasm {
    toolchain: Option<&'static str>,
}

impl Wasm {
    /// Finds a toolchain for wasm32, or sets one up.
    ///
    /// # Errors
    ///
    /// [`Missing`] when neither rustup nor Debian could provide it.
    pub fn find_or_install(workspace: &Workspace) -> Result<Self> {
        for toolchain in [None, Some(DEBIAN_TOOLCHAIN)] {
            if has_standard_library(workspace, toolchain) {
                return Ok(Self { toolchain });
            }
        }
        println!("the wasm32 target is not here yet: asking rustup for it");
        let mut rustup = program("rustup", workspace);
        let from_rustup = run_within(
            Duration::from_secs(180),
            rustup.args(["target", "add", TARGET]),
        );
        if from_rustup.is_ok() && has_standard_library(workspace, None) {
            return Ok(Self { toolchain: None });
        }
        println!("rustup could not provide it: building it from Debian's sources of Rust");
        match from_debian(workspace) {
            Ok(()) => Ok(Self {
                toolchain: Some(DEBIAN_TOOLCHAIN),
            }),
            Err(error) => Err(Missing(format!(
                "no standard library for {TARGET}: rustup could not add it, and Debian's Rust \
                 could not stand in: {error:#}"
            ))
            .into()),
        }
    }

    /// Makes a command use this toolchain.
    fn choose(&self, command: &mut Command) {
        if let Some(toolchain) = self.toolchain {
            command.env("RUSTUP_TOOLCHAIN", toolchain);
        }
    }

    /// `cargo SUBCOMMAND` for a build of the web crate on wasm32, in the page's profile.
    pub fn cargo(&self, workspace: &Workspace, subcommand: &str, build: Build) -> Command {
        let mut command = cargo(workspace);
        self.choose(&mut command);
        command.args([subcommand, "--package", "rekindle-web"]);
        command.args(["--target", TARGET, "--profile", build.profile()]);
        match build {
            Build::Cpu => {}
            Build::Gpu | Build::Training => _ = command.args(["--features", build.name()]),
        }
        command
    }

    /// `cargo test` for the web crate, in the profile and with the features that `wasm-pack test` takes.
    pub fn test(&self, workspace: &Workspace) -> Command {
        let mut command = cargo(workspace);
        self.choose(&mut command);
        command.args(["test", "--package", "rekindle-web", "--target", TARGET]);
        command
    }

    /// The compiled web crate, before wasm-bindgen.
    pub fn artifact(&self, workspace: &Workspace, build: Build) -> PathBuf {
        workspace
            .target()
            .join(TARGET)
            .join(build.profile())
            .join("rekindle_web.wasm")
    }
}

fn has_standard_library(workspace: &Workspace, toolchain: Option<&str>) -> bool {
    let mut rustc = program("rustc", workspace);
    if let Some(toolchain) = toolchain {
        rustc.env("RUSTUP_TOOLCHAIN", toolchain);
    }
    compiles(workspace, rustc)
}

/// Whether a compiler finds what programs and tests are linked with, made for its own version: it
/// is given an empty file as a test harness.
fn compiles(workspace: &Workspace, mut rustc: Command) -> bool {
    let result = workspace.target().join("wasm-probe.rmeta");
    rustc.args([
        "--test",
        "--crate-name=probe",
        "--emit=metadata",
        "--target",
        TARGET,
        "-",
        "-o",
    ]);
    output_of(rustc.arg(result)).is_some()
}

/// Debian's `rustc-web` carries the sources of its standard library: build them for wasm32 once,
/// put the result where that rustc looks for it, and give it a linker and a name.
fn from_debian(workspace: &Workspace) -> Result<()> {
    const RUSTC: &str = "/usr/bin/rustc";
    const CARGO: &str = "/usr/bin/cargo";
    if !is_root() {
        bail!("that takes root, for Debian's folders");
    }
    if which("apt-get").is_none() {
        bail!("this is not Debian");
    }
    install_debian(
        workspace,
        &["rustc-web", "cargo-web", "rust-web-src", "rust-web-clippy"],
        "Debian's Rust with its sources",
    )?;
    let sysroot = output_of(Command::new(RUSTC).args(["--print", "sysroot"]))
        .map(PathBuf::from)
        .context("Debian's rustc does not run")?;
    let libraries = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    if !compiles(workspace, program(RUSTC, workspace)) {
        build_standard_library(workspace, RUSTC, CARGO, &libraries)?;
    }
    link_linker(workspace, &sysroot)?;
    run(program("rustup", workspace)
        .args(["toolchain", "link", DEBIAN_TOOLCHAIN])
        .arg("/usr"))
}

fn build_standard_library(
    workspace: &Workspace,
    rustc: &str,
    cargo: &str,
    libraries: &Path,
) -> Result<()> {
    let folder = workspace.cache().join("wasm-std");
    // What an earlier version of the compiler left would stand in the way.
    for stale in [folder.as_path(), libraries] {
        if stale.exists() {
            std::fs::remove_dir_all(stale)?;
        }
    }
    std::fs::create_dir_all(folder.join("src"))?;
    std::fs::write(
        folder.join("Cargo.toml"),
        "[package]\nname = \"empty\"\nedition = \"2024\"\n\n[workspace]\n",
    )?;
    std::fs::write(folder.join("src/lib.rs"), "")?;
    let mut command = program(cargo, workspace);
    command
        .current_dir(&folder)
        .args([
            "build",
            "--release",
            "--target",
            TARGET,
            "-Z",
            "build-std=std,panic_abort,test",
        ])
        .env("RUSTC", rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env_remove("RUSTUP_TOOLCHAIN");
    run(&mut command)?;
    std::fs::create_dir_all(libraries)?;
    let built = folder.join("target").join(TARGET).join("release/deps");
    for entry in std::fs::read_dir(&built).with_context(|| format!("reading {built:?}"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".rlib") && !name.starts_with("libempty-") {
            std::fs::copy(&path, libraries.join(name.as_ref()))?;
        }
    }
    Ok(())
}

/// Debian ships no `rust-lld`: borrow that of the rustup toolchain, which reads any version's
/// object files.
fn link_linker(workspace: &Workspace, sysroot: &Path) -> Result<()> {
    let version =
        output_of(program("rustc", workspace).arg("-vV")).context("rustc does not run")?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc does not tell its host")?;
    let place = Path::new("lib/rustlib").join(host).join("bin/rust-lld");
    let wanted = sysroot.join(&place);
    if wanted.exists() {
        return Ok(());
    }
    let active = output_of(program("rustc", workspace).args(["--print", "sysroot"]))
        .context("the active toolchain does not tell its folder")?;
    let linker = Path::new(&active).join(&place);
    if !linker.exists() {
        bail!("the active toolchain has no {place:?}");
    }
    if let Some(folder) = wanted.parent() {
        std::fs::create_dir_all(folder)?;
    }
    run(program("ln", workspace)
        .arg("-sfn")
        .args([&linker, &wanted]))
}
