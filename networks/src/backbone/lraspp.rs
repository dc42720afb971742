//! LR-ASPP: a small classifier over MobileNet v3 that joins a coarse map, weighed by the whole image, with a
//! finer one.
//!
//! Howard et al., *Searching for MobileNetV3*, <https://arxiv.org/abs/1905.02244>, section 6.4; layer for layer
//! torchvision's `segmentation/lraspp.py`.

use super::architecture::{Architecture, HeadSlot};
use super::deeplab::{self, mobilenet_v3_large};
use super::fcn::answers;
use super::published;
use crate::graph::Nonlinearity::Sigmoid;
use crate::graph::{Conv, Norm, Outputs, Resample, Value};
use crate::task::Task;

/// Channels of the coarse map that is classified.
const WIDTH: usize = 128;

fn head(high: &Value, classes: usize) -> Outputs {
    let low = high.tapped("c2");
    let logits = high.within("classifier", |high| {
        let seen = high.within("cbr", |x| {
            x.conv("0", Conv::new(WIDTH, 1))
                .batch_norm("1", Norm::TORCH)
                .relu()
        });
        let gate = high.within("scale", |x| {
            x.global_average()
                .conv("1", Conv::new(WIDTH, 1))
                .activate(Sigmoid)
        });
        let coarse = seen
            .multiply(&gate)
            .resize(low.size(), Resample::Bilinear)
            .conv("high_classifier", Conv::new(classes, 1).bias());
        low.conv("low_classifier", Conv::new(classes, 1).bias()) + coarse
    });
    answers(logits)
}

/// The network as torchvision publishes it.
pub(super) const LRASPPS: [Architecture; 1] = [Architecture::new(
    "lraspp_mobilenet_v3_large",
    "LR-ASPP",
    HeadSlot::own("classifier", head),
    mobilenet_v3_large,
    published::LRASPP_MOBILENET_V3_LARGE,
)
.whole_photos(520)
.task(Task::Segment)
.init(deeplab::INIT)];
