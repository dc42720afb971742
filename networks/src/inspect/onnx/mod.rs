//! A network as an ONNX file, for runtimes that know nothing of us.
//!
//! Each step of the graph becomes the ONNX operators that say the same (operator set 20); what
//! depends on the network alone, such as the biases by relative position, is computed here and
//! written as a constant. The batch is free, the image's size is fixed.

mod proto;
mod write;

use thiserror::Error;

use crate::graph::Graph;
use crate::model::{Contents, METADATA_KEY};
use crate::weights::StateDict;
use proto::{Message, value_info};
use write::Writer;

/// Why a network could not be written.
#[derive(Debug, Error)]
pub enum OnnxError {
    /// Protocol buffers end at two gibibytes.
    #[error(
        "the network is too large for one ONNX file: {bytes} bytes, and protocol buffers end at 2 GiB"
    )]
    TooLarge {
        /// What it would take.
        bytes: u64,
    },
    /// A step whose numbers the model does not hold.
    #[error("the model has no tensor called '{name}'")]
    Missing {
        /// The tensor's name.
        name: String,
    },
}

/// The version of ONNX's file format.
const IR_VERSION: i64 = 9;
/// The version of its operators.
const OPERATORS: i64 = 20;
const LARGEST: u64 = (1 << 31) - 1;

/// The bytes of an ONNX file: `image [batch, 3, H, W]`, normalised, to `logits [batch, classes]`. The
/// model's card travels in the metadata under the same key as in our own files.
///
/// # Errors
///
/// When the model is larger than the format allows.
pub fn export(model: &Contents) -> Result<Vec<u8>, OnnxError> {
    let bytes = 4 * model.parameters() as u64;
    if bytes > LARGEST {
        return Err(OnnxError::TooLarge { bytes });
    }
    let tensors = model.state_dict();
    let card = serde_json::to_string(&model.card).unwrap_or_default();
    file(model.graph(), &tensors, &card)
}

fn file(graph: &Graph, tensors: &StateDict<'_>, card: &str) -> Result<Vec<u8>, OnnxError> {
    let mut writer = Writer::new(graph, tensors);
    let logits = writer.network()?;
    let body = writer
        .finish(&logits, "logits")
        .text(2, "rekindle")
        .message(11, &value_info("image", &graph.image()))
        .message(12, &value_info("logits", graph.shape()));
    if body.len() as u64 > LARGEST {
        return Err(OnnxError::TooLarge {
            bytes: body.len() as u64,
        });
    }
    let operators = Message::default().text(1, "").int(2, OPERATORS);
    let entry = Message::default().text(1, METADATA_KEY).text(2, card);
    Ok(Message::default()
        .int(1, IR_VERSION)
        .text(2, "rekindle")
        .text(3, env!("CARGO_PKG_VERSION"))
        .message(7, &body)
        .message(8, &operators)
        .message(14, &entry)
        .into_bytes())
}
