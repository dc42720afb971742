//! What PyTorch, torchvision and timm say: `tests/parity/make_rate_goldens.py`.

use serde::Deserialize;

use super::schedule::{Schedule, Warmup};

#[derive(Deserialize)]
pub struct Fixture {
    pub schedules: Vec<Scheduled>,
    pub plateaus: Vec<Plateau>,
    pub decay: f64,
    pub layer_decay: Vec<LayerDecay>,
    pub cutmix: Vec<Cut>,
}

/// The factor, and the momentum, of every step.
#[derive(Deserialize)]
pub struct Scheduled {
    pub name: String,
    pub schedule: Schedule,
    pub warmup: Option<Warmup>,
    pub steps: usize,
    pub per_epoch: usize,
    pub factors: Vec<f64>,
    pub momenta: Option<Vec<f64>>,
}

/// The factor after each figure; none is NaN.
#[derive(Deserialize)]
pub struct Plateau {
    pub schedule: Schedule,
    pub figures: Vec<Option<f64>>,
    pub factors: Vec<f64>,
}

/// For each exponent of the decay, from 0: how many learnable numbers have it, and how many of them decay.
#[derive(Deserialize)]
pub struct LayerDecay {
    pub name: String,
    pub timm: String,
    pub numbers: Vec<[usize; 2]>,
}

/// What a box is drawn from, the box, and the share of what is outside.
#[derive(Deserialize)]
pub struct Cut {
    pub height: usize,
    pub width: usize,
    pub share: f64,
    pub centre: [usize; 2],
    pub area: [usize; 4],
    pub corrected: f64,
}

pub fn fixture() -> Fixture {
    let text = include_str!("../../tests/fixtures/rates.json");
    serde_json::from_str(text).unwrap()
}
