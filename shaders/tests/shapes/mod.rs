//! Shapes that the tests go through: ordinary ones of networks, and awkward ones.

use rekindle_shaders::*;

/// A kernel and what it may ask of an adapter.
pub struct Case {
    /// The kernel.
    pub kernel: Kernel,
    /// Whom it was made for.
    pub tier: Tier,
    /// Whether it needs half-precision floats.
    pub half: bool,
}

fn square(input: u32, kernel: u32, stride: u32, dilation: u32, padding: u32) -> Window {
    let side = Side::new(input, kernel, stride, dilation, padding);
    Window {
        rows: side,
        columns: side,
    }
}

fn windows() -> Vec<Window> {
    let mut windows = vec![
        square(56, 1, 1, 1, 0),
        square(56, 1, 2, 1, 0),
        square(28, 3, 1, 1, 1),
        square(28, 3, 1, 2, 2),
        square(29, 3, 2, 1, 1),
        square(14, 5, 3, 1, 2),
        square(32, 7, 2, 1, 3),
        square(8, 2, 2, 1, 0),
        square(7, 7, 1, 1, 0),
    ];
    // Padding after the last pixel only, and sides that differ.
    windows.push(Window {
        rows: Side {
            input: 28,
            output: 14,
            kernel: 3,
            stride: 2,
            dilation: 1,
            padding: 0,
        },
        columns: Side::new(9, 1, 1, 1, 0),
    });
    windows
}

fn epilogues() -> Vec<Epilogue> {
    let each = |activation| Epilogue {
        bias: true,
        residual: false,
        activation,
    };
    let mut epilogues: Vec<Epilogue> = Activation::ALL.map(each).into();
    epilogues.push(Epilogue::default());
    epilogues.push(Epilogue {
        bias: true,
        residual: true,
        activation: Activation::Relu,
    });
    epilogues.push(Epilogue {
        bias: false,
        residual: true,
        activation: Activation::None,
    });
    epilogues
}

/// Every operation for a tier, over shapes, epilogues and storages.
pub fn of(tier: Tier) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |half: bool, kernels: Vec<Kernel>| {
        cases.extend(
            kernels
                .into_iter()
                .map(|kernel| Case { kernel, tier, half }),
        );
    };
    convolutions(tier, &mut add);
    products(tier, &mut add);
    for storage in STORAGES {
        frozen(tier, storage, &mut add);
    }
    maps(tier, &mut add);
    back(tier, &mut add);
    steps(tier, &mut add);
    cases
}

/// Half precision is a feature of its own: phones have it, and software adapters.
const STORAGES: [Storage; 2] = [Storage::F32, Storage::F16];

fn convolutions(tier: Tier, add: &mut impl FnMut(bool, Vec<Kernel>)) {
    for storage in STORAGES {
        let half = storage == Storage::F16;
        for (turn, window) in windows().into_iter().enumerate() {
            // Half of the channels for each window, in turns: all in all every kind is met often.
            let channels = [
                (3, 32, 1),
                (64, 64, 1),
                (24, 10, 1),
                (512, 1000, 1),
                (32, 64, 4),
                (6, 4, 2),
                (1, 1, 1),
            ];
            for &(channels, out_channels, groups) in channels.iter().skip(turn % 2).step_by(2) {
                let epilogue = Epilogue::default();
                let conv = Conv {
                    batch: 2,
                    channels,
                    out_channels,
                    groups,
                    window,
                    epilogue,
                    storage,
                };
                add(half, vec![conv.kernel(tier)]);
                let batch = 2;
                let data = ConvDataGradient {
                    batch,
                    channels,
                    out_channels,
                    groups,
                    window,
                    epilogue,
                    storage,
                };
                add(half, data.kernels(tier));
                let weights = ConvWeightGradient {
                    batch,
                    channels,
                    out_channels,
                    groups,
                    window,
                };
                add(false, weights.kernels(tier));
            }
            for &channels in [1, 6, 32, 960].iter().skip(turn % 2).step_by(2) {
                let (batch, epilogue) = (3, Epilogue::default());
                let conv = Depthwise {
                    batch,
                    channels,
                    window,
                    epilogue,
                    storage,
                };
                add(half, vec![conv.kernel(tier)]);
                let data = DepthwiseDataGradient {
                    batch,
                    channels,
                    window,
                    epilogue,
                    storage,
                };
                add(half, data.kernels(tier));
                add(
                    false,
                    DepthwiseWeightGradient {
                        batch,
                        channels,
                        window,
                    }
                    .kernels(tier),
                );
            }
        }
        for epilogue in epilogues() {
            for channels in [8, 9] {
                let window = square(14, 3, 1, 1, 1);
                let conv = Conv {
                    batch: 1,
                    channels,
                    out_channels: channels,
                    groups: 1,
                    window,
                    epilogue,
                    storage,
                };
                add(half, vec![conv.kernel(tier)]);
                let conv = Depthwise {
                    batch: 1,
                    channels,
                    window,
                    epilogue,
                    storage,
                };
                add(half, vec![conv.kernel(tier)]);
                // Transposed convolutions: twice the size, a row and a column beyond the last window's reach.
                let side = Side {
                    input: 16,
                    output: 7,
                    kernel: 3,
                    stride: 2,
                    dilation: 1,
                    padding: 0,
                };
                let window = Window {
                    rows: side,
                    columns: side,
                };
                let conv = ConvDataGradient {
                    batch: 1,
                    channels,
                    out_channels: channels,
                    groups: 1,
                    window,
                    epilogue,
                    storage,
                };
                add(half, conv.kernels(tier));
                let conv = DepthwiseDataGradient {
                    batch: 1,
                    channels,
                    window,
                    epilogue,
                    storage,
                };
                add(half, conv.kernels(tier));
            }
        }
        // A batch of large maps has more workgroups than an axis takes.
        let window = square(224, 1, 1, 1, 0);
        let epilogue = Epilogue::default();
        let conv = Conv {
            batch: 128,
            channels: 4,
            out_channels: 4,
            groups: 1,
            window,
            epilogue,
            storage,
        };
        add(half, vec![conv.kernel(tier)]);
    }
}

fn products(tier: Tier, add: &mut impl FnMut(bool, Vec<Kernel>)) {
    add(false, vec![Peak::for_tier(tier).kernel(tier)]);
    for storage in STORAGES {
        for (batch, rows, depth, columns) in [
            (1, 1, 512, 1000),
            (1, 197, 768, 3072),
            (12, 197, 64, 197),
            (3, 5, 7, 9),
            (1, 4096, 4096, 4096),
        ] {
            for (turned_a, turned_b) in [(false, false), (true, false), (false, true), (true, true)]
            {
                let epilogue = Epilogue {
                    bias: true,
                    residual: false,
                    activation: Activation::Gelu,
                };
                let product = MatMul {
                    batch,
                    rows,
                    depth,
                    columns,
                    turned_a,
                    turned_b,
                    epilogue,
                    storage,
                };
                add(storage == Storage::F16, vec![product.kernel(tier)]);
            }
        }
    }
}

const ROWS: [(u32, u32); 5] = [(1, 1), (1, 1000), (197, 768), (100_000, 49), (70_000, 7)];

/// What frozen networks need beside products, in both precisions.
fn frozen(tier: Tier, storage: Storage, add: &mut impl FnMut(bool, Vec<Kernel>)) {
    let half = storage == Storage::F16;
    for (rows, columns) in ROWS {
        let softmax = Softmax {
            rows,
            columns,
            storage,
        };
        let norm = LayerNorm {
            rows,
            columns,
            epsilon: 1e-6,
            storage,
        };
        add(half, vec![softmax.kernel(tier), norm.kernel(tier)]);
    }
    for channels in [3, 64] {
        let window = square(112, 3, 2, 1, 1);
        add(
            half,
            vec![
                MaxPool {
                    batch: 2,
                    channels,
                    window,
                    storage,
                }
                .kernel(tier),
            ],
        );
        for count_include_pad in [false, true] {
            let pool = AvgPool {
                batch: 2,
                channels,
                window,
                count_include_pad,
                storage,
            };
            add(half, vec![pool.kernel(tier)]);
        }
        add(
            half,
            vec![
                GlobalAvgPool {
                    batch: 2,
                    pixels: 49,
                    channels,
                    storage,
                }
                .kernel(tier),
            ],
        );
        for change in [Change::Nothing, Change::Add, Change::Affine, Change::Gate] {
            for activation in Activation::ALL {
                let element = Elementwise {
                    batch: 2,
                    pixels: 49,
                    channels,
                    change,
                    activation,
                    storage,
                };
                add(half, vec![element.kernel(tier)]);
            }
        }
    }
    for (windows, tokens, heads, depth) in [
        (1, 197, 12, 64),
        (64, 49, 3, 32),
        (1, 5, 1, 4),
        (2, 50, 4, 80),
    ] {
        for bias in [false, true] {
            add(
                half,
                vec![
                    Attention {
                        windows,
                        tokens,
                        heads,
                        depth,
                        bias,
                        storage,
                    }
                    .kernel(tier),
                ],
            );
        }
    }
}

/// Ways back of what has one.
fn back(tier: Tier, add: &mut impl FnMut(bool, Vec<Kernel>)) {
    for activation in Activation::ALL {
        for count in [5, 1024] {
            add(
                false,
                vec![ActivationGradient { count, activation }.kernel(tier)],
            );
        }
    }
    for channels in [3, 64] {
        for largest in [false, true] {
            let pool = PoolGradient {
                batch: 2,
                channels,
                window: square(29, 3, 2, 1, 1),
                largest,
            };
            add(false, vec![pool.kernel(tier)]);
        }
    }
    for bias in [false, true] {
        let norm = FrozenNorm {
            channels: 96,
            epsilon: 1e-5,
            bias,
        };
        add(false, vec![norm.kernel(tier)]);
    }
    for (rows, columns) in ROWS {
        let norm = LayerNormGradient {
            rows,
            columns,
            epsilon: 1e-6,
        };
        add(
            false,
            vec![
                SoftmaxGradient { rows, columns }.kernel(tier),
                norm.of_input(tier),
            ],
        );
        add(false, norm.of_parameters(tier));
    }
}

fn maps(tier: Tier, add: &mut impl FnMut(bool, Vec<Kernel>)) {
    for (rows, columns) in ROWS {
        add(false, ColumnSums { rows, columns }.kernels(tier));
    }
    for channels in [5, 64] {
        for big in [false, true] {
            let epilogue = Epilogue {
                bias: true,
                residual: true,
                activation: Activation::Silu,
            };
            let (rows, columns) = (Side::new(7, 3, 1, 1, 1), Side::new(30, 3, 1, 1, 0));
            let window = Window { rows, columns };
            let out_channels = 2 * channels;
            let conv = Winograd {
                batch: 2,
                channels,
                out_channels,
                window,
                big,
                epilogue,
            };
            add(false, vec![conv.weights(tier), conv.turned_weights(tier)]);
            add(false, conv.kernels(tier));
        }
    }
    for (rows, channels) in [(1, 3), (25_088, 64), (392, 1280)] {
        let epsilon = 1e-5;
        for (residual, activation) in [(false, Activation::None), (true, Activation::Relu6)] {
            let norm = BatchNormTrain {
                rows,
                channels,
                epsilon,
                share: residual.then_some(0.1),
                residual,
                activation,
            };
            add(false, norm.kernels(tier));
        }
        for activation in Activation::ALL {
            let gradient = BatchNormGradient {
                rows,
                channels,
                activation,
            };
            add(false, gradient.kernels(tier));
        }
        for (images, centred) in [(1, true), (2, false)] {
            let products = ChannelProducts {
                images,
                rows,
                channels,
                centred,
            };
            add(false, products.kernels(tier));
        }
    }
    for (images, rows, channels, groups) in [(1, 6, 3, 1), (2, 10_000, 256, 32), (3, 49, 12, 2)] {
        let gradient = GroupNormGradient {
            images,
            rows,
            channels,
            groups,
        };
        add(false, gradient.kernels(tier));
        for storage in STORAGES {
            for activation in [Activation::None, Activation::Relu] {
                let norm = GroupNorm {
                    images,
                    rows,
                    channels,
                    groups,
                    epsilon: 1e-5,
                    activation,
                    storage,
                };
                add(storage == Storage::F16, norm.kernels(tier));
            }
        }
    }
    for (height, width, out_height, out_width) in [(7, 7, 28, 28), (1, 9, 4, 1), (33, 20, 5, 40)] {
        for channels in [3, 64] {
            for filter in Filter::ALL {
                let (input, output) = ([height, width], [out_height, out_width]);
                for storage in STORAGES {
                    let resize = Resize {
                        batch: 2,
                        channels,
                        input,
                        output,
                        filter,
                        storage,
                    };
                    add(storage == Storage::F16, vec![resize.kernel(tier)]);
                }
                let gradient = ResizeGradient {
                    batch: 2,
                    channels,
                    input,
                    output,
                    filter,
                };
                add(false, vec![gradient.kernel(tier)]);
            }
        }
    }
    let pictures = Pictures {
        batch: 64,
        height: 224,
        width: 224,
    };
    add(
        false,
        vec![
            pictures.resample(true, tier),
            pictures.resample(false, tier),
            pictures.histogram(tier),
            pictures.tones(tier),
            pictures.repaint(tier),
            pictures.warp(tier),
            pictures.normalise(tier),
        ],
    );
    for (bicubic, planes) in [(false, false), (true, true)] {
        let (mean, std) = ([0.5; 3], [0.25; 3]);
        let pixels = Pixels {
            batch: 3,
            height: 224,
            width: 224,
            bicubic,
            planes,
            colours: planes,
            mean,
            std,
        };
        add(false, vec![pixels.kernel(tier)]);
    }
}

/// What moves numbers in training.
fn steps(tier: Tier, add: &mut impl FnMut(bool, Vec<Kernel>)) {
    let every_term = [
        Term::Each(0),
        Term::Each(1),
        Term::One(2),
        Term::Sum(0, 1),
        Term::Difference(3, 2),
        Term::Product(4, 0),
        Term::Quotient(5, 1),
        Term::Ratio(6, 1),
        Term::Root(7),
        Term::Times(8, 0),
        Term::Plus(9, 1),
        Term::Under(10, 2),
        Term::AtMost(11, 3),
    ];
    let formula = Formula {
        terms: every_term.to_vec(),
        buffers: 3,
        numbers: 4,
        results: vec![(0, 12), (1, 8)],
    };
    for by_four in [false, true] {
        add(false, vec![formula.kernel(by_four)]);
    }
    for count in [1, 96, 1_000_001, 38_597_376] {
        add(false, vec![SquareSums { count }.kernel(tier)]);
    }
}
