//! Pretrained weights by name: found on this machine, or downloaded once.
//!
//! The search goes from what costs nothing to what costs a download: the project's own
//! `assets/weights`, the folder in which PyTorch keeps what it has downloaded, our cache, and last
//! the official address. What was downloaded is checked against the hash that torchvision puts into
//! its file names before it is used.

mod download;
mod error;
mod places;
mod source;

pub use download::Transfer;
pub use error::FetchError;
pub use places::{Found, Places, cache_folder, locate};
pub use source::WeightSource;

use crate::interrupt::Interrupt;

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
