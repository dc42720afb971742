//! libFuzzer's executable of the target `jpeg`.

#![cfg_attr(fuzzing, no_main)]

rekindle_fuzz::main!(jpeg);
