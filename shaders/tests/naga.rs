//! Every shader parses, validates within WebGPU's default capabilities, and translates to what
//! Vulkan, Metal and DX12 run.
//!
//! `REKINDLE_TEXTS` may name a folder: every text is then written to `texts.json` in it, for the browsers'
//! own compilers to judge (`tests/browser/shaders.test.mjs`).

#![allow(clippy::unwrap_used)] // helpers of tests, where a panic is the report

mod shapes;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage};
use rekindle_shaders::{Conv, Epilogue, Kernel, Side, Storage, Tier, Window};
use shapes::Case;

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

/// What is asked of every kernel: parsing is dear, so all of it at once.
fn check(case: &Case) {
    let (module, info) = validated(case);
    says_what_is_true(case, &module, &info);
    stays_within_limits(case, &module);
    translates(case, &module, &info);
}

fn says_what_is_true(case: &Case, module: &Module, info: &ModuleInfo) {
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

    let used = info.get_entry_point(0);
    let mut bindings = Vec::new();
    for (handle, variable) in module.global_variables.iter() {
        // What a pipeline's layout is made from leaves out what is not used.
        assert!(!used[handle].is_empty(), "{name}: {:?}", variable.name);
        let Some(binding) = &variable.binding else {
            continue;
        };
        assert_eq!(binding.group, 0, "{name}");
        if binding.binding == kernel.buffers {
            assert_eq!(variable.space, AddressSpace::Uniform, "{name}");
            let mut layouter = naga::proc::Layouter::default();
            layouter.update(module.to_ctx()).unwrap();
            let size = layouter[variable.ty].size as usize;
            assert_eq!(size, kernel.sizes.len() * size_of::<u32>(), "{name}");
            bindings.push(binding.binding);
            continue;
        }
        // Burn shares buffers' slices, so all are bound for reading and writing alike.
        let access = naga::StorageAccess::LOAD | naga::StorageAccess::STORE;
        assert_eq!(variable.space, AddressSpace::Storage { access }, "{name}");
        bindings.push(binding.binding);
    }
    bindings.sort_unstable();
    let bound = kernel.buffers + u32::from(!kernel.sizes.is_empty());
    assert_eq!(bindings, (0..bound).collect::<Vec<_>>(), "{name}");
}

fn stays_within_limits(case: &Case, module: &Module) {
    let kernel = &case.kernel;
    let name = &kernel.name;
    assert!(kernel.workgroup.iter().product::<u32>() <= 256, "{name}");
    let allowed = 1..=65_535;
    assert!(
        kernel.groups.iter().all(|groups| allowed.contains(groups)),
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

fn translates(case: &Case, module: &Module, info: &ModuleInfo) {
    let name = &case.kernel.name;
    let words = spv::write_vec(module, info, &spv::Options::default(), None)
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(words[0], 0x0723_0203, "SPIR-V's magic number");

    let options = msl::Options {
        fake_missing_bindings: true,
        ..Default::default()
    };
    let (text, _) = msl::write_string(module, info, &options, &msl::PipelineOptions::default())
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(text.contains("kernel void"));

    let mut text = String::new();
    let options = hlsl::Options {
        fake_missing_bindings: true,
        // 16-bit numbers came with the later one.
        shader_model: match case.half {
            true => hlsl::ShaderModel::V6_2,
            false => hlsl::ShaderModel::V5_1,
        },
        ..Default::default()
    };
    hlsl::Writer::new(&mut text, &options, &hlsl::PipelineOptions::default())
        .write(module, info, None)
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(text.contains("numthreads"));
}

#[test]
fn kernels_for_software_adapters() {
    shapes::of(Tier::Software).iter().for_each(check);
}

#[test]
fn kernels_for_phones() {
    shapes::of(Tier::Baseline).iter().for_each(check);
}

#[test]
fn kernels_for_desktops() {
    shapes::of(Tier::Roomy).iter().for_each(check);
}

#[test]
fn kernels_with_half_precision() {
    shapes::of(Tier::Full).iter().for_each(check);
}

#[test]
fn equal_shapes_make_equal_texts_and_equal_digests_mean_them() {
    let all = || {
        Tier::ALL
            .into_iter()
            .flat_map(shapes::of)
            .map(|case| case.kernel)
    };
    let mut seen: HashMap<u64, Kernel> = HashMap::new();
    for kernel in all() {
        let known = seen.entry(kernel.digest).or_insert(kernel.clone());
        let text = |kernel: &Kernel| {
            let sizes = kernel.sizes.len();
            (
                kernel.source.clone(),
                kernel.workgroup,
                kernel.buffers,
                sizes,
            )
        };
        assert_eq!(text(known), text(&kernel));
    }
    assert!(all().eq(all()));
}

#[test]
fn layers_of_one_form_share_a_text_on_software_adapters() {
    let conv = |channels, side| Conv {
        batch: 1,
        channels,
        out_channels: 2 * channels,
        groups: 1,
        window: Window {
            rows: Side::new(side, 3, 1, 1, 1),
            columns: Side::new(side, 3, 1, 1, 1),
        },
        epilogue: Epilogue::default(),
        storage: Storage::F32,
    };
    let [a, b] = [(64, 56), (128, 48)].map(|(channels, side)| conv(channels, side));
    let software = |conv: &Conv| conv.kernel(Tier::Software);
    assert_eq!(software(&a).source, software(&b).source);
    assert_ne!(software(&a).sizes, software(&b).sizes);
    assert_ne!(a.kernel(Tier::Roomy).source, b.kernel(Tier::Roomy).source);
}

/// A text as JSON.
fn json(case: &Case) -> String {
    let Kernel { name, source, .. } = &case.kernel;
    let (tier, half) = (case.tier, case.half);
    // Texts have nothing in them that Rust quotes otherwise than JSON; what reads them would refuse it.
    format!(r#"{{"name":{name:?},"tier":"{tier:?}","half":{half},"source":{source:?}}}"#)
}

#[test]
fn every_text_is_handed_to_who_asks_for_it() {
    let cases = Tier::ALL.into_iter().flat_map(shapes::of);
    let mut seen = HashSet::new();
    let texts: Vec<String> = cases
        .filter(|case| seen.insert(case.kernel.source.clone()))
        .map(|case| json(&case))
        .collect();
    let Some(folder) = std::env::var_os("REKINDLE_TEXTS") else {
        return;
    };
    std::fs::create_dir_all(&folder).unwrap();
    let list = format!("[\n{}\n]\n", texts.join(",\n"));
    std::fs::write(Path::new(&folder).join("texts.json"), list).unwrap();
}
