//! What is solved for, and when a solve is over.

use serde::{Deserialize, Serialize};

use crate::class_weights::ClassWeights;

/// What the penalty takes for the size of a feature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scaling {
    /// Features as they are: scikit-learn's regression without a scaler.
    None,
    /// One scale for all features, the root of their mean variance. The default, because it gives
    /// `C` one meaning: the features of two backbones may differ in size by ten (EfficientNet-Lite0
    /// 0.36, SqueezeNet 1.1 3.3 on the sample photos, where unscaled the best `C` are 10 and 0.1),
    /// yet after it `C = 1` is near the best of each. Unlike [`Scaling::PerFeature`] it leaves the
    /// features' relative sizes alone, which carry information.
    #[default]
    Global,
    /// Each feature's own standard deviation, as after scikit-learn's `StandardScaler`. Lifts weak
    /// features to the rank of strong ones; a constant feature keeps the scale 1.
    PerFeature,
}

/// What to solve for, and when to stop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogisticOptions {
    /// Inverse strength of the penalty; above zero. Larger fits the training images more closely.
    pub c: f64,
    /// What the penalty takes for the size of a feature.
    pub scaling: Scaling,
    /// How much each class counts.
    pub class_weights: ClassWeights,
    /// When to stop.
    pub stop: StopOptions,
}

/// When a solve is over.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StopOptions {
    /// Converged after an iteration that was expected to lower the objective by at most this share of
    /// it. What is left to gain then is less still.
    pub tolerance: f64,
    /// Iterations after which to give up.
    pub max_iterations: usize,
}

impl Default for StopOptions {
    fn default() -> Self {
        Self {
            tolerance: 1e-10,
            max_iterations: 200,
        }
    }
}

impl Default for LogisticOptions {
    fn default() -> Self {
        Self {
            c: 1.0,
            scaling: Scaling::default(),
            class_weights: ClassWeights::None,
            stop: StopOptions::default(),
        }
    }
}
