//! Times every distinct layer of six networks at 224×224: which dominates, and how far it is from what
//! the processor could do.
//!
//! `cargo run --release -p rekindle-cpu --example layers -- [batch] [network]`

use std::time::Instant;

use rekindle_cpu::{Activation, AttentionShape, Conv, ConvGeometry, View, ViewMut, attention};

/// Input channels, output channels, kernel, stride, padding, groups, size of the input, how often.
type Layer = (usize, usize, usize, usize, usize, usize, [usize; 2], usize);

#[rustfmt::skip]
const NETWORKS: &[(&str, &[Layer])] = &[
    ("squeezenet", &[
        (3, 64, 3, 2, 0, 1, [224, 224], 1),
        (64, 16, 1, 1, 0, 1, [55, 55], 1),
        (16, 64, 1, 1, 0, 1, [55, 55], 2),
        (16, 64, 3, 1, 1, 1, [55, 55], 2),
        (128, 16, 1, 1, 0, 1, [55, 55], 1),
        (128, 32, 1, 1, 0, 1, [27, 27], 1),
        (32, 128, 1, 1, 0, 1, [27, 27], 2),
        (32, 128, 3, 1, 1, 1, [27, 27], 2),
        (256, 32, 1, 1, 0, 1, [27, 27], 1),
        (256, 48, 1, 1, 0, 1, [13, 13], 1),
        (48, 192, 1, 1, 0, 1, [13, 13], 2),
        (48, 192, 3, 1, 1, 1, [13, 13], 2),
        (384, 48, 1, 1, 0, 1, [13, 13], 1),
        (384, 64, 1, 1, 0, 1, [13, 13], 1),
        (64, 256, 1, 1, 0, 1, [13, 13], 2),
        (64, 256, 3, 1, 1, 1, [13, 13], 2),
        (512, 64, 1, 1, 0, 1, [13, 13], 1),
        (512, 1000, 1, 1, 0, 1, [13, 13], 1),
    ]),
    ("lite0", &[
        (3, 32, 3, 2, 1, 1, [224, 224], 1),
        (32, 32, 3, 1, 1, 32, [112, 112], 1),
        (32, 16, 1, 1, 0, 1, [112, 112], 1),
        (16, 96, 1, 1, 0, 1, [112, 112], 1),
        (96, 96, 3, 2, 1, 96, [112, 112], 1),
        (96, 24, 1, 1, 0, 1, [56, 56], 1),
        (24, 144, 1, 1, 0, 1, [56, 56], 2),
        (144, 144, 3, 1, 1, 144, [56, 56], 1),
        (144, 24, 1, 1, 0, 1, [56, 56], 1),
        (144, 144, 5, 2, 2, 144, [56, 56], 1),
        (144, 40, 1, 1, 0, 1, [28, 28], 1),
        (40, 240, 1, 1, 0, 1, [28, 28], 2),
        (240, 240, 5, 1, 2, 240, [28, 28], 1),
        (240, 40, 1, 1, 0, 1, [28, 28], 1),
        (240, 240, 3, 2, 1, 240, [28, 28], 1),
        (240, 80, 1, 1, 0, 1, [14, 14], 1),
        (80, 480, 1, 1, 0, 1, [14, 14], 3),
        (480, 480, 3, 1, 1, 480, [14, 14], 2),
        (480, 80, 1, 1, 0, 1, [14, 14], 2),
        (480, 480, 5, 1, 2, 480, [14, 14], 1),
        (480, 112, 1, 1, 0, 1, [14, 14], 1),
        (112, 672, 1, 1, 0, 1, [14, 14], 3),
        (672, 672, 5, 1, 2, 672, [14, 14], 2),
        (672, 112, 1, 1, 0, 1, [14, 14], 2),
        (672, 672, 5, 2, 2, 672, [14, 14], 1),
        (672, 192, 1, 1, 0, 1, [7, 7], 1),
        (192, 1152, 1, 1, 0, 1, [7, 7], 4),
        (1152, 1152, 5, 1, 2, 1152, [7, 7], 3),
        (1152, 192, 1, 1, 0, 1, [7, 7], 3),
        (1152, 1152, 3, 1, 1, 1152, [7, 7], 1),
        (1152, 320, 1, 1, 0, 1, [7, 7], 1),
        (320, 1280, 1, 1, 0, 1, [7, 7], 1),
        (1280, 1000, 1, 1, 0, 1, [1, 1], 1),
    ]),
    ("mobilenetv3", &[
        (3, 16, 3, 2, 1, 1, [224, 224], 1),
        (16, 16, 3, 1, 1, 16, [112, 112], 1),
        (16, 16, 1, 1, 0, 1, [112, 112], 1),
        (16, 64, 1, 1, 0, 1, [112, 112], 1),
        (64, 64, 3, 2, 1, 64, [112, 112], 1),
        (64, 24, 1, 1, 0, 1, [56, 56], 1),
        (24, 72, 1, 1, 0, 1, [56, 56], 2),
        (72, 72, 3, 1, 1, 72, [56, 56], 1),
        (72, 24, 1, 1, 0, 1, [56, 56], 1),
        (72, 72, 5, 2, 2, 72, [56, 56], 1),
        (72, 24, 1, 1, 0, 1, [1, 1], 1),
        (24, 72, 1, 1, 0, 1, [1, 1], 1),
        (72, 40, 1, 1, 0, 1, [28, 28], 1),
        (40, 120, 1, 1, 0, 1, [28, 28], 2),
        (120, 120, 5, 1, 2, 120, [28, 28], 2),
        (120, 32, 1, 1, 0, 1, [1, 1], 2),
        (32, 120, 1, 1, 0, 1, [1, 1], 2),
        (120, 40, 1, 1, 0, 1, [28, 28], 2),
        (40, 240, 1, 1, 0, 1, [28, 28], 1),
        (240, 240, 3, 2, 1, 240, [28, 28], 1),
        (240, 80, 1, 1, 0, 1, [14, 14], 1),
        (80, 200, 1, 1, 0, 1, [14, 14], 1),
        (200, 200, 3, 1, 1, 200, [14, 14], 1),
        (200, 80, 1, 1, 0, 1, [14, 14], 1),
        (80, 184, 1, 1, 0, 1, [14, 14], 2),
        (184, 184, 3, 1, 1, 184, [14, 14], 2),
        (184, 80, 1, 1, 0, 1, [14, 14], 2),
        (80, 480, 1, 1, 0, 1, [14, 14], 1),
        (480, 480, 3, 1, 1, 480, [14, 14], 1),
        (480, 120, 1, 1, 0, 1, [1, 1], 1),
        (120, 480, 1, 1, 0, 1, [1, 1], 1),
        (480, 112, 1, 1, 0, 1, [14, 14], 1),
        (112, 672, 1, 1, 0, 1, [14, 14], 2),
        (672, 672, 3, 1, 1, 672, [14, 14], 1),
        (672, 168, 1, 1, 0, 1, [1, 1], 2),
        (168, 672, 1, 1, 0, 1, [1, 1], 2),
        (672, 112, 1, 1, 0, 1, [14, 14], 1),
        (672, 672, 5, 2, 2, 672, [14, 14], 1),
        (672, 160, 1, 1, 0, 1, [7, 7], 1),
        (160, 960, 1, 1, 0, 1, [7, 7], 3),
        (960, 960, 5, 1, 2, 960, [7, 7], 2),
        (960, 240, 1, 1, 0, 1, [1, 1], 2),
        (240, 960, 1, 1, 0, 1, [1, 1], 2),
        (960, 160, 1, 1, 0, 1, [7, 7], 2),
        (960, 1280, 1, 1, 0, 1, [1, 1], 1),
        (1280, 1000, 1, 1, 0, 1, [1, 1], 1),
    ]),
    ("resnet18", &[
        (3, 64, 7, 2, 3, 1, [224, 224], 1),
        (64, 64, 3, 1, 1, 1, [56, 56], 4),
        (64, 128, 3, 2, 1, 1, [56, 56], 1),
        (128, 128, 3, 1, 1, 1, [28, 28], 3),
        (64, 128, 1, 2, 0, 1, [56, 56], 1),
        (128, 256, 3, 2, 1, 1, [28, 28], 1),
        (256, 256, 3, 1, 1, 1, [14, 14], 3),
        (128, 256, 1, 2, 0, 1, [28, 28], 1),
        (256, 512, 3, 2, 1, 1, [14, 14], 1),
        (512, 512, 3, 1, 1, 1, [7, 7], 3),
        (256, 512, 1, 2, 0, 1, [14, 14], 1),
        (512, 1000, 1, 1, 0, 1, [1, 1], 1),
    ]),
    ("resnet50", &[
        (3, 64, 7, 2, 3, 1, [224, 224], 1),
        (64, 64, 1, 1, 0, 1, [56, 56], 1),
        (64, 64, 3, 1, 1, 1, [56, 56], 3),
        (64, 256, 1, 1, 0, 1, [56, 56], 4),
        (256, 64, 1, 1, 0, 1, [56, 56], 2),
        (256, 128, 1, 1, 0, 1, [56, 56], 1),
        (128, 128, 3, 2, 1, 1, [56, 56], 1),
        (128, 512, 1, 1, 0, 1, [28, 28], 4),
        (256, 512, 1, 2, 0, 1, [56, 56], 1),
        (512, 128, 1, 1, 0, 1, [28, 28], 3),
        (128, 128, 3, 1, 1, 1, [28, 28], 3),
        (512, 256, 1, 1, 0, 1, [28, 28], 1),
        (256, 256, 3, 2, 1, 1, [28, 28], 1),
        (256, 1024, 1, 1, 0, 1, [14, 14], 6),
        (512, 1024, 1, 2, 0, 1, [28, 28], 1),
        (1024, 256, 1, 1, 0, 1, [14, 14], 5),
        (256, 256, 3, 1, 1, 1, [14, 14], 5),
        (1024, 512, 1, 1, 0, 1, [14, 14], 1),
        (512, 512, 3, 2, 1, 1, [14, 14], 1),
        (512, 2048, 1, 1, 0, 1, [7, 7], 3),
        (1024, 2048, 1, 2, 0, 1, [14, 14], 1),
        (2048, 512, 1, 1, 0, 1, [7, 7], 2),
        (512, 512, 3, 1, 1, 1, [7, 7], 2),
        (2048, 1000, 1, 1, 0, 1, [1, 1], 1),
    ]),
    ("vit_b16", &[
        (3, 768, 16, 16, 0, 1, [224, 224], 1),
        (768, 2304, 1, 1, 0, 1, [1, 197], 12),
        (768, 768, 1, 1, 0, 1, [1, 197], 12),
        (768, 3072, 1, 1, 0, 1, [1, 197], 12),
        (3072, 768, 1, 1, 0, 1, [1, 197], 12),
        (768, 1000, 1, 1, 0, 1, [1, 1], 1),
    ]),
];

/// The shortest of many runs, in seconds.
fn time(mut run: impl FnMut()) -> f64 {
    run();
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    let mut runs = 0;
    while runs < 5 || (begin.elapsed().as_secs_f64() < 0.25 && runs < 1000) {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
        runs += 1;
    }
    best
}

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i % 97) as f32 / 97.0 - 0.5).collect()
}

fn print(name: &str, algorithm: &str, seconds: f64, operations: f64, count: usize) -> f64 {
    let total = seconds * 1e3 * count as f64;
    println!(
        "{name:44} {algorithm:9} {:8.3} ms × {count:2} = {total:8.3} ms {:7.1} GFLOP/s",
        seconds * 1e3,
        operations / seconds / 1e9
    );
    total
}

/// A layer with its own weights, and maps to run it on.
struct Case {
    name: String,
    conv: Conv,
    activation: Activation,
    batch: usize,
    from: [usize; 2],
    to: [usize; 2],
    operations: f64,
    count: usize,
}

impl Case {
    fn new(layer: &Layer, batch: usize) -> Self {
        let &(input, output, kernel, stride, padding, groups, size, count) = layer;
        // Tokens of several images are more rows of one product.
        let tokens = size[0] == 1 && size[1] > 1;
        let (batch, size) = if tokens {
            (1, [1, size[1] * batch])
        } else {
            (batch, size)
        };
        let geometry = ConvGeometry {
            input,
            output,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 2],
            dilation: [1, 1],
            groups,
        };
        let weights = numbers(output * input / groups * kernel * kernel);
        let to = size.map(|n| (n + 2 * padding - kernel) / stride + 1);
        let pixels = batch * to[0] * to[1];
        Self {
            name: format!(
                "{input}→{output} {kernel}×{kernel}/{stride} g{groups} {}×{}",
                size[0], size[1]
            ),
            conv: Conv::new(geometry, weights[..].into(), &numbers(output), size),
            activation: if tokens {
                Activation::None
            } else {
                Activation::Relu
            },
            batch,
            from: size,
            to,
            operations: 2.0 * (pixels * weights.len()) as f64,
            count,
        }
    }

    /// Elements that it reads, and that it writes.
    fn elements(&self) -> [usize; 2] {
        let ConvGeometry { input, output, .. } = *self.conv.geometry();
        let pixels = [self.from, self.to].map(|size| self.batch * size[0] * size[1]);
        [pixels[0] * input, pixels[1] * output]
    }

    fn run(&self, input: &[f32], output: &mut [f32]) {
        let geometry = self.conv.geometry();
        let view = View::new(
            input,
            self.batch,
            self.from[0],
            self.from[1],
            geometry.input,
        );
        let to = ViewMut::new(output, self.batch, self.to[0], self.to[1], geometry.output);
        self.conv.run(view, None, self.activation, to);
    }
}

fn vision_transformer_attention(batch: usize, qkv: &[f32], output: &mut [f32]) {
    let shape = AttentionShape {
        windows: batch,
        tokens: 197,
        heads: 12,
        depth: 64,
        per_head: false,
        scale: 0.125,
        cosine: None,
        bias: None,
        mask: None,
        mask_windows: 1,
    };
    attention(&shape, qkv, output);
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let batch = arguments
        .first()
        .map_or(1, |batch| batch.parse().expect("a number of images"));
    for (network, layers) in NETWORKS {
        if arguments.get(1).is_some_and(|wanted| wanted != network) {
            continue;
        }
        println!("{network}, batch {batch}");
        let mut total = 0.0;
        for layer in *layers {
            let case = Case::new(layer, batch);
            let [reads, writes] = case.elements();
            let (input, mut output) = (numbers(reads), vec![0.0; writes]);
            let seconds = time(|| case.run(&input, &mut output));
            total += print(
                &case.name,
                case.conv.algorithm(),
                seconds,
                case.operations,
                case.count,
            );
        }
        let transformer = *network == "vit_b16";
        let qkv = numbers(batch * 197 * 3 * 768);
        let mut output = vec![0.0; batch * 197 * 768];
        if transformer {
            let seconds = time(|| vision_transformer_attention(batch, &qkv, &mut output));
            let operations = 4.0 * (batch * 12 * 197 * 197 * 64) as f64;
            total += print(
                "197 tokens, 12 heads of 64",
                "attention",
                seconds,
                operations,
                12,
            );
        }
        // One after the other, as in a network: a layer finds there what the one before it wrote,
        // but not its weights.
        let cases: Vec<Case> = layers
            .iter()
            .flat_map(|layer| (0..layer.7).map(|_| Case::new(layer, batch)))
            .collect();
        let most = cases
            .iter()
            .flat_map(Case::elements)
            .max()
            .unwrap_or_default();
        let (mut read, mut written) = (numbers(most), numbers(most));
        let seconds = time(|| {
            for case in &cases {
                case.run(&read, &mut written);
                std::mem::swap(&mut read, &mut written);
            }
            if transformer {
                (0..12).for_each(|_| vision_transformer_attention(batch, &qkv, &mut output));
            }
        });
        let all = seconds * 1e3 / batch as f64;
        println!(
            "{network}: {:.2} ms an image, {all:.2} in a row\n",
            total / batch as f64
        );
    }
}
