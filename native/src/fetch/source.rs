//! Which weights are wanted.

use crate::hash::FileHash;

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

    /// Whether a file with this hash is the one that is wanted, as far as its name says.
    pub fn matches(&self, hash: FileHash) -> bool {
        self.sha256_prefix
            .is_none_or(|prefix| hash.to_string().starts_with(prefix))
    }
}
