//! What a graphics adapter says of itself.

use burn::tensor::wgpu::wgpu;
use serde::Serialize;

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
    /// How capable it is, in one word.
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

/// A capability tier: what kernels may count on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Software: wants register tiles and no workgroup memory.
    Software,
    /// WebGPU's default limits: 256 threads, 16 KiB shared, 128 MiB bindings. Phones.
    Baseline,
    /// More room than that, as integrated and desktop GPUs have.
    Roomy,
    /// Room, 16-bit floats and subgroups.
    Full,
}

impl AdapterInfo {
    /// Asks an adapter.
    pub fn of(adapter: &wgpu::Adapter) -> Self {
        let info = adapter.get_info();
        let limits = adapter.limits();
        let features = adapter.features();
        let kind = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
            wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
            wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
            wgpu::DeviceType::Cpu => AdapterKind::Software,
            wgpu::DeviceType::Other => AdapterKind::Unknown,
        };
        let limits = Limits {
            max_buffer: limits.max_buffer_size,
            max_binding: limits.max_storage_buffer_binding_size,
            workgroup_memory: limits.max_compute_workgroup_storage_size,
            workgroup_threads: limits.max_compute_invocations_per_workgroup,
        };
        let shader_f16 = features.contains(wgpu::Features::SHADER_F16);
        let subgroups = features.contains(wgpu::Features::SUBGROUP);
        Self {
            name: if info.name.is_empty() {
                "WebGPU adapter".to_owned()
            } else {
                info.name
            },
            kind,
            api: format!("{:?}", info.backend),
            driver: format!("{} {}", info.driver, info.driver_info)
                .trim()
                .to_owned(),
            limits,
            shader_f16,
            subgroups,
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            tier: Tier::of(kind, limits, shader_f16 && subgroups),
        }
    }
}

impl Tier {
    fn of(kind: AdapterKind, limits: Limits, half_and_subgroups: bool) -> Self {
        let roomy = limits.workgroup_memory >= 32 << 10
            && limits.workgroup_threads >= 256
            && limits.max_binding >= 1 << 30;
        match (kind, roomy, half_and_subgroups) {
            (AdapterKind::Software, _, _) => Self::Software,
            (_, true, true) => Self::Full,
            (_, true, false) => Self::Roomy,
            _ => Self::Baseline,
        }
    }
}

/// The adapters of this machine, through the graphics interface that Burn would choose: the first
/// that has a real GPU, otherwise the first that has anything.
#[cfg(not(target_family = "wasm"))]
pub async fn adapters() -> Vec<AdapterInfo> {
    let interfaces = if cfg!(target_os = "macos") {
        vec![wgpu::Backends::METAL]
    } else {
        vec![
            wgpu::Backends::VULKAN,
            wgpu::Backends::DX12,
            wgpu::Backends::GL,
        ]
    };
    let mut fallback = Vec::new();
    for backends in interfaces {
        if !wgpu::Instance::enabled_backend_features().intersects(backends) {
            continue;
        }
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends,
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let found: Vec<_> = instance
            .enumerate_adapters(backends)
            .await
            .iter()
            .map(AdapterInfo::of)
            .collect();
        if found.iter().any(|a| a.kind != AdapterKind::Software) {
            return found;
        }
        if fallback.is_empty() {
            fallback = found;
        }
    }
    fallback
}
