//! Where things are: the checkout, its build folder, the page, the cache of tools.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The native packages, in the two groups every command takes them in.
///
/// The shaders' tests ask more of naga than wgpu does. Taken together with the rest, those features
/// would reach wgpu and with it have most of Burn compiled a second time.
pub const NATIVE: [&[&str]; 2] = [
    &[
        "--release",
        "--workspace",
        "--exclude=rekindle-web",
        "--exclude=rekindle-shaders",
    ],
    &["--release", "--package=rekindle-shaders"],
];

/// The folders every command works in.
pub struct Workspace {
    root: PathBuf,
    target: PathBuf,
    cache: PathBuf,
}

impl Workspace {
    /// Finds the checkout, and the build folder this binary lies in.
    pub fn find() -> Result<Self> {
        // Cargo says where the checkout is when it runs us. What it said when it built us may be
        // another checkout that shares the build folder.
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR");
        let manifest = manifest.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&manifest)
            .parent()
            .context("the xtask crate should lie one folder below the workspace")?
            .to_path_buf();
        // `cargo xtask` runs `<target>/release/xtask`: asking the binary where it is also gets
        // CARGO_TARGET_DIR and a `build.target-dir` of the user's own configuration right.
        let binary = std::env::current_exe().context("where is this program?")?;
        let target = binary.ancestors().nth(2).unwrap_or(&root).to_path_buf();
        let cache = match std::env::var_os("REKINDLE_CACHE") {
            Some(folder) => std::path::absolute(folder).context("REKINDLE_CACHE is not a path")?,
            None => std::env::home_dir()
                .map_or_else(|| target.join("cache"), |home| home.join(".cache/rekindle")),
        };
        Ok(Self {
            root,
            target,
            cache,
        })
    }

    /// The folder of the workspace's `Cargo.toml`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Cargo's build folder.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Tools and their downloads, kept between checkouts.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// The finished page: a folder that any static file server can hand out.
    pub fn page(&self) -> PathBuf {
        self.root.join("dist")
    }

    /// The command line program as the tests use it.
    pub fn program(&self) -> PathBuf {
        self.target
            .join("release")
            .join(format!("rekindle{}", std::env::consts::EXE_SUFFIX))
    }

    /// The version of a package in `Cargo.lock`.
    pub fn locked_version(&self, package: &str) -> Result<String> {
        let path = self.root.join("Cargo.lock");
        let lock = std::fs::read_to_string(&path).with_context(|| format!("reading {path:?}"))?;
        version_in_lock(&lock, package)
            .with_context(|| format!("{path:?} does not list the package `{package}`"))
    }
}

fn version_in_lock(lock: &str, package: &str) -> Option<String> {
    let mut lines = lock.lines();
    let name = format!("name = \"{package}\"");
    lines.find(|line| *line == name)?;
    let version = lines
        .next()?
        .strip_prefix("version = \"")?
        .strip_suffix('"')?;
    Some(version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::version_in_lock;

    #[test]
    fn the_locked_version_is_that_of_the_whole_name() {
        let lock = "[[package]]\nname = \"wasm-bindgen-macro\"\nversion = \"0.9.0\"\n\n\
                    [[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.130\"\n";
        assert_eq!(
            version_in_lock(lock, "wasm-bindgen").as_deref(),
            Some("0.2.130")
        );
        assert_eq!(version_in_lock(lock, "wasm"), None);
    }
}
