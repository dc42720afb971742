//! libFuzzer's executable of the target `webp`.

#![cfg_attr(fuzzing, no_main)]

rekindle_fuzz::main!(webp);
