//! AlexNet: the network that began it.
//!
//! Krizhevsky, *One weird trick for parallelizing convolutional neural networks*,
//! <https://arxiv.org/abs/1404.5997>; layer for layer torchvision's `alexnet.py`.

use super::architecture::{Architecture, HeadSlot};
use super::published;
use crate::graph::{Conv, Pool, Value};

fn alexnet(image: Value) -> Value {
    let pool = Pool::new(3, 2);
    let conv = |filters, kernel| Conv::new(filters, kernel).bias();
    let x = image.within("features", |x| {
        x.conv("0", conv(64, 11).stride(4).padding(2))
            .relu()
            .max_pool(pool)
            .stage("block1")
            .conv("3", conv(192, 5))
            .relu()
            .max_pool(pool)
            .stage("block2")
            .conv("6", conv(384, 3))
            .relu()
            .conv("8", conv(256, 3))
            .relu()
            .conv("10", conv(256, 3))
            .relu()
            .max_pool(pool)
            .stage("block3")
    });
    x.adaptive_avg_pool(6, 6)
        .flatten()
        .hidden_layers("classifier", |x| {
            x.dropout(0.5)
                .linear("1", 4096)
                .relu()
                .dropout(0.5)
                .linear("4", 4096)
                .relu()
        })
}

/// AlexNet as torchvision publishes it.
pub(super) const ALEXNETS: [Architecture; 1] = [Architecture::new(
    "alexnet",
    "AlexNet",
    HeadSlot::linear("classifier.6").bare("classifier"),
    alexnet,
    published::ALEXNET,
)];
