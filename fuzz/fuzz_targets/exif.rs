//! libFuzzer's executable of the target `exif`.

#![cfg_attr(fuzzing, no_main)]

rekindle_fuzz::main!(exif);
