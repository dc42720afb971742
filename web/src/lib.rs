//! Rekindle in a browser: the same core, in a Web Worker.
//!
//! One [`Session`] holds a device, a model and the photos a person has taught it, as features. The
//! page talks to it through `www/rekindle.js`, whose types are in `www/rekindle.d.ts`.
//!
//! The page has two builds of this crate: one that drives graphics adapters and the processor, and a
//! small one without the feature `gpu` for visitors who would use the processor anyway.

#[cfg(feature = "training")]
mod engine;
mod error;
#[cfg(feature = "gpu")]
mod frame;
mod learning;
mod project;
mod session;
#[cfg(feature = "training")]
mod training;
#[cfg(feature = "training")]
mod tuning;

pub use session::Session;

/// Whether graphics adapters run Rekindle's own kernels, as they do from the start, or Burn's: for the
/// benchmark.
#[cfg(feature = "gpu")]
#[wasm_bindgen(js_name = useOwnKernels)]
pub fn use_own_kernels(on: bool) {
    rekindle_core::kernels::switch(on);
}

use wasm_bindgen::prelude::wasm_bindgen;

#[cfg(target_family = "wasm")]
#[allow(unsafe_code)]
unsafe extern "C" {
    fn __wasm_call_ctors();
}

/// Runs once, when the module is loaded.
#[wasm_bindgen(start)]
#[allow(unsafe_code)]
pub fn start() {
    // CubeCL registers its operations in constructors, where it is there. Called here once; otherwise
    // the linker would run them again at every exported call.
    #[cfg(target_family = "wasm")]
    // SAFETY: the linker provides the function; it takes nothing and is called before anything else.
    unsafe {
        __wasm_call_ctors();
    }
    console_error_panic_hook::set_once();
}
