//! Graphics adapters through WebGPU: which there are, what they say of themselves, and opening one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::wgpu::wgpu;
use burn::tensor::{Device, DeviceKind};

use super::error::DeviceError;
use super::opened::{DeviceClass, DeviceInfo, OpenDevice, is_processor};
use super::preference::Preference;
use super::probe::{AdapterInfo, AdapterKind, Limits, Tier};
use super::self_test::self_test;

/// Dispatches of a submission. Enough for a batch through most networks, so that it is handed over once,
/// and few enough that a training step begins to run while it is being written down.
const DISPATCHES: usize = 256;

/// Opens the adapter that a preference means, and makes sure that it computes correctly; `None` is the
/// processor.
pub(super) async fn open(preference: Preference) -> Result<Option<OpenDevice>, DeviceError> {
    let Some(kind) = choose(preference).await? else {
        return Ok(None);
    };
    if let Some(device) = opened(|all| {
        all.iter()
            .find(|one| one.kind == kind)
            .map(|one| one.device.clone())
    }) {
        return Ok(Some(device));
    }
    let (device, setup) = Device::wgpu_options()
        .device_kind(kind.clone())
        .tasks_max(DISPATCHES)
        .init_with_setup_async()
        .await
        .map_err(|error| DeviceError::Open(error.to_string()))?;
    let is_full = Arc::new(AtomicBool::new(false));
    watch(&setup.device, &is_full);
    let adapter = AdapterInfo::of(&setup.adapter);
    let open = OpenDevice {
        device,
        info: DeviceInfo {
            kind: match adapter.kind {
                AdapterKind::Software => DeviceClass::Software,
                _ => DeviceClass::Gpu,
            },
            name: adapter.name.clone(),
            adapter: Some(adapter),
        },
        graphics: Some((setup.device, setup.queue)),
    };
    self_test(&open).await?.verdict(&open.info.name)?;
    opened(|all| {
        all.push(Opened {
            kind,
            device: open.clone(),
            is_full,
        });
    });
    Ok(Some(open))
}

/// An adapter that was opened.
struct Opened {
    kind: DeviceKind,
    device: OpenDevice,
    /// Whether it had no memory for something since that was last asked.
    is_full: Arc<AtomicBool>,
}

/// Takes note of a device that has no memory left. wgpu hands out a buffer all the same, which nothing can be done with,
/// and tells whoever listens; CubeCL ends the program then. All that fails behind it fails for the same reason.
#[cfg(not(target_family = "wasm"))]
fn watch(device: &wgpu::Device, is_full: &Arc<AtomicBool>) {
    let is_full = is_full.clone();
    device.on_uncaptured_error(Arc::new(move |error| match error {
        wgpu::Error::OutOfMemory { .. } => is_full.store(true, Ordering::SeqCst),
        _ if is_full.load(Ordering::SeqCst) => {}
        // A device that is lost says so where its answers are read.
        error if error.to_string().contains("lost") => {}
        error => panic!("wgpu error: {error}"),
    }));
}

/// A page has its own ways.
#[cfg(target_family = "wasm")]
fn watch(_: &wgpu::Device, _: &Arc<AtomicBool>) {}

/// Whether an adapter had no memory for something since it [recovered](recover): what it computed since means nothing.
pub fn ran_out(device: &Device) -> bool {
    opened(|all| {
        let one = all.iter().find(|one| one.device.device == *device);
        one.is_some_and(|one| one.is_full.load(Ordering::SeqCst))
    })
}

/// Gives back what nobody uses of an adapter's memory, so that it can be asked for again.
pub fn recover(device: &Device) {
    if ran_out(device) {
        device.memory_cleanup();
    }
    opened(|all| {
        let these = all.iter().filter(|one| one.device.device == *device);
        these.for_each(|one| one.is_full.store(false, Ordering::SeqCst));
    });
}

/// Whether a device works in the machine's memory: the processor, and adapters without memory of their own.
pub fn shares_memory(device: &Device) -> bool {
    let kind = opened(|all| {
        let one = all.iter().find(|one| one.device.device == *device)?;
        one.device.info.adapter.as_ref().map(|adapter| adapter.kind)
    });
    match kind {
        Some(kind) => matches!(kind, AdapterKind::Software | AdapterKind::Integrated),
        None => is_processor(device),
    }
}

/// Burn registers each adapter once a process: what was opened is kept to be handed out again.
fn opened<R>(act: impl FnOnce(&mut Vec<Opened>) -> R) -> R {
    static OPENED: Mutex<Vec<Opened>> = Mutex::new(Vec::new());
    act(&mut OPENED.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The adapter that a preference means; `None` is the processor.
#[cfg(not(target_family = "wasm"))]
async fn choose(preference: Preference) -> Result<Option<DeviceKind>, DeviceError> {
    if preference == Preference::Cpu {
        return Ok(None);
    }
    let found = adapters().await;
    let not_found = |wanted: &str| DeviceError::NotFound {
        wanted: wanted.to_owned(),
        found: match found.len() {
            0 => "no graphics adapter at all".to_owned(),
            _ => found
                .iter()
                .map(|a| a.name.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        },
    };
    // Number the real ones best first; Burn counts each sort by itself.
    let mut gpus = Vec::new();
    for sort in [
        AdapterKind::Discrete,
        AdapterKind::Integrated,
        AdapterKind::Virtual,
    ] {
        let count = found.iter().filter(|a| a.kind == sort).count();
        gpus.extend((0..count).map(|n| match sort {
            AdapterKind::Discrete => DeviceKind::DiscreteGpu(n),
            AdapterKind::Integrated => DeviceKind::IntegratedGpu(n),
            _ => DeviceKind::VirtualGpu(n),
        }));
    }
    match preference {
        Preference::Auto | Preference::Cpu => Ok(gpus.into_iter().next()),
        Preference::Gpu(number) => {
            let wanted = number.map_or("GPU".to_owned(), |n| format!("GPU number {n}"));
            let gpu = gpus.into_iter().nth(number.unwrap_or(0));
            gpu.map(Some).ok_or_else(|| not_found(&wanted))
        }
        Preference::Software => found
            .iter()
            .any(|a| a.kind == AdapterKind::Software)
            .then_some(Some(DeviceKind::Cpu))
            .ok_or_else(|| not_found("software adapter")),
    }
}

/// A page cannot list adapters: the shell asks the browser whether there is a usable one, and says
/// `Gpu` or `Cpu`.
#[cfg(target_family = "wasm")]
async fn choose(preference: Preference) -> Result<Option<DeviceKind>, DeviceError> {
    Ok(match preference {
        Preference::Auto | Preference::Cpu => None,
        Preference::Gpu(_) | Preference::Software => Some(DeviceKind::DefaultDevice),
    })
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
            tier: Tier::of(
                kind == AdapterKind::Software,
                limits.workgroup_memory as usize,
                shader_f16 && subgroups,
            ),
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
