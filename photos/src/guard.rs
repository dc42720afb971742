//! Panics of other people's decoders: caught, so that one photo does not end a run over thousands, and kept off
//! the terminal.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use super::PhotoProblem;

thread_local! {
    /// Whether this thread is inside a decoder whose panic would be caught.
    static DECODING: Cell<bool> = const { Cell::new(false) };
}

/// Runs a decoder, and makes an error of its panic.
///
/// Decoders only see a file's bytes and make their own picture, so nothing of ours is left half-changed.
pub(super) fn guarded<R>(
    decode: impl FnOnce() -> Result<R, PhotoProblem>,
) -> Result<R, PhotoProblem> {
    let outer = DECODING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(decode));
    DECODING.set(outer);
    result.unwrap_or_else(|_| Err(PhotoProblem::Corrupt("the decoder gave up".into())))
}

/// Keeps the line that Rust prints of a panic off the error output where a decoder panics, which becomes an
/// ordinary error; all other panics are printed as before.
///
/// For programs: it replaces the panic hook of the process, once, however often it is called.
pub fn hush_decoder_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !DECODING.get() {
                before(panic);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_decoders_panic_is_an_error_without_a_line_and_other_panics_are_told() {
        static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let said = panic.payload_as_str().unwrap_or_default();
            match said.starts_with("for guard.rs") {
                true => TOLD.lock().unwrap().push(said.to_owned()),
                false => before(panic),
            }
        }));
        hush_decoder_panics();
        let decoded: Result<(), _> = guarded(|| panic!("for guard.rs: in a decoder"));
        assert_eq!(decoded.unwrap_err().kind(), "corrupt");
        // A decoder inside a decoder (TIFF holds JPEG) does not end the silence of the outer one.
        let decoded: Result<(), _> = guarded(|| {
            let inner: Result<(), _> = guarded(|| panic!("for guard.rs: in the inner one"));
            assert!(inner.is_err());
            panic!("for guard.rs: in the outer one")
        });
        assert!(decoded.is_err());
        let outside = panic::catch_unwind(|| panic!("for guard.rs: outside"));
        assert!(outside.is_err());
        assert_eq!(*TOLD.lock().unwrap(), ["for guard.rs: outside"]);
    }
}
