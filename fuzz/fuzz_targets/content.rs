//! libFuzzer's executable of the target `content`.

#![cfg_attr(fuzzing, no_main)]

rekindle_fuzz::main!(content);
