//! Other people's lines kept off the terminal.

/// Runs `act` while nothing that libraries write to the process's error output reaches the terminal, and returns
/// those lines beside what came of it.
///
/// Graphics drivers and the loaders beneath them say what they think of the machine (no desktop, an old card)
/// whenever somebody looks for adapters, and no option of theirs stops them all.
#[cfg(unix)]
pub fn hushed<R>(act: impl FnOnce() -> R) -> (R, String) {
    use std::io::{Read as _, Seek as _};

    let Some((turned, mut file)) = Turned::into_a_file() else {
        // Nothing can be kept away then, which is no reason not to work.
        return (act(), String::new());
    };
    let result = act();
    drop(turned);
    let mut said = Vec::new();
    let read = file.rewind().and_then(|()| file.read_to_end(&mut said));
    let said = read.map_or_else(|_| String::new(), |_| String::from_utf8_lossy(&said).into());
    (result, said)
}

/// On other systems drivers keep to themselves.
#[cfg(not(unix))]
pub fn hushed<R>(act: impl FnOnce() -> R) -> (R, String) {
    (act(), String::new())
}

/// The error output while it leads into a file; dropped, it leads again where it led before.
#[cfg(unix)]
struct Turned {
    before: std::os::fd::OwnedFd,
    file: std::fs::File,
}

#[cfg(unix)]
impl Turned {
    fn into_a_file() -> Option<(Self, std::fs::File)> {
        let file = tempfile::tempfile().ok()?;
        let before = rustix::io::dup(rustix::stdio::stderr()).ok()?;
        let turned = Self {
            before,
            file: file.try_clone().ok()?,
        };
        rustix::stdio::dup2_stderr(&file).ok()?;
        Some((turned, file))
    }
}

#[cfg(unix)]
impl Drop for Turned {
    fn drop(&mut self) {
        use std::io::{Seek as _, Write as _};

        // It led there before, so it can again.
        let _ = rustix::stdio::dup2_stderr(&self.before);
        // What a panic has to say is not to be lost.
        if std::thread::panicking() && self.file.rewind().is_ok() {
            let _ = std::io::copy(&mut self.file, &mut std::io::stderr().lock());
            let _ = std::io::stderr().flush();
        }
    }
}
