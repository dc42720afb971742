//! What a step is given when it runs: values, the layers' numbers on the device, and whether the network is in training.

use burn::tensor::{Device, Tensor, TensorData};

use super::chance::Chance;
use crate::binding::LARGEST_BINDING;
use crate::device::is_processor;
use crate::graph::{LayerId, LayerKind, LayerSpec};

/// A value of a network for a batch of images: what flows between steps.
#[derive(Debug, Clone)]
pub enum Batch {
    /// Feature maps `[N, C, H, W]`; an image batch is one too. Between the stages of a network maps
    /// are always channels first.
    Maps(Tensor<4>),
    /// Token sequences `[N, T, C]`, the class token first.
    Tokens(Tensor<3>),
    /// Feature vectors `[N, F]`.
    Features(Tensor<2>),
}

impl Batch {
    /// The dimensions of the tensor inside.
    pub fn dims(&self) -> Vec<usize> {
        match self {
            Self::Maps(map) => map.dims().to_vec(),
            Self::Tokens(tokens) => tokens.dims().to_vec(),
            Self::Features(features) => features.dims().to_vec(),
        }
    }

    /// A value of this shape (without the batch) for the images whose numbers these are, row-major, on a device.
    ///
    /// # Panics
    ///
    /// When the shape has no one, two or three axes, or there are not as many numbers.
    pub fn of_rows(values: Vec<f32>, shape: &[usize], device: &Device) -> Self {
        let each: usize = shape.iter().product();
        let count = values.len() / each.max(1);
        match *shape {
            [a, b, c] => Self::Maps(Tensor::from_data(
                TensorData::new(values, [count, a, b, c]),
                device,
            )),
            [a, b] => Self::Tokens(Tensor::from_data(
                TensorData::new(values, [count, a, b]),
                device,
            )),
            [a] => Self::Features(Tensor::from_data(
                TensorData::new(values, [count, a]),
                device,
            )),
            _ => panic!("values have one to three axes, and these {shape:?}"),
        }
    }

    /// All values in row-major order, as a flat tensor.
    pub fn flatten(self) -> Tensor<1> {
        match self {
            Self::Maps(map) => map.flatten(0, 3),
            Self::Tokens(tokens) => tokens.flatten(0, 2),
            Self::Features(features) => features.flatten(0, 1),
        }
    }

    /// The feature maps.
    ///
    /// # Panics
    ///
    /// When it holds something else: the graph knows the shapes of its values.
    pub fn maps(self) -> Tensor<4> {
        match self {
            Self::Maps(map) => map,
            other => panic!("maps are asked for, and this is {:?}", other.dims()),
        }
    }

    /// The tokens, likewise.
    pub fn tokens(self) -> Tensor<3> {
        match self {
            Self::Tokens(tokens) => tokens,
            other => panic!("tokens are asked for, and this is {:?}", other.dims()),
        }
    }

    /// The feature vectors, likewise.
    pub fn features(self) -> Tensor<2> {
        match self {
            Self::Features(features) => features,
            other => panic!("vectors are asked for, and this is {:?}", other.dims()),
        }
    }
}

/// Applies the same steps to a tensor of any rank.
macro_rules! each_rank {
    ($batch:expr, $x:ident => $body:expr) => {
        match $batch {
            Batch::Maps($x) => Batch::Maps($body),
            Batch::Tokens($x) => Batch::Tokens($body),
            Batch::Features($x) => Batch::Features($body),
        }
    };
}
pub(super) use each_rank;

/// Whether a network answers or learns.
#[derive(Debug)]
pub enum Mode<'a> {
    /// Batch norms use their running statistics, and nothing is left out.
    Infer,
    /// Batch norms of layers that train use the statistics of the batch; what dropout and stochastic depth leave out is
    /// drawn here.
    Train(&'a mut Chance),
}

/// A tensor of the state_dict on a device. It is kept flat, in as many parts as bindings make necessary, so that whoever
/// changes numbers need not know shapes.
#[derive(Debug, Clone)]
pub struct Parameter {
    name: String,
    /// As PyTorch has it.
    shape: Vec<usize>,
    /// The order of PyTorch's axes in which each part is kept, the way products read it: `[in, out]` of a linear layer,
    /// `[rows, columns, C / groups, filters]` of a convolution on an adapter. Empty: as PyTorch has it.
    order: &'static [usize],
    /// Whether gradients change it; running statistics follow the batches.
    learnt: bool,
    /// Whether it takes part in training, or is frozen; a running statistic takes part if it follows the batches.
    pub(crate) trains: bool,
    pub(crate) parts: Vec<Tensor<1>>,
}

impl Parameter {
    /// The parameters and running statistics of a layer, from their numbers in PyTorch's order.
    pub(crate) fn of_layer<E>(
        spec: &LayerSpec,
        device: &Device,
        mut numbers: impl FnMut(&str, &[usize]) -> Result<Vec<f32>, E>,
    ) -> Result<Vec<Self>, E> {
        let tensors = spec.tensors().into_iter().enumerate();
        let of_weight: &[usize] = match spec.kind {
            LayerKind::Linear { .. } => &[1, 0],
            LayerKind::Conv { .. } if !is_processor(device) => &[2, 3, 1, 0],
            _ => &[],
        };
        let filled = tensors.map(|(index, (name, shape))| {
            let values = numbers(&name, &shape)?;
            let mut parameter = Self {
                name,
                shape,
                order: if index == 0 { of_weight } else { &[] },
                learnt: index < 2,
                trains: true,
                parts: Vec::new(),
            };
            let parts = match index {
                0 => parts(spec),
                _ => 1,
            };
            parameter.parts = parameter.on_device(&values, parts, device);
            Ok(parameter)
        });
        filled.collect()
    }

    /// Its name in the state_dict.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The shape that PyTorch gives it.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Whether gradients change it: it is no running statistic, and not frozen.
    pub fn is_trained(&self) -> bool {
        self.learnt && self.trains
    }

    /// Whether it is a running statistic.
    pub fn is_statistic(&self) -> bool {
        !self.learnt
    }

    /// Its numbers on the device: flat, in parts, each in the order in which it is read.
    pub fn parts(&self) -> &[Tensor<1>] {
        &self.parts
    }

    /// Numbers in PyTorch's order on a device, flat, in so many parts, as the parameter itself is kept.
    pub(crate) fn on_device(
        &self,
        values: &[f32],
        parts: usize,
        device: &Device,
    ) -> Vec<Tensor<1>> {
        let each = values.len() / parts;
        let chunks = values.chunks_exact(each.max(1));
        let shape = self.part_shape(parts);
        let put = |chunk: &[f32]| {
            let values = match self.order {
                [] => chunk.to_vec(),
                order => permuted(chunk, &shape, order),
            };
            Tensor::from_data(TensorData::new(values, [chunk.len()]), device)
        };
        chunks.map(put).collect()
    }

    /// Numbers of the device in PyTorch's order, from those of its parts.
    pub(crate) fn in_order(&self, parts: Vec<Vec<f32>>) -> Vec<f32> {
        let shape = self.part_shape(parts.len().max(1));
        let turn = |part: Vec<f32>| match self.order {
            [] => part,
            order => {
                let kept: Vec<usize> = order.iter().map(|&axis| shape[axis]).collect();
                permuted(&part, &kept, &inverse(order))
            }
        };
        let mut parts = parts.into_iter().map(turn);
        let first = parts.next().unwrap_or_default();
        parts.fold(first, |mut all, part| {
            all.extend(part);
            all
        })
    }

    /// The shape of each of so many parts, as PyTorch has it: a stretch of its first axis.
    fn part_shape(&self, parts: usize) -> Vec<usize> {
        let mut shape = self.shape.clone();
        if let Some(first) = shape.first_mut() {
            *first /= parts;
        }
        shape
    }

    /// Each part in its shape: a stretch of PyTorch's first axis, or `[in, out]` of a linear layer.
    fn shaped<const D: usize>(&self) -> Vec<Tensor<D>> {
        let shape: [usize; D] = match self.part_shape(self.parts.len())[..].try_into() {
            Ok(shape) => shape,
            Err(_) => unreachable!("'{}' has {} axes", self.name, self.shape.len()),
        };
        let parts = self.parts.iter().cloned();
        match self.order {
            [] => parts.map(|part| part.reshape(shape)).collect(),
            // Products take it as it is kept.
            [1, 0] => {
                let mut kept = shape;
                kept.reverse();
                parts.map(|part| part.reshape(kept)).collect()
            }
            order => {
                let mut kept = shape;
                let mut back = [0; D];
                for (place, &axis) in order.iter().enumerate() {
                    kept[place] = shape[axis];
                    back[axis] = place;
                }
                parts.map(|part| part.reshape(kept).permute(back)).collect()
            }
        }
    }
}

/// Numbers of a shape, row-major, with the axes in another order.
fn permuted(values: &[f32], shape: &[usize], order: &[usize]) -> Vec<f32> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    let made: Vec<[usize; 2]> = order
        .iter()
        .map(|&axis| [shape[axis], strides[axis]])
        .collect();
    let mut at = vec![0; made.len()];
    let mut place = 0;
    let mut turned = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        turned.push(values[place]);
        for (at, [count, stride]) in at.iter_mut().zip(&made).rev() {
            *at += 1;
            place += stride;
            if *at < *count {
                break;
            }
            place -= *at * stride;
            *at = 0;
        }
    }
    turned
}

/// The order that undoes one.
fn inverse(order: &[usize]) -> Vec<usize> {
    let mut back = vec![0; order.len()];
    for (place, &axis) in order.iter().enumerate() {
        back[axis] = place;
    }
    back
}

/// In how many parts along its first axis the weight of a layer is kept, so that each fits into a binding of WebGPU's
/// default limits. One for all but AlexNet's and VGG's first linear layer and RegNet-Y-128GF's last convolutions. A
/// convolution in groups is not cut: each group has inputs of its own, and the largest of the zoo takes half a binding.
pub(crate) fn parts(spec: &LayerSpec) -> usize {
    let (output, reach) = match &spec.kind {
        LayerKind::Linear { input, output, .. } => (*output, *input),
        LayerKind::Conv { input, conv } if conv.groups == 1 => {
            (conv.filters, input * conv.kernel[0] * conv.kernel[1])
        }
        _ => return 1,
    };
    let bytes = output * reach * size_of::<f32>();
    let mut parts = bytes.div_ceil(LARGEST_BINDING).max(1);
    while !output.is_multiple_of(parts) {
        parts += 1;
    }
    parts
}

/// Mean and variance that the running statistics of a batch norm have come to.
pub(crate) type Statistics = (LayerId, [Tensor<1>; 2]);

/// A run through a network: what surrounds a step.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    specs: &'a [LayerSpec],
    layers: &'a [Vec<Parameter>],
    mode: Mode<'a>,
    /// The place among the network's random steps of the one that comes next.
    pub place: usize,
    /// New running statistics, for when the run is over.
    pub statistics: Vec<Statistics>,
}

impl<'a> Run<'a> {
    /// A run through these layers with their numbers, which has done nothing yet.
    pub fn new(specs: &'a [LayerSpec], layers: &'a [Vec<Parameter>], mode: Mode<'a>) -> Self {
        Self {
            specs,
            layers,
            mode,
            place: 0,
            statistics: Vec::new(),
        }
    }

    /// Whether the network is in training.
    pub fn is_training(&self) -> bool {
        matches!(self.mode, Mode::Train(_))
    }

    /// The numbers in `[0, 1)` that a random step draws now, `each` for every image; none, where nothing is drawn.
    pub fn draws(&mut self, images: usize, each: usize) -> Option<Vec<f32>> {
        match &self.mode {
            Mode::Infer => None,
            Mode::Train(chance) => Some(chance.draws(self.place, images, each)),
        }
    }

    /// What a layer is.
    pub fn kind(&self, layer: LayerId) -> &'a LayerKind {
        &self.specs[layer.0].kind
    }

    /// Whether a layer's running statistics follow the batches: whether it takes the statistics of the batch.
    pub fn follows_batches(&self, layer: LayerId) -> bool {
        let mut statistics = self.layers[layer.0]
            .iter()
            .filter(|tensor| tensor.is_statistic());
        statistics.all(|statistic| statistic.trains)
    }

    /// The parts of a layer's weight.
    pub fn weights<const D: usize>(&self, layer: LayerId) -> Vec<Tensor<D>> {
        self.layers[layer.0][0].shaped()
    }

    /// A layer's tensor by its place: weight, bias, running mean, running variance. A bare parameter is its own weight.
    pub fn tensor<const D: usize>(&self, layer: LayerId, index: usize) -> Tensor<D> {
        let parameter = &self.layers[layer.0][index];
        match parameter.shaped().pop() {
            Some(tensor) if parameter.parts.len() == 1 => tensor,
            _ => unreachable!("'{}' is in parts", parameter.name),
        }
    }

    /// A layer's bias, if it has one.
    pub fn bias(&self, layer: LayerId) -> Option<Tensor<1>> {
        let has_bias = self.layers[layer.0].len() > 1;
        has_bias.then(|| self.tensor(layer, 1))
    }

    /// How many axes PyTorch gives to a layer's weight.
    pub fn axes(&self, layer: LayerId) -> usize {
        self.layers[layer.0][0].shape.len()
    }
}

/// Tensors put together along an axis.
pub(super) fn joined<const D: usize>(mut made: Vec<Tensor<D>>, axis: usize) -> Tensor<D> {
    match made.len() {
        1 => made.remove(0),
        _ => Tensor::cat(made, axis),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::architectures;
    use crate::graph::Options;

    #[test]
    fn every_parameter_fits_into_a_binding_of_webgpu() {
        let mut in_parts = Vec::new();
        for architecture in architectures() {
            let side = architecture.input_size;
            let graph = architecture.graph([3, side, side], &Options::default());
            for layer in graph.unwrap().layers() {
                let parts = parts(layer);
                for (name, shape) in layer.parameters() {
                    let bytes = shape.iter().product::<usize>() * size_of::<f32>();
                    let network = architecture.name;
                    assert!(shape[0].is_multiple_of(parts), "{network}: {name}");
                    assert!(
                        bytes / parts <= LARGEST_BINDING,
                        "{network}: {name} of {bytes}"
                    );
                    if parts > 1 && name.ends_with("weight") {
                        in_parts.push(format!("{network} {name}"));
                    }
                }
            }
        }
        println!("in parts: {}", in_parts.join(", "));
        for network in ["vgg16 ", "regnet_y_128gf "] {
            assert!(in_parts.iter().any(|name| name.starts_with(network)));
        }
    }

    #[test]
    fn a_tensor_in_parts_comes_back_as_it_was() {
        let device = Device::flex();
        let spec = LayerSpec {
            name: "fc".to_owned(),
            joint: ".",
            kind: LayerKind::Linear {
                input: 3,
                output: 4,
                bias: true,
            },
        };
        let values: Vec<f32> = (0..12).map(|number| number as f32).collect();
        let given = |name: &str, _: &[usize]| match name {
            "fc.weight" => Ok::<_, ()>(values.clone()),
            _ => Ok(vec![0.0; 4]),
        };
        let mut weight = Parameter::of_layer(&spec, &device, given)
            .unwrap()
            .remove(0);
        for parts in [1, 2, 4] {
            weight.parts = weight.on_device(&values, parts, &device);
            let read = |part: &Tensor<1>| part.clone().into_data().iter::<f32>().collect();
            let read: Vec<Vec<f32>> = weight.parts().iter().map(read).collect();
            assert_eq!(read.len(), parts);
            // Each part is [in, out]: its first input's weights come first.
            let outputs = 4 / parts;
            let first: Vec<f32> = (0..outputs).map(|output| values[3 * output]).collect();
            assert_eq!(read[0][..outputs], first);
            assert_eq!(weight.in_order(read), values);
        }
    }
}
