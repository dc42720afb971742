//! `rekindle doctor --kernels`: which kernel does each layer of a network.

use rekindle_core::compiled::{Listed, blanks, fuse, listing, lower, processor_listing};
use rekindle_core::device::Tier;
use rekindle_core::weights::state_dict;
use serde_json::json;

use super::bench;
use super::steps::{self, Steps};
use crate::cli::{DoctorArgs, InspectArgs, KernelChoice, TierChoice};
use crate::context::Context;
use crate::inspected::Inspected;
use crate::models;
use crate::ui::{ExitCode, Failure, print_json, print_text, table};

/// Lists. No weights are read: the choice follows from the shapes.
pub fn run(network: &str, args: &DoctorArgs, context: &Context) -> anyhow::Result<ExitCode> {
    if args.train {
        return of_step(network, args.batch.unwrap_or(1), context);
    }
    let tier = match args.tier {
        Some(tier) => of_choice(tier),
        None => of_device(context)?,
    };
    if tier.is_none() && args.batch.is_some() {
        return Err(Failure::new(
            ExitCode::Usage,
            "--batch does not apply to the processor, which is the chosen device: its kernels are the same for \
             any number of photos",
        )
        .with_help("leave it out, or list for a class of adapters: --tier roomy")
        .into());
    }
    let graph = Inspected::new(&InspectArgs {
        model: network.to_owned(),
        input: None,
        classes: None,
        bare: false,
        freeze: Vec::new(),
        unfreeze: Vec::new(),
    })?
    .graph;
    let blanks = blanks(&graph);
    let program = fuse(lower(&graph, &state_dict([&blanks]), &[graph.output()])?);
    let rows: Vec<Listed> = match tier {
        Some(tier) => listing(&program, args.batch.unwrap_or(1), tier),
        None => processor_listing(program),
    };
    let shape = |shape: [u32; 3]| shape.map(|side| side.to_string()).join("×");
    if context.global.json {
        let rows = rows.iter().map(|row| {
            json!({
                "layer": row.step,
                "kernel": row.kernel,
                "text": row.text.map(|digest| format!("{digest:016x}")),
                "workgroup": row.launch.map(|[workgroup, _]| workgroup),
                "groups": row.launch.map(|[_, groups]| groups),
            })
        });
        print_json(&rows.collect::<Vec<_>>())?;
        return Ok(ExitCode::Ok);
    }
    let mut listed = table(&["layer", "kernel", "text", "workgroup", "workgroups"]);
    for row in &rows {
        let [workgroup, groups] = match row.launch {
            Some(launch) => launch.map(shape),
            None => ["–".to_owned(), "–".to_owned()],
        };
        listed.add_row(vec![
            row.step.clone(),
            row.kernel.clone(),
            row.text
                .map_or("–".to_owned(), |digest| format!("{:08x}", digest >> 32)),
            workgroup,
            groups,
        ]);
    }
    print_text(&listed.to_string())?;
    Ok(ExitCode::Ok)
}

/// Lists what a training step launches, or the jobs that it is made of on the processor.
fn of_step(network: &str, batch: usize, context: &Context) -> anyhow::Result<ExitCode> {
    let device = context.open_device()?;
    let model = models::open(network, Some("random"), &device.device, context)?;
    let mut steps = Steps::new(
        &model,
        &bench::crops(&model, batch)?,
        &steps::learning(&model, true),
        KernelChoice::Ours,
    )?;
    let spent = match device.info.adapter {
        // The first step makes what later ones find.
        Some(_) => {
            steps.take()?;
            steps::by_kernel(steps.launched(false)?)
        }
        None => steps.spent()?,
    };
    match context.global.json {
        true => print_json(&spent)?,
        false => print_text(&steps::told(&spent))?,
    }
    Ok(ExitCode::Ok)
}

/// The class of the chosen device; `None` for the processor.
fn of_device(context: &Context) -> anyhow::Result<Option<Tier>> {
    let adapter = context.open_device()?.info.adapter;
    Ok(adapter.map(|adapter| adapter.tier))
}

fn of_choice(choice: TierChoice) -> Option<Tier> {
    match choice {
        TierChoice::Cpu => None,
        TierChoice::Software => Some(Tier::Software),
        TierChoice::Baseline => Some(Tier::Baseline),
        TierChoice::Roomy => Some(Tier::Roomy),
        TierChoice::Full => Some(Tier::Full),
    }
}
