//! libFuzzer's executable of the target `zip`.

#![cfg_attr(fuzzing, no_main)]

rekindle_fuzz::main!(zip);
