//! Run folders: `runs/<name>/`, made once, never overwritten.
//!
//! Everything a run leaves behind lies in its folder under fixed names. A file appears whole or not
//! at all (see [`files`]).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rekindle_core::model::PhotoHashes;
use serde_json::Value;
use thiserror::Error;

use crate::files::{self, WriteError};
use crate::hash::hash_file;
use crate::interrupt::Unfinished;
use crate::ui::{ExitCode, advice};

/// Where runs are kept, unless the user says otherwise.
pub const RUNS_FOLDER: &str = "runs";
/// What was asked for, as TOML.
pub const RECIPE: &str = "recipe.toml";
/// The recipe that the run was given as a file, as it was then.
pub const GIVEN_RECIPE: &str = "given-recipe.toml";
/// Hashes of data, weights, code; device; seed; results.
pub const MANIFEST: &str = "manifest.json";
/// One JSON object a line, appended while the run goes on.
pub const METRICS: &str = "metrics.jsonl";
/// The trained model.
pub const MODEL: &str = "model.safetensors";
/// Where a tuning stands, as long as it is not finished.
pub const CHECKPOINT: &str = "checkpoint.safetensors";
/// What was decided once for a run, and which of its parts are done, where it has several: the folds of a
/// cross-validation.
pub const PARTS: &str = "parts.json";
/// The folder of TensorBoard's event files.
pub const TENSORBOARD: &str = "tensorboard";
/// The command that began the run, for whoever goes on with it.
pub const COMMAND: &str = "command.json";
/// The photos that the run began with, one a line: the SHA-256 and the name.
pub const PHOTOS: &str = "photos.txt";
/// The report for people.
pub const REPORT: &str = "report.html";

/// What says that a process writes to the run.
pub const LOCK: &str = ".lock";
/// Far more runs of one name than anybody keeps; a bound for the search for a free one.
const MOST_RUNS_OF_A_NAME: u32 = 100_000;

/// Why a run could not be kept.
#[derive(Debug, Error)]
pub enum RunError {
    /// The name would not be a folder of its own inside the runs folder.
    #[error("`{0}` cannot be the name of a run")]
    BadName(String),
    /// Nothing can be written there.
    #[error("cannot write to the output folder ({cause}): {}", path.display())]
    NotWritable {
        /// The folder.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        cause: io::Error,
    },
    /// A file of the run could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Another process is working in the folder.
    #[error("another process is using this run: {}", .0.display())]
    InUse(PathBuf),
    /// No run began there.
    #[error("there is no run of `rekindle train` here: {}", .0.display())]
    NoRun(PathBuf),
    /// The run has ended.
    #[error("this run is finished: {}", .0.display())]
    Finished(PathBuf),
    /// All names are taken.
    #[error("there are too many runs of this name: {}", .0.display())]
    TooMany(PathBuf),
}

impl RunError {
    /// How the program should end.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::BadName(_) | Self::NoRun(_) | Self::Finished(_) => ExitCode::Usage,
            _ => ExitCode::Io,
        }
    }

    /// What the user can do about it.
    pub fn help(&self) -> String {
        match self {
            Self::BadName(_) => {
                "use letters, digits, `-`, `_` and `.`, without a leading dot".into()
            }
            Self::NotWritable { cause, .. } => {
                format!("{}: `--out DIR` names another folder", advice(cause))
            }
            Self::Write(error) => error.help(),
            Self::InUse(_) => "wait until it is done, or give the run another --name".into(),
            Self::NoRun(_) => {
                "give the folder that `rekindle train` made, such as runs/NAME; it holds command.json"
                    .into()
            }
            Self::Finished(_) => "its model is there; train anew for another".into(),
            Self::TooMany(_) => "give the run another --name, or delete old runs".into(),
        }
    }
}

/// The name of a run the user gave none: date and time, network and head, such as
/// `20260302-141503-resnet18-linear`.
pub fn default_name(now: &jiff::civil::DateTime, model: &str, head: &str) -> String {
    format!("{}-{model}-{head}", now.strftime("%Y%m%d-%H%M%S"))
}

/// Refuses a name that no run can have, and a place for runs that is no folder: before anything is read.
///
/// # Errors
/// [`RunError::BadName`] or [`RunError::NotWritable`].
pub fn check(root: &Path, name: Option<&str>) -> Result<(), RunError> {
    if let Some(name) = name.filter(|name| !is_plain_name(name)) {
        return Err(RunError::BadName(name.into()));
    }
    // What is not there will be made.
    let is_elsewhere = match fs::metadata(root) {
        Ok(metadata) => !metadata.is_dir(),
        // A file stands where a folder above it should.
        Err(error) => error.kind() == io::ErrorKind::NotADirectory,
    };
    match is_elsewhere {
        true => Err(RunError::NotWritable {
            path: root.to_owned(),
            cause: io::Error::from(io::ErrorKind::NotADirectory),
        }),
        false => Ok(()),
    }
}

/// The folder of one run, locked against other processes as long as this value lives.
#[derive(Debug)]
pub struct Run {
    name: String,
    folder: PathBuf,
    metrics: Option<File>,
    lock: File,
    is_resumed: bool,
    /// Ctrl-C takes it back as long as it has no model.
    _unfinished: Unfinished,
}

impl Run {
    /// Makes a new folder `root/name`, or `name-2`, `name-3`, … if there is one already, and makes
    /// sure that it can be written to, so that a read-only disk is found out before the training
    /// and not after it.
    ///
    /// # Errors
    /// [`RunError::BadName`] or [`RunError::NotWritable`].
    pub fn create(root: &Path, name: &str) -> Result<Self, RunError> {
        if !is_plain_name(name) {
            return Err(RunError::BadName(name.into()));
        }
        let not_writable = |cause| RunError::NotWritable {
            path: root.to_owned(),
            cause,
        };
        fs::create_dir_all(root).map_err(not_writable)?;
        for number in 1..=MOST_RUNS_OF_A_NAME {
            let name = if number == 1 {
                name.into()
            } else {
                format!("{name}-{number}")
            };
            let folder = root.join(&name);
            // Making a folder is atomic: of two processes that race for a name, one gets it.
            match fs::create_dir(&folder) {
                Ok(()) => {
                    // As on a full disk.
                    let lock = lock(&folder).inspect_err(|_| _ = fs::remove_dir(&folder))?;
                    let of_undo = folder.clone();
                    return Ok(Self {
                        name,
                        folder,
                        metrics: None,
                        lock,
                        is_resumed: false,
                        _unfinished: Unfinished::new(move || {
                            let _ = fs::remove_file(of_undo.join(LOCK));
                            remove_if_unfinished(&of_undo);
                        }),
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(cause) => return Err(not_writable(cause)),
            }
        }
        Err(RunError::TooMany(root.join(name)))
    }

    /// Opens the folder of a run that was stopped, to go on with it.
    ///
    /// # Errors
    /// [`RunError::NoRun`] if none began there, [`RunError::Finished`] if it has its model, [`RunError::InUse`] while
    /// another process works on it.
    pub fn resume(folder: &Path) -> Result<Self, RunError> {
        if !folder.join(COMMAND).is_file() {
            return Err(RunError::NoRun(folder.to_owned()));
        }
        let lock = lock(folder)?;
        files::remove_halves(folder);
        if folder.join(MODEL).exists() {
            drop(lock);
            // It was ended between its last file and its tidying up.
            for file in [CHECKPOINT, PARTS, LOCK] {
                let _ = fs::remove_file(folder.join(file));
            }
            return Err(RunError::Finished(folder.to_owned()));
        }
        let name = folder.file_name().unwrap_or_default();
        let of_undo = folder.to_owned();
        Ok(Self {
            name: name.to_string_lossy().into_owned(),
            folder: folder.to_owned(),
            metrics: None,
            lock,
            is_resumed: true,
            _unfinished: Unfinished::new(move || _ = fs::remove_file(of_undo.join(LOCK))),
        })
    }

    /// Whether it goes on with what was stopped.
    pub fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// Reads a whole file of the run; nothing if it has none of the name.
    ///
    /// # Errors
    /// What the system says.
    pub fn read(&self, file: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.folder.join(file)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes a file of the run that has served its purpose.
    pub fn remove(&self, file: &str) {
        let _ = fs::remove_file(self.folder.join(file));
    }

    /// Bytes of [`METRICS`].
    pub fn metrics_length(&self) -> u64 {
        fs::metadata(self.folder.join(METRICS)).map_or(0, |metadata| metadata.len())
    }

    /// Takes back what was appended to [`METRICS`] beyond so many bytes.
    ///
    /// # Errors
    /// What the system says.
    pub fn cut_metrics(&mut self, length: u64) -> io::Result<()> {
        let Some(mut lines) = self.read(METRICS)? else {
            return Ok(());
        };
        let there = lines.len();
        lines.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        // A line that was torn off, by a power cut say, is none.
        let whole = lines.iter().rposition(|&byte| byte == b'\n');
        lines.truncate(whole.map_or(0, |end| end + 1));
        if lines.len() < there {
            let path = self.folder.join(METRICS);
            let file = OpenOptions::new().write(true).open(path)?;
            file.set_len(lines.len() as u64)?;
        }
        Ok(())
    }

    /// The name of the folder, which may carry a number the user did not give.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a whole file of the run, such as [`MODEL`], and returns its path.
    ///
    /// # Errors
    /// [`RunError::Write`]; the file then does not exist, or still has its former content.
    pub fn write(&self, file: &str, bytes: &[u8]) -> Result<PathBuf, RunError> {
        let path = self.folder.join(file);
        files::write(&path, bytes)?;
        Ok(path)
    }

    /// Appends one line to [`METRICS`].
    ///
    /// # Errors
    /// [`RunError::Write`].
    pub fn append_metrics(&mut self, record: &impl serde::Serialize) -> Result<(), RunError> {
        let path = self.folder.join(METRICS);
        append(&mut self.metrics, &path, record).map_err(|cause| WriteError { path, cause })?;
        Ok(())
    }

    /// Takes back a run that was stopped before it had a model: losses of a training that came to nothing
    /// help nobody. A folder with a model, or with anything that is not ours, stays.
    pub fn discard_if_unfinished(self) {
        let folder = self.folder.clone();
        drop(self);
        remove_if_unfinished(&folder);
    }
}

fn remove_if_unfinished(folder: &Path) {
    // What can go on is kept.
    if folder.join(CHECKPOINT).exists() || folder.join(PARTS).exists() {
        return;
    }
    if !folder.join(MODEL).exists() {
        for file in [
            METRICS,
            COMMAND,
            PHOTOS,
            GIVEN_RECIPE,
            RECIPE,
            MANIFEST,
            REPORT,
        ] {
            let _ = fs::remove_file(folder.join(file));
        }
    }
    // Fails, as it should, if anything is in it.
    let _ = fs::remove_dir(folder);
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.lock.unlock();
        // A leftover lock file does no harm: the lock is on the open file, not in its existence.
        let _ = fs::remove_file(self.folder.join(LOCK));
    }
}

/// Where the hashes of the photos that a head was trained on are kept: in the model's card, or in the
/// run's manifest if they are too many.
pub fn keep_hashes(photos: PhotoHashes) -> (Option<PhotoHashes>, Option<PhotoHashes>) {
    if photos.len() <= PhotoHashes::MOST {
        (Some(photos), None)
    } else {
        (None, Some(photos))
    }
}

/// The photos that a model file was trained on, as the manifest beside it tells. Nothing if there is
/// none, it belongs to another file, or it does not say.
pub fn hashes_in_manifest(model: &Path) -> Option<PhotoHashes> {
    let manifest = fs::read(model.with_file_name(MANIFEST)).ok()?;
    let mut manifest: Value = serde_json::from_slice(&manifest).ok()?;
    let photos = manifest.get_mut("data")?.get_mut("trained_on")?.take();
    let photos = serde_json::from_value::<Option<PhotoHashes>>(photos).ok()??;
    let model = hash_file(model).ok()?.to_string();
    (manifest.get("model_sha256")?.as_str()? == model).then_some(photos)
}

fn append(file: &mut Option<File>, path: &Path, record: &impl serde::Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    let file = match file {
        Some(file) => file,
        none => none.insert(OpenOptions::new().create(true).append(true).open(path)?),
    };
    // One call for the whole line, so that a reader or a kill never sees half of one.
    file.write_all(&line)
}

fn lock(folder: &Path) -> Result<File, RunError> {
    let not_writable = |cause| RunError::NotWritable {
        path: folder.to_owned(),
        cause,
    };
    let file = File::create(folder.join(LOCK)).map_err(not_writable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(RunError::InUse(folder.to_owned())),
        // Some network file systems cannot lock; the folder is new and nobody else knows it.
        Err(fs::TryLockError::Error(_)) => Ok(file),
    }
}

/// Whether `name` is one plain path component that every system accepts.
fn is_plain_name(name: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ' | '+');
    !name.is_empty()
        && name.len() <= 200
        && !name.starts_with(['.', ' '])
        && !name.ends_with(['.', ' '])
        && name.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_never_overwrites_another() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().join("deep/runs");
        let names: Vec<_> = (0..3)
            .map(|_| {
                let run = Run::create(&root, "pets").unwrap();
                run.write(MODEL, run.name().as_bytes()).unwrap();
                run.name().to_owned()
            })
            .collect();
        assert_eq!(names, ["pets", "pets-2", "pets-3"]);
        for name in names {
            assert_eq!(
                fs::read_to_string(root.join(&name).join(MODEL)).unwrap(),
                name
            );
        }
    }

    #[test]
    fn racing_processes_get_folders_of_their_own() {
        let root = tempfile::tempdir().unwrap();
        let mut names: Vec<String> = std::thread::scope(|scope| {
            let run = || Run::create(root.path(), "race").unwrap().name().to_owned();
            let racers: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
            racers
                .into_iter()
                .map(|racer| racer.join().unwrap())
                .collect()
        });
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 8);
    }

    #[test]
    fn a_folder_in_use_is_locked() {
        let root = tempfile::tempdir().unwrap();
        let run = Run::create(root.path(), "busy").unwrap();
        assert!(matches!(lock(run.folder()), Err(RunError::InUse(_))));
        let folder = run.folder().to_owned();
        drop(run);
        assert!(lock(&folder).is_ok());
    }

    #[test]
    fn metrics_grow_by_whole_lines_and_files_are_replaced_whole() {
        let root = tempfile::tempdir().unwrap();
        let mut run = Run::create(root.path(), "m").unwrap();
        for step in 0..3 {
            run.append_metrics(&serde_json::json!({ "step": step }))
                .unwrap();
        }
        let metrics = fs::read_to_string(run.folder().join(METRICS)).unwrap();
        assert_eq!(metrics, "{\"step\":0}\n{\"step\":1}\n{\"step\":2}\n");
        run.write(RECIPE, b"old, and longer").unwrap();
        let path = run.write(RECIPE, b"new").unwrap();
        assert_eq!(fs::read(path).unwrap(), b"new");
        let left: Vec<_> = fs::read_dir(run.folder())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert!(
            !left
                .iter()
                .any(|name| name.to_string_lossy().ends_with(".tmp")),
            "{left:?}"
        );
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_found_out_at_once() {
        // A file in the place of the folder is refused for everybody, the superuser included.
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("runs");
        fs::write(&file, "in the way").unwrap();
        let error = Run::create(&file, "x").unwrap_err();
        assert!(matches!(error, RunError::NotWritable { .. }), "{error}");
        assert_eq!(error.exit_code(), ExitCode::Io);
        assert!(error.help().contains("--out"));
    }

    #[cfg(unix)]
    #[test]
    fn a_read_only_folder_is_refused_before_any_work() {
        use std::os::unix::fs::PermissionsExt as _;
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o555)).unwrap();
        match Run::create(root.path(), "x") {
            Err(error) => assert!(matches!(error, RunError::NotWritable { .. }), "{error}"),
            // The superuser may write everywhere.
            Ok(run) => assert!(run.folder().is_dir()),
        }
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn names_stay_inside_the_runs_folder() {
        let root = tempfile::tempdir().unwrap();
        for name in [
            "", ".", "..", "../x", "a/b", "a\\b", "/abs", ".hidden", "C:", "a\0b", "x.", "a\n",
        ] {
            let error = Run::create(root.path(), name).unwrap_err();
            assert_eq!(error.exit_code(), ExitCode::Usage, "{name:?}");
        }
        assert!(Run::create(root.path(), "Fische und Käfer 2.1").is_ok());
        let now = jiff::civil::date(2026, 3, 2).at(14, 15, 3, 0);
        assert_eq!(
            default_name(&now, "resnet18", "linear"),
            "20260302-141503-resnet18-linear"
        );
    }

    #[test]
    fn beyond_ten_thousand_photos_the_manifest_tells_which() {
        let hash = |number: usize| {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&number.to_be_bytes());
            hash
        };
        let few = PhotoHashes::new((0..10_000).map(hash));
        assert_eq!(keep_hashes(few.clone()), (Some(few), None));
        let many = PhotoHashes::new((0..10_001).map(hash));
        let (card, manifest) = keep_hashes(many.clone());
        assert_eq!((&card, &manifest), (&None, &Some(many.clone())));

        let root = tempfile::tempdir().unwrap();
        let model = root.path().join(MODEL);
        let write = |file: &str, bytes: &[u8]| fs::write(root.path().join(file), bytes).unwrap();
        write(MODEL, b"abc");
        assert_eq!(hashes_in_manifest(&model), None);
        let said = serde_json::json!({
            // SHA-256 of "abc", from FIPS 180-2.
            "model_sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "data": { "trained_on": manifest },
        });
        write(MANIFEST, said.to_string().as_bytes());
        assert_eq!(hashes_in_manifest(&model), Some(many));
        write(MODEL, b"another");
        assert_eq!(hashes_in_manifest(&model), None);
        write(MODEL, b"abc");
        write(
            MANIFEST,
            br#"{"model_sha256": "ba78", "data": {"trained_on": "zz"}}"#,
        );
        assert_eq!(hashes_in_manifest(&model), None);
    }

    #[test]
    fn a_run_without_a_model_can_be_discarded_and_no_other() {
        let root = tempfile::tempdir().unwrap();
        let mut run = Run::create(root.path(), "unfinished").unwrap();
        let folder = run.folder().to_owned();
        run.append_metrics(&serde_json::json!({ "step": 0 }))
            .unwrap();
        run.discard_if_unfinished();
        assert!(!folder.exists());

        let mut run = Run::create(root.path(), "full").unwrap();
        let model = run.write(MODEL, b"model").unwrap();
        run.append_metrics(&serde_json::json!({ "step": 0 }))
            .unwrap();
        let folder = run.folder().to_owned();
        run.discard_if_unfinished();
        assert!(model.exists() && folder.join(METRICS).exists());

        let run = Run::create(root.path(), "with a note").unwrap();
        let note = run.folder().join("note.txt");
        fs::write(&note, "mine").unwrap();
        run.discard_if_unfinished();
        assert!(note.exists());
    }
}
