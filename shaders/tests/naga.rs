//! Every shader parses, validates within WebGPU's default capabilities, and translates to what
//! Vulkan, Metal and DX12 run.

#![allow(clippy::unwrap_used)] // helpers of tests, where a panic is the report

use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage};
use rekindle_shaders::{ALL, Shader};

fn validated(shader: &Shader) -> (Module, ModuleInfo) {
    let module = naga::front::wgsl::parse_str(shader.source)
        .unwrap_or_else(|error| panic!("{}", error.emit_to_string(shader.source)));
    let info = Validator::new(ValidationFlags::all(), Capabilities::empty())
        .validate(&module)
        .unwrap_or_else(|error| panic!("{}: {}", shader.name, error.emit_to_string(shader.source)));
    (module, info)
}

#[test]
fn every_shader_is_valid_and_says_of_itself_what_is_true() {
    assert!(!ALL.is_empty());
    for shader in ALL {
        let (module, _) = validated(shader);
        let [entry] = &module.entry_points[..] else {
            panic!("{}: one entry point", shader.name)
        };
        assert_eq!(
            (entry.name.as_str(), entry.stage),
            ("main", ShaderStage::Compute)
        );
        assert_eq!(
            entry.workgroup_size,
            [shader.workgroup, 1, 1],
            "{}",
            shader.name
        );

        let mut bindings: Vec<u32> = module
            .global_variables
            .iter()
            .filter_map(|(_, variable)| {
                let binding = variable.binding?;
                assert_eq!(binding.group, 0, "{}", shader.name);
                // Burn shares buffers' slices, so all are bound for reading and writing alike.
                let access = naga::StorageAccess::LOAD | naga::StorageAccess::STORE;
                assert_eq!(
                    variable.space,
                    AddressSpace::Storage { access },
                    "{}",
                    shader.name
                );
                Some(binding.binding)
            })
            .collect();
        bindings.sort_unstable();
        assert_eq!(
            bindings,
            (0..shader.buffers).collect::<Vec<_>>(),
            "{}",
            shader.name
        );
    }
}

#[test]
fn every_shader_stays_within_the_default_limits_of_webgpu() {
    for shader in ALL {
        let (module, _) = validated(shader);
        assert!(shader.workgroup <= 256, "{}", shader.name);
        assert!(shader.buffers <= 8, "{}", shader.name);
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).unwrap();
        let shared: u32 = module
            .global_variables
            .iter()
            .filter(|(_, variable)| variable.space == AddressSpace::WorkGroup)
            .map(|(_, variable)| layouter[variable.ty].size)
            .sum();
        assert!(
            shared <= 16 << 10,
            "{}: {shared} bytes of workgroup memory",
            shader.name
        );
    }
}

#[test]
fn every_shader_translates_to_spirv_msl_and_hlsl() {
    for shader in ALL {
        let (module, info) = validated(shader);

        let words = spv::write_vec(&module, &info, &spv::Options::default(), None)
            .unwrap_or_else(|error| panic!("{}: {error}", shader.name));
        assert_eq!(words[0], 0x0723_0203, "SPIR-V's magic number");

        let options = msl::Options {
            fake_missing_bindings: true,
            ..Default::default()
        };
        let (text, _) =
            msl::write_string(&module, &info, &options, &msl::PipelineOptions::default())
                .unwrap_or_else(|error| panic!("{}: {error}", shader.name));
        assert!(text.contains("kernel void"));

        let mut text = String::new();
        let options = hlsl::Options {
            fake_missing_bindings: true,
            ..Default::default()
        };
        hlsl::Writer::new(&mut text, &options, &hlsl::PipelineOptions::default())
            .write(&module, &info, None)
            .unwrap_or_else(|error| panic!("{}: {error}", shader.name));
        assert!(text.contains("numthreads"));
    }
}
