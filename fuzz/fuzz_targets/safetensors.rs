//! libFuzzer's executable of the target `safetensors`.

#![cfg_attr(fuzzing, no_main)]

rekindle_fuzz::main!(safetensors);
