//! libFuzzer's executable of the target `tiff`.

#![cfg_attr(fuzzing, no_main)]

rekindle_fuzz::main!(tiff);
