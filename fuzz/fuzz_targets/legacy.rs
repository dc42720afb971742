//! libFuzzer's executable of the target `legacy`.

#![cfg_attr(fuzzing, no_main)]

rekindle_fuzz::main!(legacy);
