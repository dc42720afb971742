//! What an adapter trains, side by side: numbers, gradients and what an optimiser keeps, each in memories of their own in which
//! one parameter lies behind the other. A launch then moves all of them, where each would take one else.

use std::collections::BTreeMap;
use std::ops::Range;

use burn::tensor::{Device, Tensor, TensorData};
use rekindle_shaders::Formula;

use super::optimizer::Written;
use crate::binding::LARGEST_BINDING;
use crate::kernels::{compute_by_block, part_of, put};

/// Numbers of a block.
const BLOCK: usize = Formula::BLOCK as usize;

/// What is moved of a parameter.
#[derive(Debug, Clone)]
pub(super) struct Moved {
    /// Its numbers,
    pub value: Tensor<1>,
    /// their gradient,
    pub gradient: Tensor<1>,
    /// and what the optimiser keeps of them.
    pub slots: Vec<Tensor<1>>,
}

/// Parameters that lie side by side.
#[derive(Debug)]
pub(super) struct Flat {
    /// What they are, by their names and in their order.
    names: Vec<String>,
    /// How many slots each has.
    slots: usize,
    groups: Vec<Group>,
    /// Where each is seen.
    places: BTreeMap<String, Moved>,
}

/// Parameters that move by the same formula, as many as fit into a binding.
#[derive(Debug)]
struct Group {
    /// Of them all.
    parameters: Range<usize>,
    whole: Moved,
    /// Of each block, whose it is among them.
    owners: Tensor<1>,
}

impl Flat {
    /// Puts parameters side by side that were somewhere else, those with equal formulas beside each other; none where one of
    /// them is too large for a binding.
    pub fn lay(all: &[(String, Moved, Written)], device: &Device) -> Option<Self> {
        let mut order: Vec<usize> = Vec::with_capacity(all.len());
        for index in 0..all.len() {
            let alike = |&other: &usize| all[other].2.is_one_kernel_with(&all[index].2);
            let behind = order.iter().rposition(alike);
            order.insert(behind.map_or(order.len(), |place| place + 1), index);
        }
        let mut flat = Self {
            names: order.iter().map(|&index| all[index].0.clone()).collect(),
            slots: all.first()?.1.slots.len(),
            groups: Vec::new(),
            places: BTreeMap::new(),
        };
        let mut first = 0;
        while first < order.len() {
            let mut blocks = Vec::new();
            let mut behind = first;
            while let Some(&index) = order.get(behind) {
                let (_, moved, written) = &all[index];
                let own = moved.value.dims()[0].div_ceil(BLOCK);
                let is_one = written.is_one_kernel_with(&all[order[first]].2);
                let bytes = (blocks.len() + own) * BLOCK * size_of::<f32>();
                if !is_one || bytes > LARGEST_BINDING {
                    break;
                }
                blocks.resize(blocks.len() + own, (behind - first) as f32);
                behind += 1;
            }
            if behind == first {
                return None;
            }
            let parameters = order[first..behind].iter().map(|&index| &all[index]);
            let group = Group::of(first..behind, blocks, flat.slots, device);
            flat.places.extend(group.fill(parameters));
            flat.groups.push(group);
            first = behind;
        }
        Some(flat)
    }

    /// Whether it holds these, and their formulas are as they were.
    pub fn holds(&self, all: &[(String, Moved, Written)]) -> bool {
        let slots = all.first().map_or(0, |(_, moved, _)| moved.slots.len());
        if all.len() != self.names.len() || slots != self.slots {
            return false;
        }
        let known = by_name(all);
        self.groups.iter().all(|group| {
            let names = &self.names[group.parameters.clone()];
            let first = known.get(&names[0][..]);
            let is_alike = |name: &String| match (known.get(&name[..]), first) {
                (Some(written), Some(first)) => written.is_one_kernel_with(first),
                _ => false,
            };
            names.iter().all(is_alike)
        })
    }

    /// Where a parameter is seen, if it lies here.
    pub fn place(&self, name: &str) -> Option<&Moved> {
        self.places.get(name)
    }

    /// All gradients, and zeros between them.
    pub fn gradients(&self) -> impl Iterator<Item = &Tensor<1>> {
        self.groups.iter().map(|group| &group.whole.gradient)
    }

    /// Moves all parameters by their formulas, whose gradients are multiplied with `scale` if there is one.
    pub fn step(
        &self,
        all: &[(String, Moved, Written)],
        scale: Option<&Tensor<1>>,
        device: &Device,
    ) {
        let known = by_name(all);
        for group in &self.groups {
            let names = &self.names[group.parameters.clone()];
            let written = names.iter().filter_map(|name| known.get(&name[..]));
            let numbers: Vec<f32> = written
                .flat_map(|written| written.numbers())
                .copied()
                .collect();
            let Some(first) = known.get(&names[0][..]) else {
                continue;
            };
            let count = numbers.len();
            let numbers = Tensor::from_data(TensorData::new(numbers, [count]), device);
            let Moved {
                value,
                gradient,
                slots,
            } = group.whole.clone();
            let tensors = [value, gradient].into_iter().chain(slots);
            let tensors = tensors.chain(scale.cloned()).collect();
            compute_by_block(first.formula(), tensors, group.owners.clone(), numbers);
        }
    }
}

/// The rules of parameters by their names.
fn by_name(all: &[(String, Moved, Written)]) -> BTreeMap<&str, &Written> {
    all.iter()
        .map(|(name, _, written)| (&name[..], written))
        .collect()
}

impl Group {
    /// Room for parameters.
    fn of(parameters: Range<usize>, owners: Vec<f32>, slots: usize, device: &Device) -> Self {
        let blocks = owners.len();
        let zeros = || Tensor::zeros([blocks * BLOCK], device);
        Self {
            parameters,
            whole: Moved {
                value: zeros(),
                gradient: zeros(),
                slots: (0..slots).map(|_| zeros()).collect(),
            },
            owners: Tensor::from_data(TensorData::new(owners, [blocks]), device),
        }
    }

    /// Puts parameters there, and says where each is seen from now on.
    fn fill<'a>(
        &self,
        parameters: impl Iterator<Item = &'a (String, Moved, Written)>,
    ) -> Vec<(String, Moved)> {
        let mut start = 0;
        let mut seen = Vec::new();
        for (name, moved, _) in parameters {
            let [count] = moved.value.dims();
            let placed = |whole: &Tensor<1>, numbers: &Tensor<1>| {
                let part = part_of(whole, start, count);
                put(&part, numbers.clone());
                part
            };
            let slots = self.whole.slots.iter().zip(&moved.slots);
            let place = Moved {
                value: placed(&self.whole.value, &moved.value),
                gradient: placed(&self.whole.gradient, &moved.gradient),
                slots: slots.map(|(whole, slot)| placed(whole, slot)).collect(),
            };
            seen.push((name.clone(), place));
            start += count.div_ceil(BLOCK) * BLOCK;
        }
        seen
    }
}
