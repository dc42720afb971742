//! libFuzzer's executable of the target `pickle`.

#![cfg_attr(fuzzing, no_main)]

rekindle_fuzz::main!(pickle);
