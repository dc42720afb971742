//! What our kernels need to know of the adapter behind a tensor, and of its memory.

use burn::tensor::{DType, Device, Shape};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::{empty_device_contiguous_dtype, full_device_dtype};
use burn_cubecl::tensor::CubeTensor;
use cubecl::features::Plane;
use cubecl::ir::{ElemType, FloatKind, IntKind};
use cubecl::prelude::InputScalar;
use rekindle_shaders::{Storage, Tier};

/// Whether a device is the processor.
pub(super) fn is_processor(device: &Device) -> bool {
    *device == Device::flex()
}

/// Whether this tensor's device runs our WGSL texts.
pub(super) fn runs_wgsl(tensor: &CubeTensor) -> bool {
    super::are_switched_on() && tensor.client.name() == "wgpu<wgsl>"
}

/// The class of adapter that kernels are tiled for. It follows from what the adapter says of itself and
/// never changes.
pub(super) fn tier(tensor: &CubeTensor) -> Tier {
    #[cfg(test)]
    if let Some(tier) = PRETENDED.get() {
        return tier;
    }
    let properties = tensor.client.properties();
    // A software adapter is no card.
    let is_software = properties.identity.physical.is_none();
    let half = properties.supports_type(ElemType::Float(FloatKind::F16));
    let subgroups = properties.features.plane.contains(Plane::Ops);
    let shared = properties.hardware.max_shared_memory_size;
    Tier::of(is_software, shared, half && subgroups)
}

#[cfg(test)]
thread_local! {
    static PRETENDED: std::cell::Cell<Option<Tier>> = const { std::cell::Cell::new(None) };
}

/// Makes this thread's kernels those of another class of adapters: any adapter runs them all.
#[cfg(test)]
pub(super) fn pretend(tier: Tier) {
    PRETENDED.set(Some(tier));
}

/// How a tensor's numbers are stored.
pub(super) fn storage(tensor: &CubeTensor) -> Storage {
    match tensor.dtype {
        DType::F16 => Storage::F16,
        _ => Storage::F32,
    }
}

/// An output on the device of `like`, stored as it is.
pub(super) fn output<const D: usize>(like: &CubeTensor, shape: [usize; D]) -> CubeTensor {
    output_of(like, shape, like.dtype)
}

/// An output on the device of `like`, of another type. Tests find what a kernel forgets to write: it is not a
/// number.
pub(super) fn output_of<const D: usize>(
    like: &CubeTensor,
    shape: [usize; D],
    dtype: DType,
) -> CubeTensor {
    let (client, device) = (like.client.clone(), like.device.clone());
    let shape = Shape::new(shape);
    if cfg!(test) {
        let poison = match dtype {
            DType::I32 => InputScalar::new(0x5a5a_5a5a_u32, ElemType::Int(IntKind::I32)),
            DType::F16 => InputScalar::new(f32::NAN, ElemType::Float(FloatKind::F16)),
            _ => InputScalar::new(f32::NAN, ElemType::Float(FloatKind::F32)),
        };
        return full_device_dtype(client, shape, device, poison, dtype);
    }
    empty_device_contiguous_dtype(client, device, shape, dtype)
}

/// The same tensor with its axes in another order; its memory stays.
pub(super) fn turned<const D: usize>(mut tensor: CubeTensor, order: [usize; D]) -> CubeTensor {
    let shape = order.map(|axis| tensor.meta.shape()[axis]);
    let strides = order.map(|axis| tensor.meta.strides()[axis]);
    tensor.meta.shape = Shape::new(shape);
    tensor.meta.strides = strides.into();
    tensor
}

/// The same numbers with the axes in this order in memory too.
pub(super) fn laid_out<const D: usize>(tensor: CubeTensor, order: [usize; D]) -> CubeTensor {
    into_contiguous(turned(tensor, order))
}
