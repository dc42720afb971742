//! What a network says of each place of a picture, at any size of pictures: compiled for the few sizes that came last.

use std::slice;

use thiserror::Error;

use super::on_device::Model;
use super::ready::Compiled;
use crate::backbone::UnsupportedInput;
use crate::device::DeviceError;
use crate::image::RgbImage;
use crate::model::whole_graph;
use crate::postprocess::{Scores, ScoresError};
use crate::task::{Task, WrongTask};

/// Why a picture was not segmented.
#[derive(Debug, Error)]
pub enum SegmentError {
    /// The network is for something else.
    #[error(transparent)]
    Task(#[from] WrongTask),
    /// The network cannot take pictures of this size.
    #[error(transparent)]
    Input(#[from] UnsupportedInput),
    /// The network's maps of a picture of this size are larger than a graphics adapter binds at once.
    #[error("the network's maps of {width}×{height} pixels are too large for the graphics adapter")]
    TooLarge {
        /// The picture's width.
        width: usize,
        /// Its height.
        height: usize,
    },
    /// The device failed, or the network's numbers ran over.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The network does not put out a score for each class at each place.
    #[error(transparent)]
    Scores(#[from] ScoresError),
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
        let card = &self.card;
        card.task
            .must_be(Task::Segment, "finding masks", &card.architecture)?;
        let size = [picture.height() as usize, picture.width() as usize];
        let make = |sibling: Option<&Compiled>| -> Result<_, SegmentError> {
            let graph = whole_graph(self.architecture(), &self.card, size)?;
            let places = match *graph.shape_of(graph.output()) {
                [_, rows, columns] => [rows, columns],
                // One place, of which the scores' number is then told.
                _ => [1, 1],
            };
            let compiled = self.compile_like(&graph, graph.output(), sibling)?;
            match compiled.fits() {
                true => Ok((compiled, places)),
                false => Err(SegmentError::TooLarge {
                    width: size[1],
                    height: size[0],
                }),
            }
        };
        let (compiled, places) = self.frozen.sizes.get(size, make)?;
        let values = self.ask(&compiled, slice::from_ref(picture)).await?;
        Ok(Scores::new(places, self.card.classes.len(), values)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::find;
    use crate::model::sizes::{MOST_SIZES, Sizes};
    use crate::model::{Contents, ModelCard};
    use crate::random::Random;
    use crate::weights::Generated;

    /// Photos' worth of noise.
    fn picture(width: u32, height: u32) -> RgbImage {
        let mut random = Random::new(u64::from(width));
        let pixels = (0..3 * width * height).map(|_| random.below(256) as u8);
        RgbImage::new(width, height, pixels.collect()).unwrap()
    }

    #[test]
    fn an_answer_does_not_depend_on_the_sizes_before_it_and_weights_are_packed_once() {
        let network = find("lraspp_mobilenet_v3_large").unwrap();
        let card = ModelCard::published(network, &network.weights[0]);
        let contents = Contents::ported(network, card, &Generated).unwrap();
        let fresh = || Model::new(contents.clone(), &crate::device::cpu().device);
        let model = fresh();
        for (width, height) in [(64, 64), (96, 48), (64, 64), (33, 97), (96, 48)] {
            let picture = picture(width, height);
            let scores = pollster::block_on(model.segment(&picture)).unwrap();
            assert_eq!(scores.places(), [height as usize, width as usize]);
            assert_eq!(scores.classes(), 21);
            let alone = pollster::block_on(fresh().segment(&picture)).unwrap();
            assert!(scores == alone, "{width}×{height}");
        }
        let sizes = model.frozen.sizes.0.lock().unwrap();
        assert_eq!(sizes.len(), 3);
        for sized in sizes.iter() {
            let processor = match &*sized.compiled {
                Compiled::Processor(processor) => processor,
                #[cfg(feature = "burn")]
                Compiled::Adapter(_) => panic!("a processor's program"),
            };
            let [all, shared] = processor.shared();
            // Winograd's method has tiles of two sides, for maps of different sizes.
            assert!(all > 60 && 10 * shared > 9 * all, "{shared} of {all}");
        }
    }

    #[test]
    fn a_network_that_classifies_says_that_it_does_not_segment() {
        let network = find("squeezenet1_1").unwrap();
        let card = ModelCard::published(network, &network.weights[0]);
        let contents = Contents::ported(network, card, &Generated).unwrap();
        let model = Model::new(contents, &crate::device::cpu().device);
        let told = pollster::block_on(model.segment(&picture(64, 64))).unwrap_err();
        assert!(matches!(told, SegmentError::Task(_)), "{told}");
        let tiny = find("deeplabv3_mobilenet_v3_large").unwrap();
        let card = ModelCard::published(tiny, &tiny.weights[0]);
        let contents = Contents::ported(tiny, card, &Generated).unwrap();
        let model = Model::new(contents, &crate::device::cpu().device);
        // Its smallest picture is one pixel: whatever there is can be asked about.
        assert!(pollster::block_on(model.segment(&picture(1, 1))).is_ok());
    }

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
