//! libFuzzer's executable of the target `card`.

#![cfg_attr(fuzzing, no_main)]

rekindle_fuzz::main!(card);
