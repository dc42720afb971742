//! How the numbers of frozen networks are kept on graphics adapters.

#[cfg(feature = "burn")]
use burn::tensor::DType;
use serde::Serialize;

/// How weights and feature maps are stored. Sums are taken in 32 bits either way, and so is training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits a number.
    #[default]
    Full,
    /// 16 bits a number: half the memory and half the bytes to move, three decimal digits. For adapters with
    /// WebGPU's `shader-f16`.
    Half,
}

#[cfg(feature = "burn")]
impl Precision {
    pub(super) fn dtype(self) -> DType {
        match self {
            Self::Full => DType::F32,
            Self::Half => DType::F16,
        }
    }
}
