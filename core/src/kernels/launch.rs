//! Launching a WGSL text through CubeCL.

use burn_cubecl::template::{KernelSource, SourceKernel, SourceTemplate};
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::{CubeCount, CubeDim, KernelId};
use cubecl::server::KernelArguments;
use rekindle_shaders::Shader;

/// WGSL as CubeCL wants to see it.
struct Wgsl(Shader);

impl KernelSource for Wgsl {
    fn source(&self) -> SourceTemplate {
        SourceTemplate::new(self.0.source)
    }

    fn id(&self) -> KernelId {
        KernelId::new::<Self>().info(self.0)
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}

/// Whether this tensor's device runs WGSL text at all.
pub(super) fn runs_wgsl(tensor: &CubeTensor) -> bool {
    tensor.client.name() == "wgpu<wgsl>"
}

/// Runs a shader with one thread for each of `threads`, on buffers in binding order.
pub(super) fn launch(shader: Shader, threads: usize, buffers: &[&CubeTensor]) {
    let Some(first) = buffers.first() else { return };
    let groups = threads.div_ceil(shader.workgroup as usize) as u32;
    // WebGPU allows 65535 workgroups an axis: fold what exceeds it into y.
    const MOST: u32 = 65_535;
    let count = CubeCount::Static(groups.min(MOST), groups.div_ceil(MOST), 1);
    let kernel = SourceKernel::new(Wgsl(shader), CubeDim::new_1d(shader.workgroup));
    let bindings = buffers
        .iter()
        .map(|tensor| tensor.handle.clone().binding())
        .collect();
    first.client.launch(
        Box::new(kernel),
        count,
        KernelArguments::new().with_buffers(bindings),
    );
}
