//! Inner values of a compiled network, for whoever computes a frozen part once and keeps what it puts out.

use std::ops::Range;
use std::sync::Arc;

#[cfg(feature = "burn")]
use burn::tensor::Tensor;

use super::on_device::Model;
use super::ready::{Compiled, numbers};
use crate::device::DeviceError;
use crate::graph::{Graph, Op, Unreachable};
use crate::image::RgbImage;
#[cfg(feature = "burn")]
use crate::network::Batch;
use crate::program::Shape;

impl Model {
    /// A value of the network's graph for some crops, read back: what a stage puts out
    /// ([`Stage::output`](crate::graph::Stage::output)), or any other. It is the value that
    /// `Network::run` gives, from the compiled network.
    ///
    /// # Shapes
    ///
    /// - returns: `[N, …]`, row-major, each image in the value's own shape
    ///   ([`Graph::shape_of`]): maps `[C, H, W]`, tokens `[T, C]`, features `[F]`
    ///
    /// # Errors
    ///
    /// When the graph has no such value, the device fails, or the network's numbers run over.
    pub async fn read_value(
        &self,
        crops: &[RgbImage],
        value: usize,
    ) -> Result<Vec<f32>, DeviceError> {
        let graph = self.graph();
        if value > graph.nodes().len() {
            return Err(DeviceError::execution(Unreachable { value }));
        }
        if crops.is_empty() {
            return Ok(Vec::new());
        }
        if graph.value("features") == Some(value) {
            return self.read_features(crops).await;
        }
        let compiled = self.to_value(value)?;
        let values = self.ask(&compiled, crops).await?;
        Ok(as_in_graph(graph, value, values))
    }

    /// The same for a batch of normalised images on the device, `[N, C, H, W]`.
    ///
    /// # Errors
    ///
    /// As [`read_value`](Self::read_value).
    #[cfg(feature = "burn")]
    pub async fn read_value_of(
        &self,
        batch: Tensor<4>,
        value: usize,
    ) -> Result<Vec<f32>, DeviceError> {
        let graph = self.graph();
        if value > graph.nodes().len() {
            return Err(DeviceError::execution(Unreachable { value }));
        }
        if graph.value("features") == Some(value) {
            return self.read_features_of(batch).await;
        }
        let compiled = self.to_value(value)?;
        let values = self.ask_of(&compiled, batch).await?;
        Ok(as_in_graph(graph, value, values))
    }

    /// The same for normalised images from main memory.
    ///
    /// # Shapes
    ///
    /// - images: `[N, C, H, W]`, row-major, in the network's own size
    ///
    /// # Errors
    ///
    /// As [`read_value`](Self::read_value).
    pub async fn read_value_of_rows(
        &self,
        images: Vec<f32>,
        value: usize,
    ) -> Result<Vec<f32>, DeviceError> {
        let graph = self.graph();
        if value > graph.nodes().len() {
            return Err(DeviceError::execution(Unreachable { value }));
        }
        if graph.value("features") == Some(value) {
            return self.ask_rows(self.to_features()?, images).await;
        }
        let compiled = self.to_value(value)?;
        let values = self.ask_rows(&compiled, images).await?;
        Ok(as_in_graph(graph, value, values))
    }

    /// What a compiled network says of normalised images, channels first.
    async fn ask_rows(
        &self,
        compiled: &Compiled,
        images: Vec<f32>,
    ) -> Result<Vec<f32>, DeviceError> {
        let shape = Shape::of(self.graph().input());
        let count = images.len() / shape.numbers();
        match compiled {
            Compiled::Processor(processor) => {
                let write = |some: Range<usize>, into: &mut [f32]| {
                    let images = images.chunks_exact(shape.numbers()).skip(some.start);
                    let into = into.chunks_exact_mut(shape.numbers());
                    into.zip(images)
                        .for_each(|(into, image)| turn_back(image, shape, into));
                };
                numbers(processor.run(count, write).remove(0), count)
            }
            #[cfg(feature = "burn")]
            Compiled::Adapter(_) => {
                let batch = Batch::of_rows(images, self.graph().input(), &self.device);
                match batch {
                    Batch::Maps(maps) => self.ask_of(compiled, maps).await,
                    _ => unreachable!("images have three axes"),
                }
            }
        }
    }

    /// The network compiled to a value.
    fn to_value(&self, value: usize) -> Result<Arc<Compiled>, DeviceError> {
        let make = || self.compile_like(self.graph(), value, None);
        self.frozen.cut.to(value, make)
    }
}

/// What a program puts out, in the order of axes that the graph has.
fn as_in_graph(graph: &Graph, value: usize, mut values: Vec<f32>) -> Vec<f32> {
    let shape = graph.shape_of(value);
    if shape.len() == 3 && is_channels_first(graph, value) {
        turn(&mut values, Shape::of(shape));
    }
    values
}

/// Whether maps are channels first in the graph, as images are; programs keep all maps channels last.
fn is_channels_first(graph: &Graph, mut value: usize) -> bool {
    while let Some(node) = value.checked_sub(1).map(|node| &graph.nodes()[node]) {
        match node.op {
            Op::ChannelsLast(_) => return false,
            Op::ChannelsFirst(_) => return true,
            // No other step that puts out maps turns their axes.
            _ => value = node.inputs[0],
        }
    }
    true
}

/// Maps `[H, W, C]`, one after the other, to `[C, H, W]`.
fn turn(values: &mut [f32], shape: Shape) {
    let (positions, channels) = (shape.positions(), shape.channels);
    if positions == 1 || channels == 1 {
        return;
    }
    let mut last = vec![0.0; positions * channels];
    for image in values.chunks_exact_mut(last.len()) {
        last.copy_from_slice(image);
        for (channel, map) in image.chunks_exact_mut(positions).enumerate() {
            let column = last[channel..].iter().step_by(channels);
            map.iter_mut()
                .zip(column)
                .for_each(|(to, &from)| *to = from);
        }
    }
}

/// A map `[C, H, W]` to `[H, W, C]`.
fn turn_back(map: &[f32], shape: Shape, into: &mut [f32]) {
    for (channel, plane) in map.chunks_exact(shape.positions()).enumerate() {
        let column = into[channel..].iter_mut().step_by(shape.channels);
        column.zip(plane).for_each(|(to, &from)| *to = from);
    }
}

#[cfg(test)]
#[cfg(feature = "burn")]
mod tests {
    use super::*;
    use crate::backbone::{Architecture, architectures, find};
    use crate::model::{Contents, ModelCard};
    use crate::random::Random;
    use crate::task::Task;
    use crate::weights::Generated;

    /// Networks beyond these numbers are too much for a quick test.
    const MANY_MACS: u64 = 640_000_000;
    const MANY_PARAMETERS: u64 = 65_000_000;

    /// A network for pictures as small as it can be tried with, if it is small then.
    fn small(architecture: &'static Architecture) -> Option<Model> {
        let mut card = ModelCard::published(architecture, architecture.weights.first()?);
        let multiple = architecture.input_multiple;
        let side = architecture.min_input().max(48).next_multiple_of(multiple);
        let graph = architecture.whole_graph([3, side, side], &card.options(), 1000);
        let macs = graph.unwrap().macs();
        if architecture.params() > MANY_PARAMETERS || macs > MANY_MACS {
            return None;
        }
        card.preset = card.preset.with_size(side as u32).unwrap();
        let contents = Contents::ported(architecture, card, &Generated).unwrap();
        Some(Model::new(contents, &crate::device::cpu().device))
    }

    fn crops(model: &Model) -> Vec<RgbImage> {
        let side = model.card.preset.side();
        let mut random = Random::new(7);
        let mut crop = || {
            let pixels = (0..3 * side * side).map(|_| random.below(256) as u8);
            RgbImage::new(side, side, pixels.collect()).unwrap()
        };
        vec![crop(), crop()]
    }

    fn read(tensor: Tensor<1>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    /// Every stage of the smallest network of each family, and its features, against the network run step by step.
    #[test]
    fn a_stage_s_value_is_the_one_that_the_network_puts_out_step_by_step() {
        let mut families: Vec<(&str, Model)> = Vec::new();
        let classifiers = architectures().filter(|network| network.task == Task::Classify);
        for architecture in classifiers {
            let place = families
                .iter()
                .position(|(family, _)| *family == architecture.family);
            // The first that is small enough stands for its family.
            if place.is_none()
                && let Some(model) = small(architecture)
            {
                families.push((architecture.family, model));
            }
        }
        assert!(families.len() >= 20, "{} families", families.len());
        for (family, model) in &families {
            let (graph, crops) = (model.graph(), crops(model));
            let stages = &graph.stages()[..graph.backbone_stages()];
            let stages = stages
                .iter()
                .map(|stage| (stage.name.as_str(), stage.output));
            let features = ("features", graph.value("features").unwrap());
            let values: Vec<(&str, usize)> = stages.chain([features]).collect();
            let wanted: Vec<usize> = values.iter().map(|(_, value)| *value).collect();
            let images = (0, Batch::Maps(model.batch(&crops)));
            let made = model.network().run([images], &wanted).unwrap();
            for ((name, value), truth) in values.into_iter().zip(made) {
                let truth = read(truth.flatten());
                let found = pollster::block_on(model.read_value(&crops, value)).unwrap();
                let of_batch = model.read_value_of(model.batch(&crops), value);
                let of_batch = pollster::block_on(of_batch).unwrap();
                let of_rows =
                    model.read_value_of_rows(read(model.batch(&crops).flatten(0, 3)), value);
                let of_rows = pollster::block_on(of_rows).unwrap();
                assert_eq!(found.len(), truth.len(), "{family} {name}");
                let largest = truth.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
                let apart = |found: &[f32]| {
                    let apart = truth.iter().zip(found).map(|(a, b)| (a - b).abs());
                    apart.fold(0.0, f32::max)
                };
                assert_eq!(of_batch.len(), found.len(), "{family} {name}");
                let apart = apart(&found).max(apart(&of_batch)).max(apart(&of_rows));
                assert!(
                    apart <= 1e-4 * largest,
                    "{family} {name}: {apart} of {largest}"
                );
            }
        }
    }

    #[test]
    fn maps_that_the_graph_keeps_channels_last_stay_so() {
        let swin = small(find("swin_t").unwrap()).unwrap();
        let graph = swin.graph();
        let last = graph
            .nodes()
            .iter()
            .rposition(|node| matches!(node.op, Op::ChannelsLast(_)));
        let value = last.unwrap() + 1;
        let crops = crops(&swin);
        let images = (0, Batch::Maps(swin.batch(&crops)));
        let made = swin.network().run([images], &[value]).unwrap().remove(0);
        let truth = read(made.flatten());
        let found = pollster::block_on(swin.read_value(&crops, value)).unwrap();
        let apart = truth
            .iter()
            .zip(&found)
            .all(|(a, b)| (a - b).abs() <= 1e-4 * (1.0 + a.abs()));
        assert!(apart && found.len() == truth.len());
    }

    #[test]
    fn a_value_that_the_graph_does_not_have_is_an_error_and_the_image_is_a_value() {
        let model = small(find("squeezenet1_1").unwrap()).unwrap();
        let crops = crops(&model);
        let beyond = model.graph().nodes().len() + 1;
        assert!(pollster::block_on(model.read_value(&crops, beyond)).is_err());
        assert!(
            pollster::block_on(model.read_value(&[], 1))
                .unwrap()
                .is_empty()
        );
        let image = pollster::block_on(model.read_value(&crops, 0)).unwrap();
        let truth = read(model.batch(&crops).flatten(0, 3));
        assert!(image.len() == truth.len());
        assert!(image.iter().zip(&truth).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}
