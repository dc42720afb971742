//! What is handed out: a text with its launch, for a class of adapters.

/// What an adapter can do, in the classes that kernels are tiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tier {
    /// A CPU that emulates a GPU (lavapipe, SwiftShader): tiles in registers, no workgroup memory.
    Software,
    /// WebGPU's default limits, phones: 256 invocations and 16 KiB of workgroup memory.
    Baseline,
    /// 32 KiB of workgroup memory: desktops and integrated GPUs.
    Roomy,
    /// As `Roomy`, with half-precision floats and subgroups.
    Full,
}

impl Tier {
    /// Every tier, the smallest first.
    pub const ALL: [Self; 4] = [Self::Software, Self::Baseline, Self::Roomy, Self::Full];

    /// The class of an adapter, by what it says of itself: bytes of memory that a workgroup shares, and
    /// whether it has both half-precision floats and subgroups.
    pub fn of(is_software: bool, workgroup_memory: usize, has_half_and_subgroups: bool) -> Self {
        match workgroup_memory >= 32 << 10 {
            _ if is_software => Self::Software,
            true if has_half_and_subgroups => Self::Full,
            true => Self::Roomy,
            false => Self::Baseline,
        }
    }

    /// One word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Software => "software",
            Self::Baseline => "baseline",
            Self::Roomy => "roomy",
            Self::Full => "full",
        }
    }
}

/// How feature maps and weights lie in memory. Sums are always taken in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Storage {
    /// Four bytes a number.
    #[default]
    F32,
    /// Two bytes a number; only adapters with `shader-f16` run such texts.
    F16,
}

/// A compute shader for one shape (or for all of its form, if it has `sizes`), and how it is dispatched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// What it does, for people.
    pub name: String,
    /// Of the text: equal digests, equal texts.
    pub digest: u64,
    /// The WGSL text; its entry point is `main`.
    pub source: String,
    /// Invocations of a workgroup, as the text says.
    pub workgroup: [u32; 3],
    /// Workgroups to dispatch, at most 65535 along each axis.
    pub groups: [u32; 3],
    /// Storage buffers it binds in group 0, numbered from 0.
    pub buffers: u32,
    /// If there are any: a buffer of these numbers is bound (as a uniform) after the others.
    pub sizes: Vec<u32>,
}
