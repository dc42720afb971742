//! libFuzzer's executable of the target `weights`.

#![cfg_attr(fuzzing, no_main)]

rekindle_fuzz::main!(weights);
