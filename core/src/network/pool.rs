//! From what a backbone puts out to one feature vector per image.

use burn::tensor::Tensor;

use super::Activation;

/// Pools an activation into features: maps by their global average, token sequences by their class
/// token, as torchvision's classifiers do. Feature vectors are what they are.
///
/// # Shapes
///
/// - returns: `[N, features]`
pub fn pool(activation: Activation) -> Tensor<2> {
    match activation {
        Activation::Map(map) => global_average(map),
        Activation::Tokens(tokens) => {
            let [n, _, width] = tokens.dims();
            tokens.narrow(1, 0, 1).reshape([n, width])
        }
        Activation::Features(features) => features,
    }
}

/// The mean over each map.
///
/// # Shapes
///
/// - map: `[N, C, H, W]`
/// - returns: `[N, C]`
pub fn global_average(map: Tensor<4>) -> Tensor<2> {
    let [n, channels, height, width] = map.dims();
    map.reshape([n, channels, height * width])
        .mean_dim(2)
        .reshape([n, channels])
}
