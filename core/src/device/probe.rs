//! What a graphics adapter says of itself.

pub use rekindle_shaders::Tier;
use serde::{Serialize, Serializer};

/// A graphics adapter.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AdapterInfo {
    /// Its name as the driver gives it.
    pub name: String,
    /// What sort of thing it is.
    pub kind: AdapterKind,
    /// The graphics interface it is reached through: Vulkan, Metal, Dx12, Gl, BrowserWebGpu.
    pub api: String,
    /// The driver and its version.
    pub driver: String,
    /// What fits.
    pub limits: Limits,
    /// 16-bit floats in shaders.
    pub shader_f16: bool,
    /// Operations across a subgroup.
    pub subgroups: bool,
    /// Time stamps on the adapter's own clock.
    pub timestamps: bool,
    /// The class of adapter that kernels are tiled for.
    #[serde(serialize_with = "by_name")]
    pub tier: Tier,
}

/// The sorts of adapter there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AdapterKind {
    /// A card with its own memory.
    Discrete,
    /// Part of the processor, sharing its memory.
    Integrated,
    /// A real one, seen through a virtual machine.
    Virtual,
    /// Software on the processor.
    Software,
    /// The driver does not say; browsers never do.
    Unknown,
}

/// The limits that matter to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Bytes of the largest buffer.
    pub max_buffer: u64,
    /// Bytes that one shader binding may see.
    pub max_binding: u64,
    /// Bytes of memory that a workgroup shares.
    pub workgroup_memory: u32,
    /// Threads of a workgroup.
    pub workgroup_threads: u32,
}

fn by_name<S: Serializer>(tier: &Tier, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(tier.name())
}
