//! What `fuzz/` holds, without a fuzzer: every reader of foreign bytes survives its seeds, whole, cut and
//! changed, and whatever broke it once.

#![allow(clippy::unwrap_used)] // helpers of tests, where a panic is the report

use rekindle_fuzz::{TARGETS, Target, findings, seeds};

/// Bytes from which seeds are cut at every length and changed everywhere; longer ones at this many places.
const PLACES: usize = 256;

/// Runs a target, and says of which bytes if it panics.
fn survives(target: &Target, bytes: &[u8], what: impl Fn() -> String) {
    let ran = std::panic::catch_unwind(|| (target.run)(bytes));
    assert!(ran.is_ok(), "{}: {}", target.name, what());
}

#[test]
fn every_target_survives_what_broke_it_once() {
    for target in TARGETS {
        for (number, bytes) in findings(target.name).iter().enumerate() {
            survives(target, bytes, || format!("finding {number}"));
        }
    }
}

#[test]
fn every_target_survives_its_seeds_whole_cut_and_changed() {
    for target in TARGETS {
        let seeds = seeds(target.name);
        assert!(seeds.len() > 2, "{} has {} seeds", target.name, seeds.len());
        for (number, seed) in seeds.iter().enumerate() {
            survives(target, seed, || format!("seed {number}"));
            // One of eight seeds at each place, so that all of it takes seconds.
            let step = seed.len().div_ceil(PLACES).max(1) * seeds.len().div_ceil(8);
            for at in (number % step..seed.len()).step_by(step) {
                survives(target, &seed[..at], || format!("seed {number} cut to {at}"));
                let mut changed = seed.clone();
                changed[at] ^= 1 << (at % 8);
                survives(target, &changed, || {
                    format!("seed {number} changed at {at}")
                });
            }
        }
    }
}

#[test]
fn every_target_has_an_executable_for_the_fuzzer() {
    let folder = rekindle_tests::root().join("fuzz/fuzz_targets");
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    let mut targets: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    targets.sort_unstable();
    assert_eq!(names, targets);
}
