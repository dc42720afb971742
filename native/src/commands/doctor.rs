//! `rekindle doctor`: what this machine has, and whether it computes correctly.

use rekindle_core::device::{self, AdapterInfo, OpenDevice, Preference, SelfTest};
use serde::Serialize;

use crate::context::Context;
use crate::fetch::Places;
use crate::ui::{ExitCode, hushed, print_json, print_text, table};

/// The findings, as `doctor --json` prints them.
#[derive(Debug, Serialize)]
struct Findings {
    version: &'static str,
    /// Cores that threads may use.
    threads: usize,
    /// Vector instructions of the processor that matter here.
    simd: Vec<&'static str>,
    adapters: Vec<AdapterInfo>,
    /// What `--device auto` takes.
    auto: Checked,
    /// What the chosen device did, where it is not the automatic one.
    chosen: Option<Checked>,
    /// Folders that are searched for weights, in order.
    weights: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Checked {
    device: String,
    self_test: Option<SelfTest>,
    error: Option<String>,
}

fn check(preference: Preference) -> Checked {
    let opened = || {
        pollster::block_on(async {
            let open = device::open(preference).await?;
            let test = device::self_test(&open).await?;
            Ok::<(OpenDevice, SelfTest), device::DeviceError>((open, test))
        })
    };
    match hushed(opened).0 {
        Ok((open, test)) => Checked {
            device: open.info.name,
            self_test: Some(test),
            error: None,
        },
        Err(error) => Checked {
            device: format!("{preference:?}").to_lowercase(),
            self_test: None,
            error: Some(error.to_string()),
        },
    }
}

/// Looks, tests, prints.
pub fn run(context: &Context) -> anyhow::Result<ExitCode> {
    let preference = context.global.device;
    let findings = Findings {
        version: env!("CARGO_PKG_VERSION"),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        simd: simd(),
        adapters: hushed(|| pollster::block_on(device::adapters())).0,
        auto: check(Preference::Auto),
        chosen: (preference != Preference::Auto).then(|| check(preference)),
        weights: weight_folders(),
    };
    let failed = [Some(&findings.auto), findings.chosen.as_ref()]
        .into_iter()
        .flatten()
        .any(|checked| checked.error.is_some());
    if context.global.json {
        print_json(&findings)?;
    } else {
        print_text(&describe(&findings))?;
    }
    Ok(if failed {
        ExitCode::Device
    } else {
        ExitCode::Ok
    })
}

/// The folders that weights are looked for in, in order.
fn weight_folders() -> Vec<String> {
    let places = Places::of_this_machine();
    let folders = places
        .assets
        .iter()
        .chain(&places.torch_hub)
        .chain(&places.cache);
    folders.map(|folder| folder.display().to_string()).collect()
}

fn describe(findings: &Findings) -> String {
    let mut text = format!(
        "rekindle {}\nprocessor: {} threads, {}\n\n",
        findings.version,
        findings.threads,
        if findings.simd.is_empty() {
            "no vector instructions".into()
        } else {
            findings.simd.join(" ")
        },
    );
    if findings.adapters.is_empty() {
        text += "no graphics adapter: everything runs on the processor\n";
    } else {
        let mut adapters = table(&[
            "adapter",
            "kind",
            "interface",
            "tier",
            "binding",
            "f16",
            "driver",
        ]);
        for adapter in &findings.adapters {
            adapters.add_row(vec![
                adapter.name.clone(),
                format!("{:?}", adapter.kind).to_lowercase(),
                adapter.api.clone(),
                adapter.tier.name().to_owned(),
                format!("{} MiB", adapter.limits.max_binding >> 20),
                if adapter.shader_f16 { "yes" } else { "no" }.to_owned(),
                adapter.driver.clone(),
            ]);
        }
        text += &format!("{adapters}\n");
    }
    let line = |label: &str, checked: &Checked| match (&checked.self_test, &checked.error) {
        (Some(test), _) => format!(
            "{label}: {}; self-test passed (convolution {:.0e}, product {:.0e}, mean {:.0e})\n",
            checked.device, test.convolution, test.matmul, test.reduction
        ),
        (None, error) => {
            format!(
                "{label}: {}: {}\n",
                checked.device,
                error.as_deref().unwrap_or("unknown")
            )
        }
    };
    text += &format!("\n{}", line("--device auto", &findings.auto));
    if let Some(chosen) = &findings.chosen {
        text += &line("the device asked for", chosen);
    }
    text += "\nweights are looked for in\n";
    for folder in &findings.weights {
        text += &format!("  {folder}\n");
    }
    text.trim_end().to_owned()
}

#[cfg(target_arch = "x86_64")]
fn simd() -> Vec<&'static str> {
    let found = [
        ("sse4.2", std::arch::is_x86_feature_detected!("sse4.2")),
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
    ];
    found
        .into_iter()
        .filter_map(|(name, there)| there.then_some(name))
        .collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn simd() -> Vec<&'static str> {
    if cfg!(target_feature = "neon") {
        vec!["neon"]
    } else {
        Vec::new()
    }
}
