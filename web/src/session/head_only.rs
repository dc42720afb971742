//! What the engine without Burn says where more of a network than its head is to be trained.

use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use super::{Answer, Session, failed};
use crate::error::Failure;

#[wasm_bindgen]
impl Session {
    /// Refuses: this engine trains heads.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn tuning(&self) -> Answer<JsValue> {
        Err(refusal())
    }

    /// Refuses: this engine trains heads.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn training(&self) -> Answer<JsValue> {
        Err(refusal())
    }
}

impl Session {
    pub(super) fn trains(&self) -> bool {
        false
    }

    pub(super) fn forget_values(&mut self) {}
}

fn refusal() -> JsValue {
    failed(Failure::unsupported(
        "training more than the head takes a graphics adapter, and this page runs on the processor",
        "Use a browser with WebGPU, or `rekindle train --tune last` on the command line.",
    ))
}
