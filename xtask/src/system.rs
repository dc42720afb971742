//! System packages: installed where we may, otherwise named.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

use anyhow::Result;

use crate::process::{Missing, output_of, program, run};
use crate::workspace::Workspace;

/// The file a command name stands for, looked up on the `PATH`.
pub fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
        .find(|file| file.is_file())
}

/// The first of several names a program goes by on different systems.
pub fn first_of(names: &[&str]) -> Option<PathBuf> {
    names.iter().find_map(|name| which(name))
}

/// Installs Debian packages, or says which command would.
///
/// # Errors
///
/// [`Missing`] when this is not Debian, we are not root, or apt could not get the packages.
pub fn install_debian(workspace: &Workspace, packages: &[&str], what: &str) -> Result<()> {
    let list = packages.join(" ");
    if which("apt-get").is_none() {
        return Err(Missing(format!(
            "{what} is not installed; on Debian it is in the packages {list}"
        ))
        .into());
    }
    if !is_root() {
        return Err(Missing(format!(
            "{what} is not installed; type `sudo apt-get install {list}`"
        ))
        .into());
    }
    static LISTS: Once = Once::new();
    LISTS.call_once(|| {
        // An old list of packages may still do, so a failure here is for the installation to judge.
        if let Err(error) = run(apt_get(workspace).arg("update").arg("--quiet=2")) {
            eprintln!("warning: {error:#}");
        }
    });
    let mut command = apt_get(workspace);
    command
        .args(["install", "--yes", "--quiet=2", "--no-install-recommends"])
        .args(packages);
    run(&mut command).map_err(|error| {
        Missing(format!(
            "{what} could not be installed from Debian's packages: {error:#}"
        ))
        .into()
    })
}

/// Whether we may install system packages.
pub fn is_root() -> bool {
    output_of(Command::new("id").arg("-u")).is_some_and(|id| id == "0")
}

/// Makes sure that a Vulkan driver is there, be it a software one.
///
/// # Errors
///
/// [`Missing`] when there is none and none can be installed.
pub fn vulkan(workspace: &Workspace) -> Result<()> {
    if !cfg!(target_os = "linux") || has_vulkan_driver() {
        return Ok(());
    }
    install_debian(
        workspace,
        &["mesa-vulkan-drivers", "libvulkan1"],
        "a Vulkan driver",
    )
}

/// Makes sure that Fashion-MNIST is there, where Debian's package has it or `REKINDLE_FASHION_MNIST` says.
///
/// # Errors
///
/// [`Missing`] when it is not and cannot be installed.
pub fn fashion_mnist(workspace: &Workspace) -> Result<()> {
    let usual = "/usr/share/datasets/fashion-mnist".into();
    let folder = std::env::var_os("REKINDLE_FASHION_MNIST").map_or(usual, PathBuf::from);
    if folder.join("train-images-idx3-ubyte.gz").is_file() {
        return Ok(());
    }
    install_debian(workspace, &["dataset-fashion-mnist"], "Fashion-MNIST")
}

/// Makes sure that what libheif is built with and over is there: CMake, a C++ compiler, decoders of HEVC and AV1.
///
/// # Errors
///
/// [`Missing`] when it is not and cannot be installed.
pub fn heif(workspace: &Workspace) -> Result<()> {
    let has_libraries = which("pkg-config").is_some_and(|pkg_config| {
        output_of(Command::new(pkg_config).args(["--modversion", "libde265", "dav1d"])).is_some()
    });
    if has_libraries && which("cmake").is_some() && which("c++").is_some() {
        return Ok(());
    }
    let packages = [
        "cmake",
        "g++",
        "make",
        "pkg-config",
        "libde265-dev",
        "libdav1d-dev",
    ];
    install_debian(workspace, &packages, "what libheif is built with")
}

fn has_vulkan_driver() -> bool {
    const FOLDERS: [&str; 3] = [
        "/usr/share/vulkan/icd.d",
        "/usr/local/share/vulkan/icd.d",
        "/etc/vulkan/icd.d",
    ];
    FOLDERS.iter().any(|folder| {
        Path::new(folder)
            .read_dir()
            .is_ok_and(|mut entries| entries.next().is_some())
    })
}

/// The folder for sockets that graphics drivers ask for: the session's own, or one of ours.
pub fn runtime_folder(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("XDG_RUNTIME_DIR") {
        return Ok(folder.into());
    }
    let folder = workspace.target().join("xdg-runtime");
    std::fs::create_dir_all(&folder)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(folder)
}

fn apt_get(workspace: &Workspace) -> Command {
    let mut command = program("apt-get", workspace);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}
