//! libFuzzer's executable of the target `bmp`.

#![cfg_attr(fuzzing, no_main)]

rekindle_fuzz::main!(bmp);
