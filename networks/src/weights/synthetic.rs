//! Weights that come from no file: made up the same way in Python and here.

use super::error::WeightsError;
use super::source::TensorSource;
use crate::random::{Random, hash};

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
            ("running_var" | "layer_scale" | "gamma", _) | ("weight", 1) => {
                draw(name, count, |u| 0.5 + u)
            }
            ("logit_scale", _) => draw(name, count, |u| 1.0 + u),
            (
                "class_token"
                | "cls_token"
                | "pos_embedding"
                | "pos_embed"
                | "relative_position_bias_table",
                _,
            ) => draw(name, count, signed(0.5)),
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
    let mut random = Random::new(hash(name));
    (0..count).map(|_| map(random.uniform())).collect()
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
