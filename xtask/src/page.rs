//! The page: the web crate as WebAssembly, the static files, the bundled networks, the samples.
//!
//! `dist/` is then a folder that any static file server can hand out, under any path:
//!
//! ```text
//! index.html, app.js, …  web/www as it is
//! pkg/gpu/               the engine and its glue, for graphics adapters and the processor
//! pkg/cpu/               without what drives graphics adapters, without Burn, and without training: a ninth of that
//! pkg/training/          the same with training of more than heads
//! models.json, models/   the bundled networks
//! samples.json, samples/ photos to try
//! ```
//!
//! The page's worker loads one of the first two engines, and the third in the place of the second when somebody trains.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::process::{output_of, program, run, seconds};
use crate::system::which;
use crate::tools;
use crate::wasm::{Build, Wasm};
use crate::workspace::Workspace;

/// What a visitor downloads before the first network, compressed with brotli, and of what trains without an adapter, what
/// he downloads when he does. For the processor nothing of Burn may be reached from the page: one call into it brings most
/// of it along, and this would show.
fn budget(build: Build) -> u64 {
    match build {
        Build::Gpu => 4_000_000,
        Build::Cpu => 400_000,
        Build::Training => 620_000,
    }
}

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
        let mut command = program(&bindgen, workspace);
        command.args([
            "--target",
            "web",
            "--remove-name-section",
            "--remove-producers-section",
        ]);
        let folder = page.join("pkg").join(build.name());
        command.arg("--out-dir").arg(&folder);
        run(command.arg(wasm.artifact(workspace, build)))?;
        leave_comments_out(&folder.join("rekindle_web.js"))?;
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
/// one of the engines and all the rest, and another engine when he trains.
fn size_report(page: &Path) -> Result<String> {
    let mut files = Vec::new();
    list_files(page, &mut files)?;
    files.sort();
    println!("{:>12} {:>12} {:>12}", "bytes", "gzip", "brotli");
    let mut sums = Build::ALL.map(|build| (build, 0));
    let mut measured = true;
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
        measured &= brotli.is_some();
    }
    if !measured {
        println!("the size budget was not checked: that takes `brotli` or `node`");
        return Ok("size not measured".into());
    }
    let each = sums.map(|(build, sum)| format!("{:.2} MB ({})", sum as f64 / 1e6, build.name()));
    let [gpu, cpu, training] = each;
    let report = format!("{gpu} or {cpu}, and {training} later, as brotli");
    for (build, sum) in sums {
        if sum > budget(build) {
            bail!(
                "the page is {report}; for the build {} that is over its budget of {:.2} MB",
                build.name(),
                budget(build) as f64 / 1e6
            );
        }
    }
    println!("{report}, within the budgets");
    Ok(report)
}

/// Whether visitors download the file for an engine of this build. TypeScript's declarations lie beside the modules
/// for who writes a page of his own; no browser asks for them.
fn serves(build: Build, file: &Path) -> bool {
    let belongs_to = |build: &Build| file.starts_with(Path::new("pkg").join(build.name()));
    let is_declarations = file.to_string_lossy().ends_with(".d.ts");
    // Who trains later has the page already.
    let is_of_all = build != Build::Training && !Build::ALL.iter().any(belongs_to);
    !is_declarations && (belongs_to(&build) || is_of_all)
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
            leave_comments_out(&to)?;
        }
    }
    Ok(())
}

fn leave_comments_out(file: &Path) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {file:?}"))?;
    fs::write(file, without_comments(&text)).with_context(|| format!("writing {file:?}"))
}

/// A script or a style sheet without its comments that have lines of their own.
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
        left.push_str(line);
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
        let left = "let a = 1; // one\n  let b = \"/* no comment */\";\n/* c */ let c;\n";
        assert_eq!(without_comments(text), left);
        assert_eq!(without_comments(left), left);
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
    fn a_visitor_downloads_one_engine_and_all_the_rest_and_another_engine_to_train() {
        let downloads = |file: &str| Build::ALL.map(|build| serves(build, Path::new(file)));
        assert_eq!(downloads("pkg/gpu/rekindle_web.js"), [true, false, false]);
        assert_eq!(downloads("pkg/cpu/rekindle_web.js"), [false, true, false]);
        assert_eq!(downloads("app.js"), [true, true, false]);
        assert_eq!(
            downloads("pkg/training/rekindle_web.js"),
            [false, false, true]
        );
        assert_eq!(downloads("rekindle.d.ts"), [false; 3]);
        assert_eq!(downloads("pkg/cpu/rekindle_web.d.ts"), [false; 3]);
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
