//! A network compiled for pictures of several sizes: for the few that came last.

use std::sync::{Arc, Mutex, PoisonError};

use super::ready::Compiled;

/// Sizes of pictures for which a network stays compiled. Cameras have few aspects, each upright and across; a size
/// costs its list of steps and those weights that are packed for it alone.
pub(super) const MOST_SIZES: usize = 8;

/// A network, compiled for some sizes of pictures; the one that was used last comes last.
#[derive(Debug, Clone, Default)]
pub(super) struct Sizes(pub(super) Arc<Mutex<Vec<Sized>>>);

#[derive(Debug)]
pub(super) struct Sized {
    /// Rows and columns of the picture.
    size: [usize; 2],
    pub(super) compiled: Arc<Compiled>,
    /// Rows and columns of the scores.
    places: [usize; 2],
}

impl Sizes {
    /// What is compiled for pictures of this size, or else what is made now, in the place of what was not used for
    /// longest.
    pub(super) fn get<E>(
        &self,
        size: [usize; 2],
        make: impl FnOnce(Option<&Compiled>) -> Result<(Compiled, [usize; 2]), E>,
    ) -> Result<(Arc<Compiled>, [usize; 2]), E> {
        let mut sizes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = sizes.iter().position(|known| known.size == size);
        let found = match known {
            Some(known) => {
                if let Some(last) = sizes.last().filter(|last| last.size != size) {
                    last.compiled.rest();
                }
                sizes.remove(known)
            }
            None => {
                let sibling = sizes.last().map(|last| Arc::clone(&last.compiled));
                let (compiled, places) = make(sibling.as_deref())?;
                // Maps of one size are of no use to another.
                sizes.iter().for_each(|other| other.compiled.rest());
                if sizes.len() >= MOST_SIZES {
                    sizes.remove(0);
                }
                Sized {
                    size,
                    compiled: Arc::new(compiled),
                    places,
                }
            }
        };
        let (compiled, places) = (Arc::clone(&found.compiled), found.places);
        sizes.push(found);
        Ok((compiled, places))
    }
}
