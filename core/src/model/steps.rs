//! The model on tensors: run step by step, as it can be trained, and asked about batches on the device.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;

use super::on_device::Model;
use super::ready::{Compiled, numbers, read};
use crate::device::DeviceError;
use crate::image::RgbImage;
use crate::kernels::{self, Frame};
use crate::network::{Batch, Network};
use crate::postprocess::Prediction;
use crate::preprocess::augment::Staged;
use crate::preprocess::{AugmentRecipe, Drawn, View};
use crate::random::Random;

impl Model {
    /// The network, as it can be trained and run from any values to any others. It is put on the device when it is
    /// asked for first.
    pub fn network(&self) -> &Network {
        self.steps.get_or_init(|| {
            let network = Network::new(Arc::clone(self.graph()), &self.state_dict(), &self.device);
            match network {
                Ok(network) => network,
                Err(error) => unreachable!("a model holds all its network's tensors: {error}"),
            }
        })
    }

    /// Puts crops on the device as one normalised batch.
    ///
    /// # Shapes
    ///
    /// - crops: as [`crate::preprocess::Preset::crop_pixels`] makes them
    /// - returns: `[N, C, crop, crop]`, as many channels as the network takes
    pub fn batch(&self, crops: &[RgbImage]) -> Tensor<4> {
        self.coloured(kernels::normalise(crops, &self.card.preset, &self.device))
    }

    /// Puts views of whole photos on the device as one batch. On graphics adapters they are cut out, resized
    /// and mirrored there, within one level in 255 of what [`crate::preprocess::Preset::apply_view`] gives.
    ///
    /// # Shapes
    ///
    /// As [`batch`](Self::batch).
    pub fn batch_of_views(&self, photos: &[(&RgbImage, View)]) -> Tensor<4> {
        self.coloured(kernels::views(photos, &self.card.preset, &self.device))
    }

    /// Whether a device that makes views ([`kernels::makes_views`]) makes those of a recipe right: some are made both
    /// ways and compared.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub async fn makes_views_right(&self, recipe: &AugmentRecipe) -> Result<bool, DeviceError> {
        let preset = &self.card.preset;
        // A picture with much in it, and so many views that each of a recipe's operations is likely among them.
        const VIEWS: u64 = 16;
        let side = 64;
        let mut random = Random::new(0);
        let bytes = (0..3 * side * side).map(|at| match at / 96 % 3 {
            0 => at as u8,
            _ => random.below(256) as u8,
        });
        let Ok(photo) = RgbImage::new(side, side, bytes.collect()) else {
            return Ok(false);
        };
        let drawn: Vec<Drawn> = (0..VIEWS)
            .map(|number| recipe.draw(preset, [side; 2], 0, 0, number))
            .collect();
        let most = kernels::share_of_upload(drawn.len());
        let staged: Vec<Staged> = drawn
            .iter()
            .map(|drawn| preset.stage(&photo, drawn, most))
            .collect();
        let here = self.batch_of_staged(&staged).into_data_async().await;
        let found = here.map_err(DeviceError::execution)?;
        let channels = self.card.channels.count();
        let right = drawn.iter().flat_map(|drawn| {
            let mut input = preset.normalise(&preset.drawn_pixels(&photo, drawn));
            input.truncate(input.len() / 3 * channels);
            input
        });
        Ok(found.iter::<f32>().eq(right))
    }

    /// Makes staged views on a device that makes views ([`kernels::makes_views`]), as one batch.
    ///
    /// # Shapes
    ///
    /// As [`batch`](Self::batch).
    pub fn batch_of_staged(&self, staged: &[Staged]) -> Tensor<4> {
        self.coloured(kernels::made_views(staged, &self.card.preset, &self.device))
    }

    /// What the network sees of a picture that lies on the adapter; nothing is read back. `None` if the picture
    /// is too large for that.
    ///
    /// # Shapes
    ///
    /// As [`batch`](Self::batch), of one image.
    pub fn batch_of_frame(&self, frame: &Frame) -> Option<Tensor<4>> {
        let batch = kernels::of_frame(frame, &View::Plain, &self.card.preset, &self.device);
        batch.map(|batch| self.coloured(batch))
    }

    /// Grey pictures have the same in all three channels.
    fn coloured(&self, batch: Tensor<4>) -> Tensor<4> {
        batch.narrow(1, 0, self.card.channels.count())
    }

    /// Pooled features of a batch on the device, read back.
    ///
    /// # Errors
    ///
    /// When the device fails, or the network's numbers run over.
    pub async fn read_features_of(&self, batch: Tensor<4>) -> Result<Vec<f32>, DeviceError> {
        self.ask_of(self.to_features()?, batch).await
    }

    /// What the network puts out first, step by step, as the network with this file gives it in PyTorch: a classifier's
    /// logits, the head's lift still on them.
    ///
    /// # Shapes
    ///
    /// - images: `[N, C, H, W]`
    pub fn forward(&self, images: Tensor<4>) -> Batch {
        self.network().forward(images)
    }

    /// The best `k` classes for each image of a batch on the device.
    ///
    /// # Errors
    ///
    /// When the device fails, or the network's numbers run over.
    pub async fn predict_of(
        &self,
        batch: Tensor<4>,
        k: usize,
    ) -> Result<Vec<Vec<Prediction>>, DeviceError> {
        let logits = self.ask_of(self.to_logits()?, batch).await?;
        Ok(self.best(self.lowered(logits)?, k))
    }

    /// The same of a batch on the device, `[N, C, H, W]`.
    pub(super) async fn ask_of(
        &self,
        compiled: &Compiled,
        batch: Tensor<4>,
    ) -> Result<Vec<f32>, DeviceError> {
        let [count, ..] = batch.dims();
        let said = match compiled {
            Compiled::Processor(processor) => {
                let data = batch.permute([0, 2, 3, 1]).into_data_async().await;
                let values: Vec<f32> = data.map_err(DeviceError::execution)?.iter().collect();
                let each = values.len() / count;
                let write = |some: Range<usize>, images: &mut [f32]| {
                    images.copy_from_slice(&values[some.start * each..some.end * each]);
                };
                processor.run(count, write).remove(0)
            }
            Compiled::Adapter(adapter) => {
                let some = batch.split(adapter.images_at_once(), 0);
                read(adapter, some.into_iter()).await?
            }
        };
        numbers(said, count)
    }
}
