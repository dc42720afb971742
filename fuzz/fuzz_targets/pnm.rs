//! libFuzzer's executable of the target `pnm`.

#![cfg_attr(fuzzing, no_main)]

rekindle_fuzz::main!(pnm);
