//! What a network says of each place of a picture, at any size of pictures: compiled for the few sizes that came last.

use std::slice;
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;

use super::Model;
use super::frozen::Compiled;
use crate::backbone::UnsupportedInput;
use crate::device::DeviceError;
use crate::image::RgbImage;
use crate::model::whole_graph;
use crate::postprocess::{Scores, ScoresError};

/// Sizes of pictures for which a network stays compiled. Cameras have few aspects, each upright and across.
const MOST_SIZES: usize = 4;

/// Why a picture was not segmented.
#[derive(Debug, Error)]
pub enum SegmentError {
    /// The network cannot take pictures of this size.
    #[error(transparent)]
    Input(#[from] UnsupportedInput),
    /// The device failed, or the network's numbers ran over.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The network does not put out a score for each class at each place.
    #[error(transparent)]
    Scores(#[from] ScoresError),
}

/// A network, compiled for some sizes of pictures; the one that was used last comes last.
#[derive(Debug, Clone, Default)]
pub(super) struct Sizes(Arc<Mutex<Vec<Sized>>>);

#[derive(Debug)]
struct Sized {
    /// Rows and columns of the picture.
    size: [usize; 2],
    compiled: Arc<Compiled>,
    /// Rows and columns of the scores.
    places: [usize; 2],
}

impl Sizes {
    /// What is compiled for pictures of this size, or else what is made now, in the place of what was not used for
    /// longest.
    fn get<E>(
        &self,
        size: [usize; 2],
        make: impl FnOnce(Option<&Compiled>) -> Result<(Compiled, [usize; 2]), E>,
    ) -> Result<(Arc<Compiled>, [usize; 2]), E> {
        let mut sizes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = sizes.iter().position(|known| known.size == size);
        let found = match known {
            Some(known) => sizes.remove(known),
            None => {
                let sibling = sizes.last().map(|last| Arc::clone(&last.compiled));
                let (compiled, places) = make(sibling.as_deref())?;
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

impl Model {
    /// What a network that segments says of each class at each place of a picture: the network's logits, before any
    /// of them is resized to a photo. Pictures may have any size that the network can take; it is compiled for
    /// each, and stays so for the last few.
    ///
    /// # Shapes
    ///
    /// - picture: as [`crate::preprocess::Preset::crop_pixels`] makes it
    /// - returns: `[rows, columns, classes]`, as many rows and columns as the network puts out
    ///
    /// # Errors
    ///
    /// When the network cannot take such pictures or does not segment, when the device fails, or the network's
    /// numbers run over.
    pub async fn segment(&self, picture: &RgbImage) -> Result<Scores, SegmentError> {
        let size = [picture.height() as usize, picture.width() as usize];
        let make = |sibling: Option<&Compiled>| -> Result<_, SegmentError> {
            let graph = whole_graph(self.architecture(), &self.card, size)?;
            let places = match *graph.shape_of(graph.output()) {
                [_, rows, columns] => [rows, columns],
                // One place, of which the scores' number is then told.
                _ => [1, 1],
            };
            Ok((self.compile_like(&graph, graph.output(), sibling)?, places))
        };
        let (compiled, places) = self.frozen.sizes.get(size, make)?;
        let values = self.ask(&compiled, slice::from_ref(picture)).await?;
        Ok(Scores::new(places, self.card.classes.len(), values)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_that_was_not_used_for_longest_is_dropped() {
        let sizes = Sizes::default();
        let made = |size: [usize; 2]| {
            let mut is_new = false;
            let make = |_: Option<&Compiled>| -> Result<_, DeviceError> {
                is_new = true;
                Ok((Compiled::nothing(), size))
            };
            let (_, places) = sizes.get(size, make).unwrap();
            assert_eq!(places, size);
            is_new
        };
        let size = |side| [side, side];
        assert!((0..MOST_SIZES).all(|side| made(size(side))));
        // Used again, so that the second is the oldest.
        assert!(!made(size(0)));
        assert!(made(size(MOST_SIZES)));
        assert!(!made(size(0)));
        assert!(made(size(1)));
        assert_eq!(sizes.0.lock().unwrap().len(), MOST_SIZES);
        let failed = sizes.get(size(9), |_| {
            Err(ScoresError::TooManyClasses { classes: 300 })
        });
        assert!(failed.is_err());
        assert!(!made(size(0)));
    }
}
