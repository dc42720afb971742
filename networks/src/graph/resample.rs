//! Which pixels a resized map is made of.

/// How maps are resized inside a network: as `torch.nn.functional.interpolate(size=…)` does it, without
/// antialiasing, also where maps shrink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resample {
    /// The pixel at `⌊place · input / output⌋`, computed in `f32` and rounded as PyTorch rounds it.
    Nearest,
    /// The four pixels around a place, each the more the nearer it is; edges of maps, not centres of their outer
    /// pixels, fall together (`align_corners=False`).
    Bilinear,
}

impl Resample {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Nearest, Self::Bilinear];

    /// PyTorch's name for it, the `mode` of `interpolate`.
    pub const fn torch_name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Bilinear => "bilinear",
        }
    }
}
