//! libFuzzer's executable of the target `gif`.

#![cfg_attr(fuzzing, no_main)]

rekindle_fuzz::main!(gif);
