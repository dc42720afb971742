//! `rekindle diagram`: a model drawn stage by stage.

use std::path::PathBuf;

use rekindle_core::inspect::{Diagram, diagram};
use serde_json::json;

use crate::cli::DiagramArgs;
use crate::context::Context;
use crate::files;
use crate::inspected::Inspected;
use crate::models;
use crate::ui::{ExitCode, print_json, print_text};

/// Writes the drawing and says where.
pub fn run(args: &DiagramArgs, context: &Context) -> anyhow::Result<ExitCode> {
    if let Some(out) = &args.out {
        files::is_not_read(out, &models::files_read(&args.inspect.model, None))?;
    }
    let inspected = Inspected::new(&args.inspect)?;
    let name = inspected.architecture.name;
    let graph = &inspected.graph;
    let (height, width) = (graph.input()[1], graph.input()[2]);
    let classes = graph.shape_of(graph.output())[0];
    let title = format!("{name} · {height}×{width} pixels · {classes} classes");
    let svg = diagram(
        graph,
        &Diagram {
            title: &title,
            freezing: &inspected.freezing,
        },
    );
    let default = || PathBuf::from(format!("{name}.svg"));
    let out = args.out.clone().unwrap_or_else(default);
    files::write(&out, svg.as_bytes())?;
    if context.global.json {
        print_json(&json!({ "path": out, "stages": graph.stages().len() }))?;
    } else {
        print_text(&format!("{} (open it in a browser)", out.display()))?;
    }
    Ok(ExitCode::Ok)
}
