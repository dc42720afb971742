//! libFuzzer's executable of the target `mask`.

#![cfg_attr(fuzzing, no_main)]

rekindle_fuzz::main!(mask);
