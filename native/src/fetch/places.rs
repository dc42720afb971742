//! Where weights may lie, and which of these places they lie in.

use std::collections::HashSet;
use std::env;
use std::path::{Path, PathBuf};

use super::source::WeightSource;
use crate::hash::{FileHash, hash_file};

/// The kind of place in which weights were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The project's own `assets/weights`.
    Assets,
    /// The folder in which `torch.hub` and torchvision keep downloads.
    TorchHub,
    /// Our cache.
    Cache,
    /// Just downloaded, into our cache.
    Download,
}

/// The folders to look into, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// Folders like `assets/weights`.
    pub assets: Vec<PathBuf>,
    /// `…/torch/hub/checkpoints`.
    pub torch_hub: Option<PathBuf>,
    /// Our cache, where downloads go.
    pub cache: Option<PathBuf>,
}

impl Places {
    /// The places of this machine and user: `$REKINDLE_ASSETS/weights`, `assets/weights` in the
    /// current folder or one above it, and beside the executable or one above that; torch hub's
    /// folder by PyTorch's own rules; and `rekindle/weights` in the user's cache folder.
    pub fn of_this_machine() -> Self {
        let mut assets = Vec::new();
        if let Some(folder) = env::var_os("REKINDLE_ASSETS") {
            assets.push(PathBuf::from(folder).join("weights"));
        }
        let from_here = env::current_dir().ok();
        let from_program = env::current_exe()
            .ok()
            .and_then(|exe| exe.parent().map(Path::to_owned));
        for start in [from_here, from_program].into_iter().flatten() {
            let folders = start
                .ancestors()
                .map(|folder| folder.join("assets").join("weights"));
            assets.extend(folders.filter(|folder| folder.is_dir()));
        }
        // The same folder may be reached in several ways; the first says most.
        let mut seen = HashSet::new();
        assets.retain(|folder| {
            let real = folder.canonicalize();
            seen.insert(real.unwrap_or_else(|_| folder.clone()))
        });
        let torch = torch_home(
            env::var_os("TORCH_HOME").map(PathBuf::from),
            env::var_os("XDG_CACHE_HOME").map(PathBuf::from),
            dirs::home_dir(),
        );
        Self {
            assets,
            torch_hub: torch.map(|home| home.join("hub").join("checkpoints")),
            cache: cache_folder("weights"),
        }
    }

    /// Every file that would do, in the order of preference.
    pub fn candidates(&self, source: &WeightSource<'_>) -> Vec<(Place, PathBuf)> {
        let ours = format!("{}.safetensors", source.name);
        let mut files = Vec::new();
        for folder in &self.assets {
            files.push((Place::Assets, folder.join(&ours)));
        }
        for folder in &self.assets {
            files.push((Place::Assets, folder.join(source.file_name)));
        }
        if let Some(folder) = &self.torch_hub {
            files.push((Place::TorchHub, folder.join(source.file_name)));
        }
        if let Some(folder) = &self.cache {
            files.push((Place::Cache, folder.join(source.file_name)));
        }
        files
    }

    /// What the user can do without a download: which file from where to which place.
    pub fn by_hand(&self, source: &WeightSource<'_>) -> String {
        let file = self
            .cache
            .as_ref()
            .or(self.torch_hub.as_ref())
            .or(self.assets.first());
        let file = match file {
            Some(folder) => folder.join(source.file_name).display().to_string(),
            None => source.file_name.to_owned(),
        };
        match source.url {
            Some(url) => format!("download {url} on any machine and put it at {file}"),
            None => format!("put the weights at {file}"),
        }
    }
}

/// A folder of ours in the user's cache folder: `~/.cache/rekindle/NAME` on Linux, or in `$XDG_CACHE_HOME`. It may not
/// be there yet.
pub fn cache_folder(name: &str) -> Option<PathBuf> {
    dirs::cache_dir().map(|cache| cache.join("rekindle").join(name))
}

/// Where PyTorch keeps its files: `$TORCH_HOME`, else `$XDG_CACHE_HOME/torch`, else
/// `~/.cache/torch` (`torch.hub._get_torch_home`, the same on every system).
fn torch_home(
    torch_home: Option<PathBuf>,
    xdg_cache: Option<PathBuf>,
    home: Option<PathBuf>,
) -> Option<PathBuf> {
    torch_home
        .or_else(|| xdg_cache.map(|cache| cache.join("torch")))
        .or_else(|| home.map(|home| home.join(".cache").join("torch")))
}

/// Weights that lie on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// Which of the places it was found in.
    pub place: Place,
    /// SHA-256 of the file, for the manifest.
    pub sha256: FileHash,
}

/// Looks for weights on this machine, without any network.
///
/// Files that are not what their name promises (another hash, a download that broke off) are passed
/// over.
pub fn locate(source: &WeightSource<'_>, places: &Places) -> Option<Found> {
    places
        .candidates(source)
        .into_iter()
        .find_map(|(place, path)| {
            if !path.is_file() {
                return None;
            }
            let sha256 = hash_file(&path).ok()?;
            // Our own assets are converted files with a hash of their own.
            let good = place == Place::Assets || source.matches(sha256);
            good.then_some(Found {
                path,
                place,
                sha256,
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torch_home_follows_pytorchs_rules() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(torch_home(path("/t"), path("/x"), path("/h")), path("/t"));
        assert_eq!(torch_home(None, path("/x"), path("/h")), path("/x/torch"));
        assert_eq!(torch_home(None, None, path("/h")), path("/h/.cache/torch"));
        assert_eq!(torch_home(None, None, None), None);
    }
}
