#![cfg_attr(fuzzing, no_main)]
rekindle_fuzz::main!("legacy");
