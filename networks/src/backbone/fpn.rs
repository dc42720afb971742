//! Feature pyramids: the maps of several stages, each with what the coarser ones know.
//!
//! Lin et al., *Feature Pyramid Networks for Object Detection*, <https://arxiv.org/abs/1612.03144>; layer for layer
//! torchvision's `ops/feature_pyramid_network.py`.

use crate::graph::{Conv, Resample, Value};

/// A pyramid of so many channels over the stages of these names, finest first. Its levels are the taps `p3`,
/// `p4` …, the first of them at an eighth of the image's height.
pub(super) fn pyramid(x: &Value, stages: &[&str], channels: usize) -> Vec<Value> {
    let mut levels = Vec::new();
    let mut coarser: Option<Value> = None;
    for (index, stage) in stages.iter().enumerate().rev() {
        let lateral = Conv::new(channels, 1).bias();
        let lateral = x
            .tapped(stage)
            .conv(&format!("inner_blocks.{index}.0"), lateral);
        let inner = match coarser {
            Some(coarser) => {
                let larger = coarser.resize(lateral.size(), Resample::Nearest);
                lateral + larger
            }
            None => lateral,
        };
        let smooth = Conv::new(channels, 3).bias();
        let level = inner.conv(&format!("layer_blocks.{index}.0"), smooth);
        levels.push(level.tap(format!("p{}", index + 3)));
        coarser = Some(inner);
    }
    levels.reverse();
    levels
}

/// Two levels more, each half as high as the one before (torchvision's `LastLevelP6P7` on `p5`), as
/// `p6` and `p7`.
pub(super) fn two_coarser_levels(coarsest: &Value) -> [Value; 2] {
    let conv = |x: &Value, name: &str| {
        let conv = Conv::new(x.channels(), 3).stride(2).bias();
        x.conv(&format!("extra_blocks.{name}"), conv).tap(name)
    };
    let p6 = conv(coarsest, "p6");
    let p7 = conv(&p6.relu(), "p7");
    [p6, p7]
}
