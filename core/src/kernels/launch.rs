//! Launching WGSL texts through CubeCL.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use burn_cubecl::template::{KernelSource, SourceKernel, SourceTemplate};
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::{CubeCount, CubeDim, ExecutionMode, KernelId};
use cubecl::server::{KernelArguments, MetadataBindingInfo};
use rekindle_shaders::{Kernel, Tier};

use super::watch::announce;

/// WGSL as CubeCL wants to see it.
struct Wgsl(Arc<Kernel>);

impl KernelSource for Wgsl {
    fn source(&self) -> SourceTemplate {
        SourceTemplate::new(self.0.source.clone())
    }

    fn id(&self) -> KernelId {
        // Equal digests, equal texts. Every loop of ours ends and no index leaves its buffer (the tests
        // poison memory to find out): the compiler need not count and compare.
        KernelId::new::<Self>()
            .info(self.0.digest)
            .mode(ExecutionMode::Unchecked)
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}

/// Texts that were made before, by what they were made for.
static MADE: LazyLock<Mutex<HashMap<String, Made>>> = LazyLock::new(Mutex::default);

type Made = Arc<[Arc<Kernel>]>;

/// The kernels of an operation. Putting a text together takes longer than a graphics adapter needs for a
/// small layer, so it is done once for each operation and class of adapter. `O` writes down all it is made
/// of.
pub(super) fn made<O: Debug>(
    operation: &O,
    tier: Tier,
    make: impl FnOnce(&O, Tier) -> Vec<Kernel>,
) -> Made {
    let key = format!("{tier:?} {operation:?}");
    let mut known = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    known
        .entry(key)
        .or_insert_with(|| make(operation, tier).into_iter().map(Arc::new).collect())
        .clone()
}

/// The kernel of an operation that takes one; see [`made`].
pub(super) fn made_one<O: Debug>(
    operation: &O,
    tier: Tier,
    make: impl FnOnce(&O, Tier) -> Kernel,
) -> Arc<Kernel> {
    made(operation, tier, |operation, tier| {
        vec![make(operation, tier)]
    })[0]
        .clone()
}

/// Runs a kernel on buffers in binding order.
pub(super) fn launch(kernel: &Arc<Kernel>, buffers: &[&CubeTensor]) {
    launch_on(kernel, kernel.groups, &kernel.sizes, buffers);
}

/// The same with other workgroups and sizes than the kernel was made with.
pub(super) fn launch_on(
    kernel: &Arc<Kernel>,
    groups: [u32; 3],
    sizes: &[u32],
    buffers: &[&CubeTensor],
) {
    let Some(first) = buffers.first() else { return };
    debug_assert_eq!(buffers.len(), kernel.buffers as usize, "{}", kernel.name);
    debug_assert_eq!(sizes.len(), kernel.sizes.len(), "{}", kernel.name);
    let [x, y, z] = groups;
    if x * y * z == 0 {
        return;
    }
    let numbers =
        |tensor: &&CubeTensor| (tensor.meta.shape().num_elements() * tensor.dtype.size()) as u64;
    announce(&kernel.name, buffers.iter().map(numbers).sum());
    let [width, height, depth] = kernel.workgroup;
    let source = SourceKernel::new(Wgsl(kernel.clone()), CubeDim::new_3d(width, height, depth));
    let bindings = buffers
        .iter()
        .map(|tensor| tensor.handle.clone().binding())
        .collect();
    let sizes = sizes.chunks(2).map(|pair| {
        let high = pair.get(1).copied().unwrap_or_default();
        u64::from(pair[0]) | u64::from(high) << 32
    });
    first.client.launch(
        Box::new(source),
        CubeCount::Static(x, y, z),
        KernelArguments::new()
            .with_buffers(bindings)
            .with_info(MetadataBindingInfo::custom(sizes.collect())),
    );
}
