//! GoogLeNet and Inception v3: several kernel sizes side by side, and classifiers half-way up that
//! help in training.
//!
//! Szegedy et al., *Going Deeper with Convolutions*, <https://arxiv.org/abs/1409.4842>, and
//! *Rethinking the Inception Architecture for Computer Vision*, <https://arxiv.org/abs/1512.00567>;
//! layer for layer torchvision's `googlenet.py` and `inception.py`.

use super::architecture::{Architecture, HeadSlot};
use super::published;
use crate::graph::{Conv, Init, InitRules, Norm, Pool, Value};

const NORM: Norm = Norm::new(1e-3, 0.1);

/// torchvision's `BasicConv2d`.
fn basic(x: &Value, name: &str, conv: Conv) -> Value {
    x.within(name, |x| x.conv("conv", conv).batch_norm("bn", NORM).relu())
}

/// A chain of them.
fn chain(x: &Value, branch: &str, convs: &[(&str, Conv)]) -> Value {
    convs.iter().fold(x.clone(), |x, (name, conv)| {
        basic(&x, &format!("{branch}{name}"), conv.clone())
    })
}

/// From torchvision's normalisation to the one that Google trained with, (x − 0.5) / 0.5.
fn transform_input(image: Value) -> Value {
    if !image.options().transform_input {
        return image;
    }
    let scale = [0.229, 0.224, 0.225].map(|std: f32| std / 0.5);
    let shift = [0.485, 0.456, 0.406].map(|mean: f32| (mean - 0.5) / 0.5);
    image.affine(scale.to_vec(), shift.to_vec())
}

fn googlenet(image: Value) -> Value {
    let pool = Pool::new(3, 2).ceil();
    let x = transform_input(image);
    let x = x.within("conv1", |x| {
        x.stem_conv("conv", Conv::new(64, 7).stride(2))
            .batch_norm("bn", NORM)
            .relu()
    });
    let x = basic(&x.stem_pool(pool), "conv2", Conv::new(64, 1));
    let x = basic(&x, "conv3", Conv::new(192, 3))
        .max_pool(pool)
        .stage("stem");

    let block = |x: &Value, name: &str, filters: [usize; 6]| {
        x.within(format!("inception{name}"), |x| mixed(x, filters))
    };
    let x = block(&x, "3a", [64, 96, 128, 16, 32, 32]);
    let x = block(&x, "3b", [128, 128, 192, 32, 96, 64])
        .max_pool(pool)
        .stage("inception3");
    let x = block(&x, "4a", [192, 96, 208, 16, 48, 64]);
    x.auxiliary("aux1", googlenet_auxiliary);
    let x = block(&x, "4b", [160, 112, 224, 24, 64, 64]);
    let x = block(&x, "4c", [128, 128, 256, 24, 64, 64]);
    let x = block(&x, "4d", [112, 144, 288, 32, 64, 64]);
    x.auxiliary("aux2", googlenet_auxiliary);
    let x = block(&x, "4e", [256, 160, 320, 32, 128, 128])
        .max_pool(Pool::new(2, 2).ceil())
        .stage("inception4");
    let x = block(&x, "5a", [256, 160, 320, 32, 128, 128]);
    block(&x, "5b", [384, 192, 384, 48, 128, 128]).stage("inception5")
}

/// 1×1; 1×1 then 3×3; 1×1 then what the paper says is 5×5 and torchvision, for the published weights'
/// sake, 3×3; a pool then 1×1.
fn mixed(x: &Value, [one, before3, three, before5, five, pooled]: [usize; 6]) -> Value {
    let pool = Pool::new(3, 1).padding(1).ceil();
    Value::concat(&[
        basic(x, "branch1", Conv::new(one, 1)),
        chain(
            x,
            "branch2.",
            &[("0", Conv::new(before3, 1)), ("1", Conv::new(three, 3))],
        ),
        chain(
            x,
            "branch3.",
            &[("0", Conv::new(before5, 1)), ("1", Conv::new(five, 3))],
        ),
        basic(&x.max_pool(pool), "branch4.1", Conv::new(pooled, 1)),
    ])
}

fn googlenet_auxiliary(x: &Value, classes: usize) -> Value {
    basic(&x.adaptive_avg_pool(4, 4), "conv", Conv::new(128, 1))
        .flatten()
        .linear("fc1", 1024)
        .relu()
        .dropout(0.7)
        .linear("fc2", classes)
}

fn inception_v3(image: Value) -> Value {
    let valid = |filters, kernel| Conv::new(filters, kernel).padding(0);
    let x = transform_input(image);
    let x = x.within("Conv2d_1a_3x3", |x| {
        x.stem_conv("conv", valid(32, 3).stride(2))
            .batch_norm("bn", NORM)
            .relu()
    });
    let x = basic(&x, "Conv2d_2a_3x3", valid(32, 3));
    let x = basic(&x, "Conv2d_2b_3x3", Conv::new(64, 3)).stem_pool(Pool::new(3, 2));
    let x = basic(&x, "Conv2d_3b_1x1", Conv::new(80, 1));
    let x = basic(&x, "Conv2d_4a_3x3", valid(192, 3))
        .max_pool(Pool::new(3, 2))
        .stage("stem");

    let x = x.within("Mixed_5b", |x| inception_a(x, 32));
    let x = x.within("Mixed_5c", |x| inception_a(x, 64));
    let x = x.within("Mixed_5d", |x| inception_a(x, 64)).stage("mixed5");
    let x = x.within("Mixed_6a", inception_b);
    let x = x.within("Mixed_6b", |x| inception_c(x, 128));
    let x = x.within("Mixed_6c", |x| inception_c(x, 160));
    let x = x.within("Mixed_6d", |x| inception_c(x, 160));
    let x = x.within("Mixed_6e", |x| inception_c(x, 192));
    x.auxiliary("AuxLogits", |x, classes| {
        let x = basic(&x.avg_pool(Pool::new(5, 3)), "conv0", Conv::new(128, 1));
        basic(&x, "conv1", valid(768, 5))
            .global_average()
            .flatten()
            .linear("fc", classes)
    });
    let x = x.stage("mixed6");
    let x = x.within("Mixed_7a", inception_d);
    let x = x.within("Mixed_7b", inception_e);
    x.within("Mixed_7c", inception_e).stage("mixed7")
}

/// The mean of each neighbourhood, then 1×1.
fn pooled(x: &Value, filters: usize) -> Value {
    let means = x.avg_pool(Pool::new(3, 1).padding(1));
    basic(&means, "branch_pool", Conv::new(filters, 1))
}

fn inception_a(x: &Value, pool_filters: usize) -> Value {
    Value::concat(&[
        basic(x, "branch1x1", Conv::new(64, 1)),
        chain(
            x,
            "branch5x5_",
            &[("1", Conv::new(48, 1)), ("2", Conv::new(64, 5))],
        ),
        chain(
            x,
            "branch3x3dbl_",
            &[
                ("1", Conv::new(64, 1)),
                ("2", Conv::new(96, 3)),
                ("3", Conv::new(96, 3)),
            ],
        ),
        pooled(x, pool_filters),
    ])
}

fn inception_b(x: &Value) -> Value {
    let halving = |filters| Conv::new(filters, 3).stride(2).padding(0);
    Value::concat(&[
        basic(x, "branch3x3", halving(384)),
        chain(
            x,
            "branch3x3dbl_",
            &[
                ("1", Conv::new(64, 1)),
                ("2", Conv::new(96, 3)),
                ("3", halving(96)),
            ],
        ),
        x.max_pool(Pool::new(3, 2)),
    ])
}

/// A 7×7 convolution factored into a row and a column, once and twice.
fn inception_c(x: &Value, inner: usize) -> Value {
    let row = |filters| Conv::rectangle(filters, [1, 7]);
    let column = |filters| Conv::rectangle(filters, [7, 1]);
    Value::concat(&[
        basic(x, "branch1x1", Conv::new(192, 1)),
        chain(
            x,
            "branch7x7_",
            &[
                ("1", Conv::new(inner, 1)),
                ("2", row(inner)),
                ("3", column(192)),
            ],
        ),
        chain(
            x,
            "branch7x7dbl_",
            &[
                ("1", Conv::new(inner, 1)),
                ("2", column(inner)),
                ("3", row(inner)),
                ("4", column(inner)),
                ("5", row(192)),
            ],
        ),
        pooled(x, 192),
    ])
}

fn inception_d(x: &Value) -> Value {
    let halving = |filters| Conv::new(filters, 3).stride(2).padding(0);
    Value::concat(&[
        chain(
            x,
            "branch3x3_",
            &[("1", Conv::new(192, 1)), ("2", halving(320))],
        ),
        chain(
            x,
            "branch7x7x3_",
            &[
                ("1", Conv::new(192, 1)),
                ("2", Conv::rectangle(192, [1, 7])),
                ("3", Conv::rectangle(192, [7, 1])),
                ("4", halving(192)),
            ],
        ),
        x.max_pool(Pool::new(3, 2)),
    ])
}

/// 3×3 convolutions split into a row and a column side by side.
fn inception_e(x: &Value) -> Value {
    let split = |x: &Value, branch: &str| {
        Value::concat(&[
            basic(x, &format!("{branch}a"), Conv::rectangle(384, [1, 3])),
            basic(x, &format!("{branch}b"), Conv::rectangle(384, [3, 1])),
        ])
    };
    let three = basic(x, "branch3x3_1", Conv::new(384, 1));
    let double = chain(
        x,
        "branch3x3dbl_",
        &[("1", Conv::new(448, 1)), ("2", Conv::new(384, 3))],
    );
    Value::concat(&[
        basic(x, "branch1x1", Conv::new(320, 1)),
        split(&three, "branch3x3_2"),
        split(&double, "branch3x3dbl_3"),
        pooled(x, 192),
    ])
}

const fn truncated(deviation: f32, special: &'static [(&'static str, Init)]) -> InitRules {
    InitRules {
        conv: Init::Truncated(deviation),
        linear: Init::Truncated(deviation),
        special,
        ..InitRules::TORCH
    }
}

/// GoogLeNet and Inception v3 as torchvision publishes them. Their files hold auxiliary classifiers
/// too.
pub(super) const INCEPTIONS: [Architecture; 2] = [
    Architecture::new(
        "googlenet",
        "GoogLeNet",
        HeadSlot::linear("fc").dropout(0.2),
        googlenet,
        published::GOOGLENET,
    )
    .init(truncated(0.01, &[]))
    .auxiliary(&["aux1.", "aux2."], false),
    Architecture {
        input_size: 299,
        ..Architecture::new(
            "inception_v3",
            "Inception v3",
            HeadSlot::linear("fc").dropout(0.5),
            inception_v3,
            published::INCEPTION_V3,
        )
        .init(truncated(
            0.1,
            // torchvision marks the block, whose convolution does not see the mark: only the linear
            // layer starts smaller.
            &[("AuxLogits.fc.weight", Init::Truncated(0.001))],
        ))
        .auxiliary(&["AuxLogits."], true)
    },
];
