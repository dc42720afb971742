//! The reference numbers of the tests, made by PyTorch, torchvision, timm and scikit-learn.

use std::ffi::OsString;
use std::fs;

use anyhow::{Context, Result};

use crate::process::{Missing, output_of, program, run};
use crate::workspace::Workspace;

/// Runs every script of `tests/parity` that writes reference files.
///
/// # Errors
///
/// [`Missing`] when Python lacks the packages; `PYTHON` names another interpreter.
pub fn run_scripts(workspace: &Workspace) -> Result<()> {
    let python = std::env::var_os("PYTHON").unwrap_or_else(|| OsString::from("python3"));
    let modules = "import PIL, safetensors, sklearn, timm, torch, torchvision";
    if output_of(program(&python, workspace).args(["-c", modules])).is_none() {
        return Err(Missing(format!(
            "{} cannot import all of PyTorch, torchvision, timm, scikit-learn, safetensors and \
             Pillow; type `{0} -m pip install -r tests/parity/requirements.txt`, or name another \
             interpreter in PYTHON",
            python.display()
        ))
        .into());
    }
    let folder = workspace.root().join("tests/parity");
    let mut scripts = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("reading {folder:?}"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("make_") && name.ends_with(".py") {
            scripts.push(path);
        }
    }
    scripts.sort();
    for script in scripts {
        run(program(&python, workspace).arg(script))?;
    }
    Ok(())
}
