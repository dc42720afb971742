//! RegNet: networks whose widths follow one quantised line.
//!
//! Radosavovic et al., *Designing Network Design Spaces*, <https://arxiv.org/abs/2003.13678>; layer
//! for layer torchvision's `regnet.py`.

use super::architecture::{Architecture, HeadSlot};
use super::parts::{conv_norm_act, make_divisible, squeeze_excite, stem_norm_act};
use super::pretrained::PretrainedWeights;
use super::published;
use crate::graph::Nonlinearity::{Relu, Sigmoid};
use crate::graph::{Conv, Init, InitRules, Norm, Value};

/// The numbers that a member follows from.
struct Design {
    /// Blocks.
    depth: usize,
    /// Width of the first block.
    start: f64,
    /// How much wider each block is than the one before.
    slope: f64,
    /// The ratio between the widths that are allowed.
    ratio: f64,
    /// Channels of a group.
    group: usize,
    /// Whether blocks squeeze and excite (the Y series).
    excites: bool,
}

impl Design {
    const fn x(depth: usize, start: f64, slope: f64, ratio: f64, group: usize) -> Self {
        Self {
            depth,
            start,
            slope,
            ratio,
            group,
            excites: false,
        }
    }

    const fn y(depth: usize, start: f64, slope: f64, ratio: f64, group: usize) -> Self {
        Self {
            excites: true,
            ..Self::x(depth, start, slope, ratio, group)
        }
    }

    /// Width, channels of a group and number of blocks of each stage.
    fn stages(&self) -> Vec<(usize, usize, usize)> {
        let mut stages: Vec<(usize, usize, usize)> = Vec::new();
        for block in 0..self.depth {
            let wanted = self.start + self.slope * block as f64;
            let step = ((wanted / self.start).ln() / self.ratio.ln()).round_ties_even();
            let width = (self.start * self.ratio.powf(step) / 8.0).round_ties_even() as usize * 8;
            match stages.last_mut() {
                Some((last, _, count)) if *last == width => *count += 1,
                _ => stages.push((width, 0, 1)),
            }
        }
        for (width, group, _) in &mut stages {
            *group = self.group.min(*width);
            *width = make_divisible(*width as f64, *group);
        }
        stages
    }
}

const STEM: usize = 32;

fn regnet(image: Value, design: &Design) -> Value {
    let first = Conv::new(STEM, 3).stride(2);
    let mut x = stem_norm_act(&image, "stem", first, Norm::TORCH, Relu).stage("stem");
    for (index, (width, group, blocks)) in design.stages().into_iter().enumerate() {
        let stage = index + 1;
        for block in 0..blocks {
            let stride = if block == 0 { 2 } else { 1 };
            x = x.within(
                format!("trunk_output.block{stage}.block{stage}-{block}"),
                |x| bottleneck(x, width, group, stride, design.excites),
            );
        }
        x = x.stage(format!("block{stage}"));
    }
    x
}

fn bottleneck(x: &Value, width: usize, group: usize, stride: usize, excites: bool) -> Value {
    let identity = match x.channels() != width || stride != 1 {
        true => conv_norm_act(
            x,
            "proj",
            Conv::new(width, 1).stride(stride),
            Norm::TORCH,
            None,
        ),
        false => x.clone(),
    };
    // The squeeze is a quarter of what comes into the block.
    let squeeze = (0.25 * x.channels() as f64).round_ties_even() as usize;
    let y = x.within("f", |x| {
        let grouped = Conv::new(width, 3).stride(stride).groups(width / group);
        let y = conv_norm_act(x, "a", Conv::new(width, 1), Norm::TORCH, Some(Relu));
        let mut y = conv_norm_act(&y, "b", grouped, Norm::TORCH, Some(Relu));
        if excites {
            y = squeeze_excite(&y, "se", squeeze, Relu, Sigmoid);
        }
        conv_norm_act(&y, "c", Conv::new(width, 1), Norm::TORCH, None)
    });
    (identity + y).relu()
}

const INIT: InitRules = InitRules {
    conv: Init::KaimingNormalFanOut,
    // Those of squeeze-and-excitation, the only ones.
    conv_bias: Init::Default,
    linear: Init::Normal(0.01),
    linear_bias: Init::Constant(0.0),
    special: &[],
    parts: &[],
};

const fn entry(
    name: &'static str,
    describe: fn(Value) -> Value,
    weights: &'static [PretrainedWeights],
) -> Architecture {
    Architecture::new(name, "RegNet", HeadSlot::linear("fc"), describe, weights).init(INIT)
}

/// The family as torchvision publishes it.
pub(super) const REGNETS: [Architecture; 15] = [
    entry(
        "regnet_y_400mf",
        |x| regnet(x, &Design::y(16, 48.0, 27.89, 2.09, 8)),
        published::REGNET_Y_400MF,
    ),
    entry(
        "regnet_y_800mf",
        |x| regnet(x, &Design::y(14, 56.0, 38.84, 2.4, 16)),
        published::REGNET_Y_800MF,
    ),
    entry(
        "regnet_y_1_6gf",
        |x| regnet(x, &Design::y(27, 48.0, 20.71, 2.65, 24)),
        published::REGNET_Y_1_6GF,
    ),
    entry(
        "regnet_y_3_2gf",
        |x| regnet(x, &Design::y(21, 80.0, 42.63, 2.66, 24)),
        published::REGNET_Y_3_2GF,
    ),
    entry(
        "regnet_y_8gf",
        |x| regnet(x, &Design::y(17, 192.0, 76.82, 2.19, 56)),
        published::REGNET_Y_8GF,
    ),
    entry(
        "regnet_y_16gf",
        |x| regnet(x, &Design::y(18, 200.0, 106.23, 2.48, 112)),
        published::REGNET_Y_16GF,
    ),
    entry(
        "regnet_y_32gf",
        |x| regnet(x, &Design::y(20, 232.0, 115.89, 2.53, 232)),
        published::REGNET_Y_32GF,
    ),
    Architecture {
        // Its default weights were trained at this size.
        input_size: 384,
        ..entry(
            "regnet_y_128gf",
            |x| regnet(x, &Design::y(27, 456.0, 160.83, 2.52, 264)),
            published::REGNET_Y_128GF,
        )
    },
    entry(
        "regnet_x_400mf",
        |x| regnet(x, &Design::x(22, 24.0, 24.48, 2.54, 16)),
        published::REGNET_X_400MF,
    ),
    entry(
        "regnet_x_800mf",
        |x| regnet(x, &Design::x(16, 56.0, 35.73, 2.28, 16)),
        published::REGNET_X_800MF,
    ),
    entry(
        "regnet_x_1_6gf",
        |x| regnet(x, &Design::x(18, 80.0, 34.01, 2.25, 24)),
        published::REGNET_X_1_6GF,
    ),
    entry(
        "regnet_x_3_2gf",
        |x| regnet(x, &Design::x(25, 88.0, 26.31, 2.25, 48)),
        published::REGNET_X_3_2GF,
    ),
    entry(
        "regnet_x_8gf",
        |x| regnet(x, &Design::x(23, 80.0, 49.56, 2.88, 120)),
        published::REGNET_X_8GF,
    ),
    entry(
        "regnet_x_16gf",
        |x| regnet(x, &Design::x(22, 216.0, 55.59, 2.1, 128)),
        published::REGNET_X_16GF,
    ),
    entry(
        "regnet_x_32gf",
        |x| regnet(x, &Design::x(23, 320.0, 69.86, 2.0, 168)),
        published::REGNET_X_32GF,
    ),
];
