//! What compiled networks do with tokens: layer norm and attention.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Slice, Tensor};
use burn_cubecl::Cube;
use burn_cubecl::kernel::into_contiguous;
use rekindle_shaders::{Attention, LayerNorm};

use super::adapter::{output, storage, tier};
use super::launch::{launch, made_one};

/// `(x − mean) / √(variance + epsilon) · gamma + beta` over the channels of each position.
///
/// # Shapes
///
/// - x: `[N, H, W, C]`
/// - gamma, beta: `[C]`
pub fn layer_norm(x: Tensor<4>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f64) -> Tensor<4> {
    let (gamma, beta) = (gamma.into_dispatch(), beta.into_dispatch());
    let x = x.into_dispatch();
    Tensor::from_dispatch(<Dispatch as TokenOps>::normalise_rows(
        x, gamma, beta, epsilon,
    ))
}

/// `softmax(q·kᵀ/√depth + bias)·v` within each sequence.
///
/// # Shapes
///
/// - packed: `[sequences, tokens, 3·heads·depth]`, all queries, all keys, all values
/// - bias: `[heads, tokens, tokens]`, zeros for none
/// - returns: `[sequences, tokens, heads·depth]`
pub fn attention(packed: Tensor<3>, heads: usize, bias: Option<Tensor<3>>) -> Tensor<3> {
    let packed = packed.into_dispatch();
    Tensor::from_dispatch(match bias {
        Some(bias) => Dispatch::attend_biased(packed, bias.into_dispatch(), heads),
        None => Dispatch::attend(packed, heads),
    })
}

/// The operations, for each backend. Their defaults are the processor's.
#[backend_extension(Cube, Flex)]
pub(crate) trait TokenOps: Backend {
    fn normalise_rows(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        Self::layer_norm(x, gamma, Some(beta), epsilon)
    }

    fn attend(packed: FloatTensor<Self>, heads: usize) -> FloatTensor<Self> {
        in_steps::<Self>(packed, None, heads)
    }

    fn attend_biased(
        packed: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self> {
        in_steps::<Self>(packed, Some(bias), heads)
    }
}

impl TokenOps for Flex {}

fn in_steps<B: Backend>(
    packed: FloatTensor<B>,
    bias: Option<FloatTensor<B>>,
    heads: usize,
) -> FloatTensor<B> {
    let [sequences, tokens, width] = packed.shape().dims();
    let depth = width / 3 / heads;
    let packed = B::float_reshape(packed, Shape::new([sequences, tokens, 3, heads, depth]));
    let packed = B::float_permute(packed, &[2, 0, 3, 1, 4]);
    let [q, k, v] = [0, 1, 2].map(|part: usize| {
        let slice = B::float_slice(packed.clone(), &[Slice::from(part..part + 1)]);
        B::float_reshape(slice, Shape::new([sequences, heads, tokens, depth]))
    });
    let q = B::float_mul_scalar(q, (depth as f32).powf(-0.5).into());
    let scores = B::float_matmul(q, B::float_swap_dims(k, 2, 3));
    let scores = match bias {
        Some(bias) => {
            let bias = B::float_reshape(bias, Shape::new([1, heads, tokens, tokens]));
            B::float_add(scores, bias)
        }
        None => scores,
    };
    let mixed = B::float_matmul(B::softmax(scores, 3), v);
    let mixed = B::float_swap_dims(mixed, 1, 2);
    B::float_reshape(mixed, Shape::new([sequences, tokens, heads * depth]))
}

impl TokenOps for Cube {
    fn normalise_rows(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let shape: [usize; 4] = x.shape().dims();
        let operation = LayerNorm {
            rows: (shape[0] * shape[1] * shape[2]) as u32,
            columns: shape[3] as u32,
            epsilon: epsilon as f32,
            storage: storage(&x),
        };
        let kernel = made_one(&operation, tier(&x), LayerNorm::kernel);
        let result = output(&x, shape);
        launch(&kernel, &[&into_contiguous(x), &gamma, &beta, &result]);
        result
    }

    fn attend(packed: FloatTensor<Self>, heads: usize) -> FloatTensor<Self> {
        in_one_pass(packed, None, heads)
    }

    fn attend_biased(
        packed: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self> {
        in_one_pass(packed, Some(bias), heads)
    }
}

fn in_one_pass(
    packed: FloatTensor<Cube>,
    bias: Option<FloatTensor<Cube>>,
    heads: usize,
) -> FloatTensor<Cube> {
    let [sequences, tokens, width] = packed.shape().dims();
    let depth = width / 3 / heads;
    if !depth.is_multiple_of(4) {
        return in_steps::<Cube>(packed, bias, heads);
    }
    let operation = Attention {
        windows: sequences as u32,
        tokens: tokens as u32,
        heads: heads as u32,
        depth: depth as u32,
        bias: bias.is_some(),
        storage: storage(&packed),
    };
    let kernel = made_one(&operation, tier(&packed), Attention::kernel);
    let result = output(&packed, [sequences, tokens, heads * depth]);
    let packed = into_contiguous(packed);
    let bias = bias.map(into_contiguous);
    let mut buffers = vec![&packed];
    buffers.extend(&bias);
    buffers.push(&result);
    launch(&kernel, &buffers);
    result
}
