//! Which kernel does each step of a program, without a device: it follows from the shapes and the class
//! of adapter alone.

use rekindle_shaders::{Kernel, Storage};

use super::processor::Processor;
use crate::device::Tier;
use crate::graph::Conv;
use crate::kernels::choice::{Sizes, epilogue};
use crate::kernels::conv_options;
use crate::program::{Ending, Program, Shape, Work};

/// A step and the kernel that does it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The step's name.
    pub step: String,
    /// The kernel.
    pub kernel: String,
    /// A digest of its text, which layers may share; `None` on the processor.
    pub text: Option<u64>,
    /// Invocations of a workgroup and workgroups, along three axes; `None` on the processor, and for
    /// steps whose kernels do not depend on a choice.
    pub launch: Option<[[u32; 3]; 2]>,
}

/// The convolutions and linear layers of a program on adapters of this class, for so many images.
pub fn listing(program: &Program<'_>, batch: usize, tier: Tier) -> Vec<Listed> {
    let steps = program.steps.iter().filter_map(|step| {
        let shape = program.shapes[step.inputs[0]];
        let (conv, filters, ending) = match &step.work {
            Work::Conv {
                conv, bias, ending, ..
            } => (conv.clone(), bias.len(), ending),
            Work::Linear { bias, ending, .. } => (Conv::new(bias.len(), 1), bias.len(), ending),
            _ => return None,
        };
        let kernels = chosen(&conv, filters, *ending, shape, batch, tier);
        Some(kernels.into_iter().map(|kernel| Listed {
            step: step.name.clone(),
            launch: Some([kernel.workgroup, kernel.groups]),
            text: Some(kernel.digest),
            kernel: kernel.name,
        }))
    });
    steps.flatten().collect()
}

/// The steps of a program on the processor.
pub fn processor_listing(program: Program<'_>) -> Vec<Listed> {
    let processor = Processor::new(program);
    let steps = processor.listing().map(|(step, kernel)| Listed {
        step: step.to_owned(),
        kernel: kernel.to_owned(),
        launch: None,
        text: None,
    });
    steps.collect()
}

fn chosen(
    conv: &Conv,
    filters: usize,
    ending: Ending,
    shape: Shape,
    batch: usize,
    tier: Tier,
) -> Vec<Kernel> {
    let size = [shape.rows, shape.columns];
    let maps = [batch, shape.channels, shape.rows, shape.columns];
    let sizes = Sizes::new(maps, filters, conv.kernel, &conv_options(conv, size));
    let epilogue = epilogue(ending.residual, ending.activation);
    sizes.frozen(epilogue, Storage::F32, tier).kernels(tier)
}
