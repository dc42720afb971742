//! Launching WGSL texts through CubeCL.

use burn_cubecl::template::{KernelSource, SourceKernel, SourceTemplate};
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::{CubeCount, CubeDim, KernelId};
use cubecl::server::KernelArguments;
use rekindle_shaders::{Kernel, Shader};

/// WGSL as CubeCL wants to see it.
struct Wgsl {
    name: String,
    source: String,
}

impl KernelSource for Wgsl {
    fn source(&self) -> SourceTemplate {
        SourceTemplate::new(self.source.clone())
    }

    fn id(&self) -> KernelId {
        // Equal names, equal texts.
        KernelId::new::<Self>().info(self.name.clone())
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}

/// Runs a kernel on buffers in binding order.
pub(super) fn launch(kernel: &Kernel, buffers: &[&CubeTensor]) {
    let Some(first) = buffers.first() else { return };
    debug_assert_eq!(buffers.len(), kernel.buffers as usize, "{}", kernel.name);
    let [x, y, z] = kernel.groups;
    if x * y * z == 0 {
        return;
    }
    let [width, height, depth] = kernel.workgroup;
    let source = SourceKernel::new(
        Wgsl {
            name: kernel.name.clone(),
            source: kernel.source.clone(),
        },
        CubeDim::new_3d(width, height, depth),
    );
    let bindings = buffers
        .iter()
        .map(|tensor| tensor.handle.clone().binding())
        .collect();
    first.client.launch(
        Box::new(source),
        CubeCount::Static(x, y, z),
        KernelArguments::new().with_buffers(bindings),
    );
}

/// Runs a shader that is not specialised for a shape, with one thread for each of `threads`.
pub(super) fn launch_threads(shader: Shader, threads: usize, buffers: &[&CubeTensor]) {
    let groups = threads.div_ceil(shader.workgroup as usize) as u32;
    // WebGPU allows 65535 workgroups an axis: fold what exceeds it into y.
    const MOST: u32 = 65_535;
    let kernel = Kernel {
        name: shader.name.to_owned(),
        source: shader.source.to_owned(),
        workgroup: [shader.workgroup, 1, 1],
        groups: [groups.min(MOST), groups.div_ceil(MOST), 1],
        buffers: shader.buffers,
    };
    launch(&kernel, buffers);
}
