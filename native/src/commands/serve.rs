//! `rekindle serve`: the page, on this machine.

use std::path::PathBuf;

use crate::cli::ServeArgs;
use crate::context::Context;
use crate::serve::Server;
use crate::ui::{ExitCode, Failure};

/// Serves the built page until interrupted.
pub fn run(args: &ServeArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let folder = match &args.dir {
        Some(dir) => dir.clone(),
        None => find_page().ok_or_else(|| {
            Failure::new(ExitCode::Data, "the page has not been built yet").with_help(
                "run `cargo xtask web` in the checkout, or name the folder that holds index.html",
            )
        })?,
    };
    let server = Server::bind(&folder, args.port)?;
    context.console.note(&format!(
        "Rekindle's page is at {} (Ctrl-C ends it)",
        server.url()
    ));
    server.run(&context.interrupt);
    Ok(ExitCode::Ok)
}

/// `dist` below the current folder, or below one of those above the program.
fn find_page() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let here = std::env::current_dir().ok();
    here.into_iter()
        .chain(program.ancestors().skip(1).take(4).map(PathBuf::from))
        .map(|folder| folder.join("dist"))
        .find(|folder| folder.join("index.html").is_file())
}
