//! Weights that come from no file: made up the same way in Python and here, or drawn at random.

use super::{TensorSource, WeightsError};
use crate::random::Random;

/// Weights that `tests/parity/generator.py` makes up too, number for number: with them a network can
/// be compared with torchvision's without shipping a file.
///
/// Each tensor's numbers follow from its name and shape alone, at scales that keep activations alive
/// through two hundred layers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Generated;

impl Generated {
    /// The tensor of that name and shape, row-major.
    pub fn tensor(name: &str, shape: &[usize]) -> Vec<f32> {
        let fan_in: usize = shape.iter().skip(1).product();
        let signed = |bound: f32| move |u: f32| (2.0 * u - 1.0) * bound;
        let count = shape.iter().product();
        let last = name.rsplit('.').next().unwrap_or(name);
        match (last, shape.len()) {
            ("running_var", _) | ("weight", 1) => draw(name, count, |u| 0.5 + u),
            ("class_token" | "pos_embedding", _) => draw(name, count, signed(0.5)),
            (_, 0 | 1) => draw(name, count, signed(0.1)),
            _ => draw(name, count, signed((3.0 / fan_in as f64).sqrt() as f32)),
        }
    }

    /// A batch of images to go with them.
    ///
    /// # Shapes
    ///
    /// - returns: `shape`, row-major, between −2 and 2
    pub fn input(shape: &[usize]) -> Vec<f32> {
        draw("input", shape.iter().product(), |u| (2.0 * u - 1.0) * 2.0)
    }
}

fn draw(name: &str, count: usize, map: impl Fn(f32) -> f32) -> Vec<f32> {
    let mut random = Random::new(fnv1a(name));
    (0..count).map(|_| map(random.uniform())).collect()
}

/// The 64-bit FNV-1a hash.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl TensorSource for Generated {
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn shape(&self, _name: &str, wanted: &[usize]) -> Option<Vec<usize>> {
        Some(wanted.to_vec())
    }

    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        Ok(Self::tensor(name, shape))
    }
}

/// An untrained network: He et al.'s initialisation (<https://arxiv.org/abs/1502.01852>) for whatever
/// has a fan-in, ones and zeros for norms, zeros for biases.
#[derive(Debug, Clone, Copy)]
pub struct HeInit {
    /// The same seed, the same network.
    pub seed: u64,
}

impl TensorSource for HeInit {
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn shape(&self, _name: &str, wanted: &[usize]) -> Option<Vec<usize>> {
        Some(wanted.to_vec())
    }

    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        let count = shape.iter().product();
        let is_scale = name.ends_with(".weight") || name.ends_with("running_var");
        Ok(match shape.len() {
            0 | 1 => vec![if is_scale { 1.0 } else { 0.0 }; count],
            _ => {
                let fan_in: usize = shape[1..].iter().product();
                let deviation = (2.0 / fan_in as f32).sqrt();
                let mut random = Random::new(self.seed).fork(fnv1a(name));
                (0..count).map(|_| deviation * random.normal()).collect()
            }
        })
    }
}
