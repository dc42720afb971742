//! What is fuzzed: every reader of bytes that come from somebody else.
//!
//! A target is a function from bytes to nothing. It fails by a panic: one of the reader's own, or that of an
//! assertion about what came out. `fuzz_targets/` hands these functions to libFuzzer; the workspace's tests
//! call them on the seeds, cut and flipped, and on every input that ever broke one (`findings/`).

mod card;
mod pictures;
mod seeds;
mod weights;

use std::fmt::Display;

pub use card::{card, network};
pub use pictures::{bmp, content, exif, gif, jpeg, mask, png, pnm, tiff, webp};
pub use seeds::{findings, seeds};
pub use weights::{legacy, pickle, safetensors, weights, zip};

/// Something to fuzz.
pub struct Target {
    /// Its name, which is that of its executable, its dictionary, and its folder in `findings/`.
    pub name: &'static str,
    /// Reads the bytes; panics if something is wrong.
    pub run: fn(&[u8]),
}

/// All there is to fuzz.
pub const TARGETS: &[Target] = &[
    target("weights", weights::weights),
    target("safetensors", weights::safetensors),
    target("zip", weights::zip),
    target("legacy", weights::legacy),
    target("pickle", weights::pickle),
    target("card", card::card),
    target("network", card::network),
    target("content", pictures::content),
    target("exif", pictures::exif),
    target("jpeg", pictures::jpeg),
    target("png", pictures::png),
    target("mask", pictures::mask),
    target("webp", pictures::webp),
    target("gif", pictures::gif),
    target("bmp", pictures::bmp),
    target("tiff", pictures::tiff),
    target("pnm", pictures::pnm),
];

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}

/// Makes the `main` of a target's executable: libFuzzer's if `cargo fuzz` compiles it, otherwise one that runs
/// the files it is given, to look at a finding with stable Rust.
///
/// The function is named, not looked up in [`TARGETS`]: so the linker leaves out what the others call, whose
/// counters libFuzzer would go over after every run.
#[macro_export]
macro_rules! main {
    ($target:ident) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| $crate::$target(bytes));

        #[cfg(not(fuzzing))]
        fn main() -> std::io::Result<()> {
            for path in std::env::args_os().skip(1) {
                println!("{}", std::path::Path::new(&path).display());
                $crate::$target(&std::fs::read(path)?);
            }
            Ok(())
        }
    };
}

/// Asserts that a text fit for a person came of bytes that may hold anything: no control characters, which
/// would speak to the terminal, and no flood.
fn is_plain(text: impl Display) {
    let text = text.to_string();
    assert!(
        !text.is_empty() && text.len() < 4096,
        "{} bytes",
        text.len()
    );
    assert!(!text.contains(char::is_control), "{text:?}");
}

/// A safetensors file of this header and this data.
fn safetensors_file(header: &[u8], data: &[u8]) -> Vec<u8> {
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header, data].concat()
}
