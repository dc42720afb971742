//! Prints kernels for other programs to run: a line of stdin describes an operation, a line of
//! stdout holds its kernels as JSON.
//!
//! `conv tier=software batch=1 channels=64 out_channels=64 rows=56,56,3,1,1,1 columns=56,56,3,1,1,1`

use std::collections::HashMap;
use std::io::{BufRead, stdin};

use rekindle_shaders::*;

struct Line<'a>(HashMap<&'a str, &'a str>);

impl Line<'_> {
    fn number(&self, key: &str, default: u32) -> u32 {
        self.0.get(key).map_or(default, |value| {
            value.parse().unwrap_or_else(|_| panic!("{key}={value}"))
        })
    }

    fn on(&self, key: &str) -> bool {
        self.number(key, 0) != 0
    }

    fn tier(&self) -> Tier {
        match self.0.get("tier").copied() {
            Some("baseline") => Tier::Baseline,
            Some("roomy") => Tier::Roomy,
            Some("full") => Tier::Full,
            _ => Tier::Software,
        }
    }

    fn storage(&self) -> Storage {
        if self.on("f16") {
            Storage::F16
        } else {
            Storage::F32
        }
    }

    /// `input,output,kernel,stride,dilation,padding`
    fn side(&self, key: &str) -> Side {
        let numbers: Vec<u32> = self.0.get(key).map_or_else(
            || panic!("{key} is missing"),
            |list| list.split(',').map(|n| n.parse().expect(key)).collect(),
        );
        let [input, output, kernel, stride, dilation, padding] = numbers[..] else {
            panic!("{key} has six numbers")
        };
        Side {
            input,
            output,
            kernel,
            stride,
            dilation,
            padding,
        }
    }

    fn window(&self) -> Window {
        Window {
            rows: self.side("rows"),
            columns: self.side("columns"),
        }
    }

    fn activation(&self) -> Activation {
        Activation::ALL[self.number("activation", 0) as usize]
    }

    fn epilogue(&self) -> Epilogue {
        Epilogue {
            bias: self.on("bias"),
            residual: self.on("residual"),
            activation: self.activation(),
        }
    }
}

/// Numbers of scratch memory, and the kernels.
fn kernels(operation: &str, line: &Line) -> (u32, Vec<Kernel>) {
    let tier = line.tier();
    let batch = line.number("batch", 1);
    let channels = line.number("channels", 1);
    let out_channels = line.number("out_channels", 1);
    let groups = line.number("groups", 1);
    let (storage, epilogue) = (line.storage(), line.epilogue());
    match operation {
        "conv" => {
            let window = line.window();
            let conv = Conv {
                batch,
                channels,
                out_channels,
                groups,
                window,
                epilogue,
                storage,
            };
            (0, vec![conv.kernel(tier)])
        }
        "conv_data_gradient" => {
            let window = line.window();
            let gradient = ConvDataGradient {
                batch,
                channels,
                out_channels,
                groups,
                window,
                epilogue,
                storage,
            };
            (0, gradient.kernels(tier))
        }
        "depthwise" => {
            let window = line.window();
            let conv = Depthwise {
                batch,
                channels,
                window,
                epilogue,
                storage,
            };
            (0, vec![conv.kernel(tier)])
        }
        "depthwise_data_gradient" => {
            let window = line.window();
            let gradient = DepthwiseDataGradient {
                batch,
                channels,
                window,
                epilogue,
                storage,
            };
            (0, gradient.kernels(tier))
        }
        "conv_weight_gradient" => {
            let window = line.window();
            let gradient = ConvWeightGradient {
                batch,
                channels,
                out_channels,
                groups,
                window,
            };
            (gradient.scratch(tier), gradient.kernels(tier))
        }
        "column_sums" => {
            let sums = ColumnSums {
                rows: line.number("rows", 1),
                columns: line.number("columns", 1),
            };
            (sums.scratch(tier), sums.kernels(tier))
        }
        "depthwise_weight_gradient" => {
            let gradient = DepthwiseWeightGradient {
                batch,
                channels,
                window: line.window(),
            };
            (gradient.scratch(tier), gradient.kernels(tier))
        }
        "matmul" => {
            let product = MatMul {
                batch,
                rows: line.number("rows", 1),
                depth: line.number("depth", 1),
                columns: line.number("columns", 1),
                turned_a: line.on("turned_a"),
                turned_b: line.on("turned_b"),
                epilogue,
                storage,
            };
            (0, vec![product.kernel(tier)])
        }
        "elementwise" => {
            let changes = [Change::Nothing, Change::Add, Change::Affine, Change::Gate];
            let change = changes[line.number("change", 0) as usize];
            let (pixels, activation) = (line.number("pixels", 1), line.activation());
            let element = Elementwise {
                batch,
                pixels,
                channels,
                change,
                activation,
                storage,
            };
            (0, vec![element.kernel(tier)])
        }
        "max_pool" => (
            0,
            vec![
                MaxPool {
                    batch,
                    channels,
                    window: line.window(),
                    storage,
                }
                .kernel(tier),
            ],
        ),
        "avg_pool" => {
            let count_include_pad = line.on("count_include_pad");
            let pool = AvgPool {
                batch,
                channels,
                window: line.window(),
                count_include_pad,
                storage,
            };
            (0, vec![pool.kernel(tier)])
        }
        "global_avg_pool" => {
            let pool = GlobalAvgPool {
                batch,
                pixels: line.number("pixels", 1),
                channels,
                storage,
            };
            (0, vec![pool.kernel(tier)])
        }
        "softmax" => {
            let (rows, columns) = (line.number("rows", 1), line.number("columns", 1));
            let softmax = Softmax {
                rows,
                columns,
                storage,
            };
            (0, vec![softmax.kernel(tier)])
        }
        "layer_norm" => {
            let (rows, columns) = (line.number("rows", 1), line.number("columns", 1));
            (
                0,
                vec![
                    LayerNorm {
                        rows,
                        columns,
                        epsilon: 1e-5,
                        storage,
                    }
                    .kernel(tier),
                ],
            )
        }
        "batch_norm" => {
            let norm = BatchNormTrain {
                rows: line.number("rows", 1),
                channels,
                epsilon: 1e-5,
                share: None,
                residual: false,
                activation: Activation::None,
            };
            (norm.scratch(tier), norm.kernels(tier))
        }
        "batch_norm_gradient" => {
            let norm = BatchNormGradient {
                rows: line.number("rows", 1),
                channels,
                activation: Activation::None,
            };
            (norm.scratch(tier), norm.kernels(tier))
        }
        "group_norm" => {
            let norm = GroupNorm {
                images: batch,
                rows: line.number("rows", 1),
                channels,
                groups,
                epsilon: 1e-5,
                activation: line.activation(),
                storage,
            };
            (norm.scratch(tier), norm.kernels(tier))
        }
        "group_norm_gradient" => {
            let norm = GroupNormGradient {
                images: batch,
                rows: line.number("rows", 1),
                channels,
                groups,
            };
            (norm.scratch(tier), norm.kernels(tier))
        }
        "resize" | "resize_gradient" => {
            let input = [line.number("height", 1), line.number("width", 1)];
            let output = [line.number("out_height", 1), line.number("out_width", 1)];
            let filter = Filter::ALL[line.number("filter", 0) as usize];
            let kernel = match operation {
                "resize" => Resize {
                    batch,
                    channels,
                    input,
                    output,
                    filter,
                    storage,
                }
                .kernel(tier),
                _ => ResizeGradient {
                    batch,
                    channels,
                    input,
                    output,
                    filter,
                }
                .kernel(tier),
            };
            (0, vec![kernel])
        }
        "attention" => {
            let attention = Attention {
                windows: batch,
                tokens: line.number("tokens", 1),
                heads: line.number("heads", 1),
                depth: line.number("depth", 4),
                bias: line.on("bias"),
                storage,
            };
            (0, vec![attention.kernel(tier)])
        }
        "pixels" => {
            let pixels = Pixels {
                batch,
                height: line.number("height", 1),
                width: line.number("width", 1),
                bicubic: line.on("bicubic"),
                planes: line.on("planes"),
                colours: line.on("colours"),
                mean: [0.485, 0.456, 0.406],
                std: [0.229, 0.224, 0.225],
            };
            (0, vec![pixels.kernel(tier)])
        }
        "winograd" => {
            let (window, big) = (line.window(), line.on("big"));
            let conv = Winograd {
                batch,
                channels,
                out_channels,
                window,
                big,
                epilogue,
            };
            let mut kernels = vec![conv.weights(tier)];
            kernels.extend(conv.kernels(tier));
            let [first, second] = conv.scratch();
            (first.max(second).max(conv.weights_length()), kernels)
        }
        _ => panic!("no operation {operation}"),
    }
}

fn main() {
    for line in stdin().lock().lines() {
        let line = line.expect("stdin is text");
        let mut words = line.split_whitespace();
        let Some(operation) = words.next() else {
            continue;
        };
        let fields = Line(words.filter_map(|word| word.split_once('=')).collect());
        let (scratch, kernels) = kernels(operation, &fields);
        let kernels: Vec<String> = kernels
            .iter()
            .map(|kernel| {
                format!(
                    r#"{{"name":{:?},"source":{:?},"workgroup":{:?},"groups":{:?},"buffers":{},"sizes":{:?}}}"#,
                    kernel.name,
                    kernel.source,
                    kernel.workgroup,
                    kernel.groups,
                    kernel.buffers,
                    kernel.sizes
                )
            })
            .collect();
        println!(
            r#"{{"scratch":{scratch},"kernels":[{}]}}"#,
            kernels.join(",")
        );
    }
}
