//! Pretrained weights by name: found on this machine, or downloaded once.
//!
//! The search goes from what costs nothing to what costs a download: the project's own
//! `assets/weights`, the folder in which PyTorch keeps what it has downloaded, our cache, and last
//! the official address. What was downloaded is checked against the hash that torchvision puts into
//! its file names before it is used.

mod download;
mod error;
mod places;

pub use download::Transfer;
pub use error::FetchError;
pub use places::{Place, Places};

use std::path::PathBuf;

use crate::dataset::{FileHash, hash_file};
use crate::interrupt::Interrupt;

/// Which weights are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightSource<'a> {
    /// Name of the network, such as `resnet18`; `assets/weights` holds `resnet18.safetensors`.
    pub name: &'a str,
    /// The file's name where torch hub and our cache keep it: the last part of the address.
    pub file_name: &'a str,
    /// The official address, if there is one.
    pub url: Option<&'a str>,
    /// The first hexadecimal digits of the file's SHA-256, as in `resnet18-f37072fd.pth`.
    pub sha256_prefix: Option<&'a str>,
}

impl<'a> WeightSource<'a> {
    /// The source for an address in torchvision's table: file name and hash are read from the
    /// address.
    pub fn from_url(name: &'a str, url: &'a str) -> Self {
        let file_name = url.rsplit('/').next().unwrap_or(url);
        let stem = file_name
            .rsplit_once('.')
            .map_or(file_name, |(stem, _)| stem);
        let prefix = stem.rsplit_once('-').map(|(_, prefix)| prefix);
        let is_hash =
            |p: &&str| p.len() >= 8 && p.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        Self {
            name,
            file_name,
            url: Some(url),
            sha256_prefix: prefix.filter(is_hash),
        }
    }

    fn matches(&self, hash: FileHash) -> bool {
        self.sha256_prefix
            .is_none_or(|prefix| hash.to_string().starts_with(prefix))
    }
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

/// Finds weights on this machine or downloads them into the cache.
///
/// `progress` is called with what has arrived, and with the total where the server says it. An
/// interrupted download is taken up again where it broke off, now or in a later run.
///
/// # Errors
/// [`FetchError`]; its help names the file and the folder to put it into by hand.
pub fn fetch(
    source: &WeightSource<'_>,
    places: &Places,
    offline: bool,
    interrupt: &Interrupt,
    progress: &mut dyn FnMut(Transfer),
) -> Result<Found, FetchError> {
    if let Some(found) = locate(source, places) {
        return Ok(found);
    }
    let by_hand = places.by_hand(source);
    if offline {
        return Err(FetchError::Offline {
            name: source.name.into(),
            by_hand,
        });
    }
    let Some(url) = source.url else {
        return Err(FetchError::NoAddress {
            name: source.name.into(),
            by_hand,
        });
    };
    let Some(cache) = &places.cache else {
        return Err(FetchError::NoCache {
            name: source.name.into(),
            by_hand,
        });
    };
    let job = download::Job {
        source,
        url,
        folder: cache,
        by_hand,
    };
    job.run(interrupt, progress)
}

#[cfg(test)]
mod tests;
