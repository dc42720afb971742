//! What the tests that span crates share: where things lie, goldens, how far apart two answers are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rekindle_core::device::{self, OpenDevice, Preference};
use rekindle_core::weights::WeightFile;
use serde_json::Value;

/// The root of the checkout.
pub fn root() -> PathBuf {
    // What Cargo says now, not when it built us: checkouts may share a build folder.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR");
    let manifest = manifest.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&manifest)
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default()
}

/// The photos that come with the project, sorted: class folder and file name.
pub fn photos() -> Vec<PathBuf> {
    let mut photos = Vec::new();
    for class in ["animal", "fish", "monument", "tool", "windmill"] {
        let folder = root().join("assets/photos").join(class);
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{folder:?}: {e}"));
        photos.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
    }
    photos.sort();
    photos
}

/// A golden file: tensors and one JSON string, written by `tests/parity`.
pub struct Golden {
    /// All tensors, flat.
    pub tensors: BTreeMap<String, Vec<f32>>,
    /// The metadata.
    pub card: Value,
}

impl Golden {
    /// Reads `tests/goldens/<name>.safetensors`.
    ///
    /// # Panics
    ///
    /// When it is not there or not readable: then there is nothing to test against.
    pub fn read(name: &str) -> Self {
        let path = root().join(format!("tests/goldens/{name}.safetensors"));
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let file = WeightFile::parse(&bytes).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let tensors = file.tensors().iter().map(|(name, view)| {
            let values = view
                .to_f32()
                .unwrap_or_else(|error| panic!("{path:?}: {error}"));
            (name.clone(), values)
        });
        let card = serde_json::from_str(&file.metadata()["golden"]);
        Self {
            tensors: tensors.collect(),
            card: card.unwrap_or_else(|error| panic!("{path:?}: {error}")),
        }
    }
}

/// ‖found − truth‖ / ‖truth‖, or not-a-number when the lengths differ.
pub fn relative_error(found: &[f32], truth: &[f32]) -> f64 {
    if found.len() != truth.len() {
        return f64::NAN;
    }
    let square = |x: f64| x * x;
    let difference: f64 = found
        .iter()
        .zip(truth)
        .map(|(&a, &b)| square(f64::from(a) - f64::from(b)))
        .sum();
    let norm: f64 = truth.iter().map(|&b| square(f64::from(b))).sum();
    (difference / norm).sqrt()
}

/// The elements that a golden keeps of a large tensor: 1024 of them, evenly spread.
pub fn sample(values: &[f32]) -> Vec<f32> {
    let count = values.len().min(1024);
    (0..count)
        .map(|i| values[i * values.len() / count])
        .collect()
}

/// The `rekindle` program of this build: it lies in the folder above the test's own.
///
/// # Panics
///
/// When it has not been built: `cargo xtask test` builds it first.
pub fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    let folder = test
        .ancestors()
        .nth(2)
        .map(Path::to_owned)
        .unwrap_or_default();
    let program = folder.join(format!("rekindle{}", std::env::consts::EXE_SUFFIX));
    assert!(
        program.is_file(),
        "{program:?} is not there: run `cargo build --release -p rekindle` first"
    );
    program
}

/// Opens the adapter that WGSL is tested on: the software one, or a real GPU where `REKINDLE_TEST_ADAPTER` names
/// it (`gpu`, `gpu:1`). `None` where the tests were told that there is none. A process can open it once.
///
/// # Panics
///
/// When there is none and nobody said so.
pub fn test_adapter() -> Option<OpenDevice> {
    // Of two tests that open it at the same moment one would find Burn's registry taken.
    static OPENING: Mutex<()> = Mutex::new(());
    let _turn = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
    let named = std::env::var("REKINDLE_TEST_ADAPTER");
    let preference = named.map_or(Ok(Preference::Software), |name| name.parse());
    let preference = preference.unwrap_or_else(|error| panic!("REKINDLE_TEST_ADAPTER: {error}"));
    match pollster::block_on(device::open(preference)) {
        Ok(open) => Some(open),
        Err(error) if std::env::var_os("REKINDLE_NO_SOFTWARE_GPU").is_some() => {
            println!("skipped, as asked: {error}");
            None
        }
        Err(error) => panic!(
            "{error}: install a software Vulkan driver (Debian: mesa-vulkan-drivers), or set REKINDLE_NO_SOFTWARE_GPU=1 to leave this test out"
        ),
    }
}

/// Whether the giants run too: `REKINDLE_NIGHTLY` is set.
pub fn is_nightly() -> bool {
    std::env::var_os("REKINDLE_NIGHTLY").is_some()
}

/// Whether a long test goes through this network: through all, unless `REKINDLE_NETWORKS` names some, with
/// commas between. What was cut off can so be taken up again.
pub fn is_asked_for(network: &str) -> bool {
    let names = std::env::var("REKINDLE_NETWORKS");
    names.map_or(true, |names| names.split(',').any(|name| name == network))
}

/// A folder of its own for a test, gone when dropped.
pub struct TempDir(PathBuf);

impl TempDir {
    /// Makes one.
    ///
    /// # Panics
    ///
    /// When the system's folder for such things cannot be written to.
    #[allow(clippy::new_without_default)] // making a folder is no default
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("rekindle-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clean up.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
