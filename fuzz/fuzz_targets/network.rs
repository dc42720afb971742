//! libFuzzer's executable of the target `network`.

#![cfg_attr(fuzzing, no_main)]

rekindle_fuzz::main!(network);
