//! The page: the web crate as WebAssembly, the static files, the bundled networks, the samples.
//!
//! `dist/` is then a folder that any static file server can hand out, under any path:
//!
//! ```text
//! index.html, app.js, …  web/www as it is
//! pkg/gpu/               the engine and its glue, for graphics adapters and the processor
//! pkg/cpu/               without what drives graphics adapters, and without Burn: a sixth of that; what trains more than
//!                        heads is a part of its own, fetched when somebody does
//! models.json, models/   the bundled networks
//! samples.json, samples/ photos to try
//! ```
//!
//! The page's worker loads one of the two engines.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::process::{output_of, program, run, seconds};
use crate::split::{Later, split};
use crate::system::which;
use crate::tools;
use crate::wasm::{Build, Wasm};
use crate::workspace::Workspace;

/// What a visitor downloads before the first network, compressed with brotli. For the processor nothing of Burn
/// may be reached from the page: one call into it brings most of it along, and this would show.
fn budget(build: Build) -> u64 {
    match build {
        Build::Gpu => 4_000_000,
        Build::Cpu => 400_000,
    }
}

/// What somebody who trains more than a head downloads beside that, where it is a part of its own.
const TRAINING_BUDGET: u64 = 250_000;

/// The engine, and the part of it that trains.
const ENGINE: &str = "rekindle_web_bg.wasm";
const TRAINING: &str = "rekindle_web_training.wasm";

/// Name of the file in `assets/weights`, title, and the note the visitor chooses by.
/// The first is the one the page opens with.
const MODELS: [(&str, &str, &str); 2] = [
    ("efficientnet_lite0", "EfficientNet-Lite0", "better answers"),
    ("squeezenet1_1", "SqueezeNet 1.1", "smaller download"),
];

/// Photos of `assets/photos` the page offers to try, and what they show.
const SAMPLES: [(&str, &str); 6] = [
    ("animal/panda.webp", "Panda"),
    ("animal/owl.webp", "Owl"),
    ("tool/hammer1.webp", "Hammer"),
    ("monument/tajMahal.webp", "Taj Mahal"),
    ("animal/koala.webp", "Koala"),
    ("windmill/windmill.webp", "Windmill"),
];

/// Builds the page into `dist/` and returns its size as a visitor downloads it, for a report.
pub fn build(workspace: &Workspace) -> Result<String> {
    let started = Instant::now();
    let wasm = Wasm::find_or_install(workspace)?;
    let bindgen = tools::wasm_bindgen(workspace)?.join("wasm-bindgen");
    for build in Build::ALL {
        run(wasm.cargo(workspace, "build", build).arg("--lib"))?;
    }

    let page = workspace.page();
    if page.exists() {
        fs::remove_dir_all(&page).with_context(|| format!("emptying {}", page.display()))?;
    }
    copy_folder(&workspace.root().join("web/www"), &page)?;
    for build in Build::ALL {
        let folder = page.join("pkg").join(build.name());
        let mut command = program(&bindgen, workspace);
        command.args(["--target", "web", "--remove-producers-section"]);
        if build == Build::Gpu {
            command.arg("--remove-name-section");
        }
        command.arg("--out-dir").arg(&folder);
        run(command.arg(wasm.artifact(workspace, build)))?;
        if build == Build::Cpu {
            take_training_out(&folder)?;
        }
    }

    let size = size_report(&page)?;
    copy_models(workspace, &page)?;
    copy_samples(workspace, &page)?;
    println!(
        "the page is in {} ({})",
        page.display(),
        seconds(started.elapsed())
    );
    Ok(size)
}

/// Divides the engine for the processor: few visitors train more than a head, and only they need what does. With an
/// adapter there is more to fetch anyway.
fn take_training_out(folder: &Path) -> Result<()> {
    let engine = folder.join(ENGINE);
    let bytes = fs::read(&engine).with_context(|| format!("reading {engine:?}"))?;
    let later = Later {
        is_door: &|export| {
            let export = export.to_lowercase();
            export.contains("tuning") || export.contains("training")
        },
        is_own: &|function| {
            // Files of the web crate and of kernels, and what a door that can be awaited becomes.
            let own = [
                "::tuning::",
                "::session::trained::",
                "::finish_training::",
                "::depthwise_gradient::",
            ];
            own.iter().any(|own| function.contains(own))
        },
    };
    let [first, training] = split(&bytes, &later)?;
    for (file, bytes) in [(engine, first), (folder.join(TRAINING), training)] {
        fs::write(&file, bytes).with_context(|| format!("writing {file:?}"))?;
    }
    Ok(())
}

fn copy_models(workspace: &Workspace, page: &Path) -> Result<()> {
    let mut list = Vec::new();
    for (name, title, note) in MODELS {
        let file = format!("models/{name}.safetensors");
        let weights = workspace
            .root()
            .join(format!("assets/weights/{name}.safetensors"));
        let bytes = copy_file(&weights, &page.join(&file))?;
        list.push(
            json!({ "name": name, "file": file, "bytes": bytes, "title": title, "note": note }),
        );
    }
    write_json(&page.join("models.json"), list)
}

fn copy_samples(workspace: &Workspace, page: &Path) -> Result<()> {
    let photos = workspace.root().join("assets/photos");
    let table = photos.join("ATTRIBUTION.tsv");
    let table = fs::read_to_string(&table).with_context(|| format!("reading {table:?}"))?;
    let mut list = Vec::new();
    for (photo, label) in SAMPLES {
        let file = format!("samples/{photo}");
        copy_file(&photos.join(photo), &page.join(&file))?;
        let credit = credit(&table, photo)
            .with_context(|| format!("ATTRIBUTION.tsv does not say whose {photo} is"))?;
        list.push(json!({ "file": file, "label": label, "credit": credit }));
    }
    write_json(&page.join("samples.json"), list)
}

/// "Author, licence" of a photo, from the table's columns `file`, `licence`, `author`, `source`.
fn credit(table: &str, photo: &str) -> Option<String> {
    let line = table
        .lines()
        .find(|line| line.split('\t').next() == Some(photo))?;
    let mut columns = line.split('\t').skip(1);
    let (licence, author) = (columns.next()?, columns.next()?);
    Some(format!("{author}, {licence}"))
}

fn write_json(path: &Path, list: Vec<Value>) -> Result<()> {
    let text = format!("{:#}\n", Value::from(list));
    fs::write(path, text).with_context(|| format!("writing {path:?}"))
}

/// Prints each file's size, raw and compressed, and checks what a visitor downloads against the budget:
/// one of the engines and all the rest.
fn size_report(page: &Path) -> Result<String> {
    let mut files = Vec::new();
    list_files(page, &mut files)?;
    files.sort();
    println!("{:>12} {:>12} {:>12}", "bytes", "gzip", "brotli");
    let mut sums = Build::ALL.map(|build| (build, 0));
    let (mut measured, mut training) = (true, 0);
    for file in &files {
        let bytes = fs::metadata(file)?.len();
        let gzip = compressed(Command::new("gzip").args(["-9", "-c"]).arg(file));
        let brotli = brotli(file);
        let name = file.strip_prefix(page).unwrap_or(file).display();
        println!(
            "{bytes:>12} {:>12} {:>12}  {name}",
            or_unknown(gzip),
            or_unknown(brotli)
        );
        for (build, sum) in &mut sums {
            if serves(*build, file.strip_prefix(page)?) {
                *sum += brotli.unwrap_or(0);
            }
        }
        if file.ends_with(TRAINING) {
            training = brotli.unwrap_or(0);
        }
        measured &= brotli.is_some();
    }
    if !measured {
        println!("the size budget was not checked: that takes `brotli` or `node`");
        return Ok("size not measured".into());
    }
    let each = sums.map(|(build, sum)| format!("{:.2} MB ({})", sum as f64 / 1e6, build.name()));
    let report = format!("{} as brotli", each.join(" or "));
    for (build, sum) in sums {
        if sum > budget(build) {
            bail!(
                "the page is {report}; for the build {} that is over its budget of {:.2} MB",
                build.name(),
                budget(build) as f64 / 1e6
            );
        }
    }
    if training > TRAINING_BUDGET {
        bail!(
            "the part that trains has {training} bytes as brotli: its budget is {TRAINING_BUDGET}"
        );
    }
    println!("{report}, within the budgets, and {training} bytes where somebody trains");
    Ok(report)
}

/// Whether visitors whose engine is this build download the file. TypeScript's declarations lie beside the modules
/// for who writes a page of his own; no browser asks for them. The part that trains is fetched when somebody does.
fn serves(build: Build, file: &Path) -> bool {
    let belongs_to = |build: &Build| file.starts_with(Path::new("pkg").join(build.name()));
    let is_declarations = file.to_string_lossy().ends_with(".d.ts");
    let is_for_later = file.ends_with(TRAINING);
    !is_declarations && !is_for_later && (belongs_to(&build) || !Build::ALL.iter().any(belongs_to))
}

/// The size a server would send at brotli's best quality.
fn brotli(file: &Path) -> Option<u64> {
    if which("brotli").is_some() {
        let mut command = Command::new("brotli");
        return compressed(
            command
                .args(["--quality=11", "--lgwin=24", "--stdout"])
                .arg(file),
        );
    }
    const SCRIPT: &str = "const { brotliCompressSync, constants } = require('node:zlib');
        const file = require('node:fs').readFileSync(process.argv[1]);
        const params = { [constants.BROTLI_PARAM_LGWIN]: 24 };
        console.log(brotliCompressSync(file, { params }).length);";
    output_of(
        Command::new("node")
            .args(["--eval", SCRIPT, "--"])
            .arg(file),
    )?
    .parse()
    .ok()
}

fn compressed(command: &mut Command) -> Option<u64> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    output
        .status
        .success()
        .then_some(output.stdout.len() as u64)
}

fn or_unknown(size: Option<u64>) -> String {
    size.map_or_else(|| "?".into(), |size| size.to_string())
}

fn list_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("reading {folder:?}"))? {
        let path = entry?.path();
        match path.is_dir() {
            true => list_files(&path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    let mut files = Vec::new();
    list_files(from, &mut files)?;
    for file in files {
        let to = to.join(file.strip_prefix(from)?);
        copy_file(&file, &to)?;
        // What explains the code stands in its repository: visitors need not download it.
        if file
            .extension()
            .is_some_and(|ending| ending == "js" || ending == "css")
        {
            fs::write(&to, without_comments(&fs::read_to_string(&file)?))?;
        }
    }
    Ok(())
}

/// A script or a style sheet without its comments that have lines of their own, and without what sets lines in: no text in
/// them goes over lines.
fn without_comments(text: &str) -> String {
    let mut left = String::with_capacity(text.len());
    let mut is_inside = false;
    for line in text.lines() {
        let words = line.trim();
        if is_inside || words.starts_with("/*") {
            is_inside = !words.contains("*/");
            if words.ends_with("*/") || is_inside {
                continue;
            }
        } else if words.starts_with("//") {
            continue;
        }
        left.push_str(line.trim_start());
        left.push('\n');
    }
    left
}

fn copy_file(from: &Path, to: &Path) -> Result<u64> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to).with_context(|| format!("copying {from:?} to {to:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "file\tlicence\tauthor\tsource\n\
                         tool/saw.webp\tCC0-1.0\tA. Person\tsomewhere\n";

    #[test]
    fn comments_with_lines_of_their_own_are_left_out_of_what_visitors_download() {
        let text = "// What it is.\nlet a = 1; // one\n/** Two\n * lines. */\n  let b = \"/* no comment */\";\n  // b\n/* c */ let c;\n";
        let left = "let a = 1; // one\nlet b = \"/* no comment */\";\n/* c */ let c;\n";
        assert_eq!(without_comments(text), left);
        assert_eq!(without_comments(left), left);
    }

    #[test]
    fn no_text_in_a_script_goes_over_lines() {
        let mut files = Vec::new();
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../web/www");
        list_files(&page, &mut files).expect("it is there");
        for file in files
            .iter()
            .filter(|file| file.extension().is_some_and(|ending| ending == "js"))
        {
            for line in fs::read_to_string(file).expect("it is text").lines() {
                assert_eq!(
                    line.matches('`').count() % 2,
                    0,
                    "{}: {line}",
                    file.display()
                );
            }
        }
    }

    #[test]
    fn the_credit_of_a_photo_names_author_and_licence() {
        assert_eq!(
            credit(TABLE, "tool/saw.webp").as_deref(),
            Some("A. Person, CC0-1.0")
        );
        assert_eq!(credit(TABLE, "tool/sa"), None);
    }

    #[test]
    fn a_visitor_downloads_one_engine_and_all_the_rest() {
        let downloads = |file: &str| Build::ALL.map(|build| serves(build, Path::new(file)));
        assert_eq!(downloads("pkg/gpu/rekindle_web.js"), [true, false]);
        assert_eq!(downloads("pkg/cpu/rekindle_web.js"), [false, true]);
        assert_eq!(downloads("pkg/cpu/rekindle_web_training.wasm"), [false; 2]);
        assert_eq!(downloads("app.js"), [true, true]);
        assert_eq!(downloads("rekindle.d.ts"), [false, false]);
        assert_eq!(downloads("pkg/cpu/rekindle_web.d.ts"), [false, false]);
    }

    #[test]
    fn every_bundled_sample_and_network_is_in_the_assets() {
        let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets");
        let table = fs::read_to_string(assets.join("photos/ATTRIBUTION.tsv")).expect("it is there");
        for (photo, _) in SAMPLES {
            assert!(assets.join("photos").join(photo).is_file(), "{photo}");
            assert!(credit(&table, photo).is_some(), "{photo}");
        }
        for (name, ..) in MODELS {
            assert!(
                assets.join(format!("weights/{name}.safetensors")).is_file(),
                "{name}"
            );
        }
    }
}
