//! The body of an ONNX graph, written operator by operator.

use std::collections::BTreeSet;

use thiserror::Error;

use super::proto::{Attribute, Element, Message, node, tensor};
use crate::weights::StateDict;

use Attribute::Ints;

/// The name of a value in the file.
pub type Name = String;

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

/// Writes a graph's operators and constants.
///
/// Every method that adds an operator returns the name of the value that it puts out.
#[derive(Debug)]
pub struct Writer<'a> {
    tensors: &'a StateDict<'a>,
    body: Message,
    /// The names of the constants that have been written.
    constants: BTreeSet<Name>,
    count: usize,
    /// Where the step being written stands.
    place: String,
}

impl<'a> Writer<'a> {
    /// A writer of steps whose numbers are these.
    pub fn new(tensors: &'a StateDict<'a>) -> Self {
        Self {
            tensors,
            body: Message::default(),
            constants: BTreeSet::new(),
            count: 0,
            place: String::new(),
        }
    }

    /// Says which step the operators that follow belong to.
    pub fn begin(&mut self, step: &str) {
        step.clone_into(&mut self.place);
    }

    /// Gives a value the name under which the file puts it out.
    pub fn put_out(&mut self, value: &str, name: &str) {
        let body = std::mem::take(&mut self.body);
        self.body = body.message(1, &node("Identity", name, &[value], name, &[]));
    }

    /// What has been written.
    pub fn finish(self) -> Message {
        self.body
    }

    // Operators

    /// Any operator.
    pub fn op(&mut self, op: &str, inputs: &[&str], attributes: &[Attribute<'_>]) -> Name {
        self.count += 1;
        let output = format!("v{}", self.count);
        let name = match self.place.is_empty() {
            true => format!("{op}_{}", self.count),
            false => format!("{}/{op}_{}", self.place, self.count),
        };
        let body = std::mem::take(&mut self.body);
        self.body = body.message(1, &node(op, &name, inputs, &output, attributes));
        output
    }

    /// To `[batch, shape…]`.
    pub fn reshape(&mut self, x: &str, shape: &[usize]) -> Name {
        let axes = std::iter::once(-1).chain(shape.iter().map(|&axis| axis as i64));
        let axes = self.ints("shape", &axes.collect::<Vec<_>>());
        self.op("Reshape", &[x, &axes], &[])
    }

    /// The axes in another order, the batch among them.
    pub fn transpose(&mut self, x: &str, order: &[i64]) -> Name {
        self.op("Transpose", &[x], &[Ints("perm", order.to_vec())])
    }

    /// Positions `from..to` of an axis.
    pub fn slice(&mut self, x: &str, axis: i64, from: usize, to: usize) -> Name {
        let from = self.ints("from", &[from as i64]);
        let to = self.ints("to", &[to as i64]);
        let axes = self.ints("axes", &[axis]);
        self.op("Slice", &[x, &from, &to, &axes], &[])
    }

    /// Maps `[batch, H, W, C]` with zeros below and to the right.
    pub fn pad_maps(&mut self, x: &str, below: usize, right: usize) -> Name {
        if below + right == 0 {
            return x.to_owned();
        }
        let (below, right) = (below as i64, right as i64);
        let pads = self.ints("pads", &[0, 0, 0, 0, 0, below, right, 0]);
        self.op("Pad", &[x, &pads], &[])
    }

    /// Everything moved towards the start of an axis, with wrap-around.
    pub fn rolled(&mut self, x: &str, axis: i64, by: usize, length: usize) -> Name {
        if by == 0 {
            return x.to_owned();
        }
        let tail = self.slice(x, axis, by, length);
        let head = self.slice(x, axis, 0, by);
        self.op("Concat", &[&tail, &head], &[Attribute::Int("axis", axis)])
    }

    /// `x · weightᵀ + bias` over the last axis; `weight` is PyTorch's `[out, in]`, called `name`.
    ///
    /// # Errors
    ///
    /// When there is no tensor of that name.
    pub fn projected(
        &mut self,
        x: &str,
        name: &str,
        weight: &[f32],
        bias: Option<&[f32]>,
    ) -> Result<Name, OnnxError> {
        let output = match bias {
            Some(bias) => bias.len(),
            None => self.values(name)?.0[0],
        };
        let input = weight.len() / output;
        let transposed: Vec<f32> = (0..weight.len())
            .map(|index| weight[index % output * input + index / output])
            .collect();
        let matrix = self.named_floats(&format!("{name}.T"), &[input, output], &transposed);
        let product = self.op("MatMul", &[x, &matrix], &[]);
        Ok(match bias {
            Some(bias) => {
                let bias = self.named_floats(&format!("{name}.bias"), &[output], bias);
                self.op("Add", &[&product, &bias], &[])
            }
            None => product,
        })
    }

    /// Rows scaled to length one.
    pub fn unit(&mut self, x: &str) -> Name {
        let last = self.ints("last", &[-1]);
        let length = self.op("ReduceL2", &[x, &last], &[Attribute::Int("keepdims", 1)]);
        let least = self.floats("least", &[], &[1e-12]);
        let length = self.op("Max", &[&length, &least], &[]);
        self.op("Div", &[x, &length], &[])
    }

    // Constants

    /// Shape and numbers of a tensor of the state_dict.
    ///
    /// # Errors
    ///
    /// When there is no such tensor.
    pub fn values(&self, name: &str) -> Result<(&'a [usize], &'a [f32]), OnnxError> {
        self.tensors
            .get(name)
            .copied()
            .ok_or_else(|| OnnxError::Missing {
                name: name.to_owned(),
            })
    }

    /// Writes a tensor of the state_dict, under its name there.
    ///
    /// # Errors
    ///
    /// When there is no such tensor.
    pub fn state(&mut self, name: &str) -> Result<Name, OnnxError> {
        let (shape, values) = self.values(name)?;
        Ok(self.named_floats(name, shape, values))
    }

    fn named_floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Name {
        if self.constants.insert(name.to_owned()) {
            let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            self.constant(&tensor(name, shape, Element::Float, &raw));
        }
        name.to_owned()
    }

    /// A constant of this step's own.
    pub fn floats(&mut self, what: &str, shape: &[usize], values: &[f32]) -> Name {
        let name = self.numbered(what);
        self.named_floats(&name, shape, values)
    }

    /// Whole numbers in a row.
    pub fn ints(&mut self, what: &str, values: &[i64]) -> Name {
        self.int_tensor(what, &[values.len()], values)
    }

    /// One whole number.
    pub fn scalar(&mut self, what: &str, value: i64) -> Name {
        self.int_tensor(what, &[], &[value])
    }

    fn int_tensor(&mut self, what: &str, shape: &[usize], values: &[i64]) -> Name {
        let name = self.numbered(what);
        let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(&tensor(&name, shape, Element::Int64, &raw));
        name
    }

    fn numbered(&mut self, what: &str) -> Name {
        self.count += 1;
        format!("{what}_{}", self.count)
    }

    fn constant(&mut self, tensor: &Message) {
        let body = std::mem::take(&mut self.body);
        self.body = body.message(5, tensor);
    }
}
