//! libFuzzer's executable of the target `png`.

#![cfg_attr(fuzzing, no_main)]

rekindle_fuzz::main!(png);
