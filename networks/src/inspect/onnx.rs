//! A network as an ONNX file, for runtimes that know nothing of us.
//!
//! Each step of the graph becomes the ONNX operators that say the same (operator set 20); what
//! depends on the network alone, such as the biases by relative position, is computed here and
//! written as a constant. The batch is free, the image's size is fixed.

pub use crate::onnx::OnnxError;

use crate::graph::Graph;
use crate::model::{Contents, METADATA_KEY};
use crate::onnx::{Message, Name, Writer, value_info};
use crate::weights::StateDict;

/// The version of ONNX's file format.
const IR_VERSION: i64 = 9;
/// The version of its operators.
const OPERATORS: i64 = 20;
/// The longest protocol buffer, in bytes.
const LARGEST: u64 = (1 << 31) - 1;

/// The bytes of an ONNX file: `image [batch, C, H, W]`, normalised, to the network's outputs by their names, such as
/// `logits [batch, classes]`. The model's card travels in the metadata under the same key as in our own files.
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
    let mut body = steps(graph, tensors)?
        .text(2, "rekindle")
        .message(11, &value_info("image", graph.input()));
    for output in graph.main_outputs() {
        let shape = graph.shape_of(output.value);
        body = body.message(12, &value_info(&output.name, shape));
    }
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

/// The operators of the steps that lead to the outputs.
fn steps(graph: &Graph, tensors: &StateDict<'_>) -> Result<Message, OnnxError> {
    let mut writer = Writer::new(tensors);
    let mut names: Vec<Name> = vec![String::new(); graph.nodes().len() + 1];
    "image".clone_into(&mut names[0]);
    for (index, node) in graph.main() {
        let inputs: Vec<&str> = node
            .inputs
            .iter()
            .map(|&value| names[value].as_str())
            .collect();
        writer.begin(&node.name);
        names[index + 1] = node
            .op
            .exported()
            .onnx(&graph.site(node), &inputs, &mut writer)?;
    }
    for output in graph.main_outputs() {
        writer.put_out(&names[output.value], &output.name);
    }
    Ok(writer.finish())
}
