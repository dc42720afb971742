//! The tools the browser side needs: wasm-bindgen, Chromium, Node.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::process::{Missing, cargo, output_of, program, run};
use crate::system::{first_of, install_debian, vulkan, which};
use crate::wasm::Wasm;
use crate::workspace::Workspace;

/// The browser tests ask modules for their folder, which older versions of Node do not tell.
const OLDEST_NODE: (u32, u32) = (20, 11);

/// What is installed where there is no Node, or an older one.
const NODE: &str = "22.23.3";

/// A browser and the driver through which wasm-bindgen's test runner steers it.
pub struct Browser {
    pub chromium: PathBuf,
    pub driver: PathBuf,
}

/// Gets everything, and reports at the end what could not be had.
pub fn set_up_all(workspace: &Workspace) -> Result<()> {
    let steps: [(&str, Result<()>); 6] = [
        ("a Vulkan driver", vulkan(workspace)),
        (
            "the wasm32 target",
            Wasm::find_or_install(workspace).map(|_| ()),
        ),
        ("wasm-bindgen", wasm_bindgen(workspace).map(|_| ())),
        ("Node", node(workspace).map(|_| ())),
        ("Chromium", browser(workspace).map(|_| ())),
        ("Playwright", playwright(workspace)),
    ];
    let mut missing = 0;
    println!();
    for (what, result) in steps {
        match result {
            Ok(()) => println!("  ok       {what}"),
            Err(error) => {
                missing += 1;
                println!("  MISSING  {what}: {error:#}");
            }
        }
    }
    match missing {
        0 => Ok(()),
        _ => Err(Missing(format!("{missing} of the tools above could not be set up")).into()),
    }
}

/// The folder with `wasm-bindgen` and its test runner, of exactly the version in `Cargo.lock`:
/// the two halves of wasm-bindgen only understand each other at the same version.
pub fn wasm_bindgen(workspace: &Workspace) -> Result<PathBuf> {
    const PACKAGE: &str = "wasm-bindgen-cli";
    const BINARY: &str = "wasm-bindgen";
    let version = workspace.locked_version("wasm-bindgen")?;
    if let Some(folder) = which(BINARY).as_deref().and_then(Path::parent)
        && reports_version(&folder.join(BINARY), &version)
    {
        return Ok(folder.to_path_buf());
    }
    let root = workspace
        .cache()
        .join("tools")
        .join(format!("{PACKAGE}-{version}"));
    let folder = root.join("bin");
    if reports_version(&folder.join(BINARY), &version) {
        return Ok(folder);
    }
    println!("{PACKAGE} {version} is not here yet: building it from its source");
    let install = |locked: &[&str]| {
        let mut command = cargo(workspace);
        command
            .args(["install", PACKAGE, "--version", &version, "--root"])
            .arg(&root)
            .args(locked);
        // Its own folder: its dependencies are other versions, and nothing of it is needed later. It
        // runs for seconds, so minutes of optimisation would not come back.
        run(command
            .env("CARGO_TARGET_DIR", workspace.cache().join("tools/build"))
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"))
    };
    // A lock file can name a version that a mirror of the registry has not got (yet).
    install(&["--locked"])
        .or_else(|_| install(&[]))
        .map_err(|error| {
            Missing(format!(
                "{PACKAGE} {version} could not be installed: {error:#}"
            ))
        })?;
    Ok(folder)
}

fn reports_version(binary: &Path, version: &str) -> bool {
    output_of(Command::new(binary).arg("--version"))
        .is_some_and(|line| line.split_whitespace().nth(1) == Some(version))
}

/// Chromium and ChromeDriver.
pub fn browser(workspace: &Workspace) -> Result<Browser> {
    let find = || {
        let chromium = match std::env::var_os("CHROMIUM") {
            Some(path) => Some(PathBuf::from(path)),
            None => first_of(&["chromium", "chromium-browser", "google-chrome", "chrome"]),
        };
        Some(Browser {
            chromium: chromium?,
            driver: which("chromedriver")?,
        })
    };
    if let Some(browser) = find() {
        return Ok(browser);
    }
    install_debian(
        workspace,
        &["chromium", "chromium-driver"],
        "Chromium with its driver",
    )?;
    find().ok_or_else(|| Missing("Chromium was installed but is not found".into()).into())
}

/// Node, recent enough for the browser tests: the one on the `PATH`, Debian's, or npm's own package
/// of it where Debian's is too old.
pub fn node(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(node) = which("node").filter(|node| is_recent_node(node))
        && which("npm").is_some()
    {
        return Ok(node);
    }
    let platform = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    let package = format!("node-{}-{platform}", std::env::consts::OS);
    let root = workspace.cache().join(format!("tools/node-{NODE}"));
    let node = root.join("node_modules").join(&package).join("bin/node");
    if is_recent_node(&node) {
        return Ok(node);
    }
    if which("npm").is_none() {
        install_debian(workspace, &["nodejs", "npm"], "Node with npm")?;
        if let Some(node) = which("node").filter(|node| is_recent_node(node)) {
            return Ok(node);
        }
    }
    std::fs::create_dir_all(&root)?;
    let mut npm = program("npm", workspace);
    npm.args([
        "install",
        "--no-save",
        "--no-audit",
        "--no-fund",
        "--prefix",
    ])
    .arg(&root);
    run(npm.arg(format!("{package}@{NODE}")))
        .map_err(|error| Missing(format!("Node {NODE} could not be got: {error:#}")))?;
    Ok(node)
}

fn is_recent_node(node: &Path) -> bool {
    output_of(Command::new(node).arg("--version"))
        .and_then(|line| node_version(&line))
        .is_some_and(|version| version >= OLDEST_NODE)
}

/// Major and minor number of `v22.9.0`.
fn node_version(line: &str) -> Option<(u32, u32)> {
    let mut numbers = line.strip_prefix('v')?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Playwright's library beside the browser tests, as pinned by their `package-lock.json`.
pub fn playwright(workspace: &Workspace) -> Result<()> {
    let folder = workspace.root().join("tests/browser");
    let lock = std::fs::read(folder.join("package-lock.json"))?;
    // `npm ci` always starts afresh: a copy of the lock file tells that it has been done.
    let stamp = folder.join("node_modules/.installed-lock.json");
    if std::fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    let node = node(workspace)?;
    let mut npm = program("npm", workspace);
    put_on_path(&mut npm, node.parent())?;
    npm.current_dir(&folder)
        .args(["ci", "--no-audit", "--no-fund"]);
    run(&mut npm).map_err(|error| Missing(format!("Playwright could not be got: {error:#}")))?;
    Ok(std::fs::write(stamp, lock)?)
}

/// Puts folders before those of the `PATH`, for one command.
pub fn put_on_path<'a>(
    command: &mut Command,
    folders: impl IntoIterator<Item = &'a Path>,
) -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = folders.into_iter().map(Path::to_path_buf);
    command.env(
        "PATH",
        std::env::join_paths(folders.chain(std::env::split_paths(&path)))?,
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_node_are_compared_as_numbers() {
        assert_eq!(node_version("v20.11.1"), Some((20, 11)));
        assert!(node_version("v20.9.0") < Some(OLDEST_NODE));
        assert!(node_version("v100.0.0") > Some(OLDEST_NODE));
        assert_eq!(node_version("node: not found"), None);
    }
}
