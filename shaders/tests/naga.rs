//! Every shader parses, validates within WebGPU's default capabilities, and translates to what
//! Vulkan, Metal and DX12 run.

#![allow(clippy::unwrap_used)] // helpers of tests, where a panic is the report

mod shapes;

use std::collections::HashMap;

use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage};
use rekindle_shaders::{ALL, Kernel, Tier};
use shapes::Case;

/// The shaders that are not made for a shape, and those that are.
fn cases() -> Vec<Case> {
    let plain = ALL.iter().map(|shader| Case {
        kernel: Kernel {
            name: shader.name.into(),
            source: shader.source.into(),
            workgroup: [shader.workgroup, 1, 1],
            groups: [1, 1, 1],
            buffers: shader.buffers,
        },
        tier: Tier::Baseline,
        half: false,
    });
    plain.chain(shapes::all()).collect()
}

fn validated(case: &Case) -> (Module, ModuleInfo) {
    let Kernel { name, source, .. } = &case.kernel;
    let module = naga::front::wgsl::parse_str(source)
        .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(source)));
    let capabilities = match case.half {
        true => Capabilities::SHADER_FLOAT16,
        false => Capabilities::empty(),
    };
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(source)));
    (module, info)
}

#[test]
fn equal_names_mean_equal_texts() {
    let mut seen: HashMap<String, Kernel> = HashMap::new();
    for case in shapes::all() {
        let known = seen
            .entry(case.kernel.name.clone())
            .or_insert(case.kernel.clone());
        assert_eq!(known.source, case.kernel.source);
    }
    let again: Vec<Kernel> = shapes::all().into_iter().map(|case| case.kernel).collect();
    assert!(again.iter().all(|kernel| seen[&kernel.name] == *kernel));
}

#[test]
fn every_shader_is_valid_and_says_of_itself_what_is_true() {
    for case in cases() {
        let (module, _) = validated(&case);
        let kernel = &case.kernel;
        let name = &kernel.name;
        let [entry] = &module.entry_points[..] else {
            panic!("{name}: one entry point")
        };
        assert_eq!(
            (entry.name.as_str(), entry.stage),
            ("main", ShaderStage::Compute)
        );
        assert_eq!(entry.workgroup_size, kernel.workgroup, "{name}");

        let mut bindings: Vec<u32> = module
            .global_variables
            .iter()
            .filter_map(|(_, variable)| {
                let binding = variable.binding?;
                assert_eq!(binding.group, 0, "{name}");
                // Burn shares buffers' slices, so all are bound for reading and writing alike.
                let access = naga::StorageAccess::LOAD | naga::StorageAccess::STORE;
                assert_eq!(variable.space, AddressSpace::Storage { access }, "{name}");
                Some(binding.binding)
            })
            .collect();
        bindings.sort_unstable();
        assert_eq!(bindings, (0..kernel.buffers).collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn every_binding_is_used_by_the_entry_point() {
    for case in cases() {
        let (module, info) = validated(&case);
        let entry = info.get_entry_point(0);
        for (handle, variable) in module.global_variables.iter() {
            let used = !entry[handle].is_empty();
            assert!(used, "{}: {:?}", case.kernel.name, variable.name);
        }
    }
}

#[test]
fn every_shader_stays_within_its_tiers_limits() {
    for case in cases() {
        let (module, _) = validated(&case);
        let kernel = &case.kernel;
        let name = &kernel.name;
        assert!(kernel.workgroup.iter().product::<u32>() <= 256, "{name}");
        assert!(
            kernel
                .groups
                .iter()
                .all(|&groups| (1..=65_535).contains(&groups)),
            "{name}"
        );
        assert!(kernel.buffers <= 8, "{name}");
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).unwrap();
        let shared: u32 = module
            .global_variables
            .iter()
            .filter(|(_, variable)| variable.space == AddressSpace::WorkGroup)
            .map(|(_, variable)| layouter[variable.ty].size)
            .sum();
        let most = match case.tier {
            Tier::Software => 0,
            Tier::Baseline => 16 << 10,
            Tier::Roomy | Tier::Full => 32 << 10,
        };
        assert!(shared <= most, "{name}: {shared} bytes of workgroup memory");
    }
}

#[test]
fn every_shader_translates_to_spirv_msl_and_hlsl() {
    for case in cases() {
        let (module, info) = validated(&case);
        let name = &case.kernel.name;

        let words = spv::write_vec(&module, &info, &spv::Options::default(), None)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(words[0], 0x0723_0203, "SPIR-V's magic number");

        let options = msl::Options {
            fake_missing_bindings: true,
            ..Default::default()
        };
        let (text, _) =
            msl::write_string(&module, &info, &options, &msl::PipelineOptions::default())
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(text.contains("kernel void"));

        let mut text = String::new();
        let options = hlsl::Options {
            fake_missing_bindings: true,
            // The first model with 16-bit numbers.
            shader_model: if case.half {
                hlsl::ShaderModel::V6_2
            } else {
                hlsl::ShaderModel::V5_1
            },
            ..Default::default()
        };
        hlsl::Writer::new(&mut text, &options, &hlsl::PipelineOptions::default())
            .write(&module, &info, None)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(text.contains("numthreads"));
    }
}
