//! As much of protocol buffers as an ONNX file takes.
//!
//! The messages and field numbers are those of `onnx.proto`,
//! <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>.

/// A message being written.
#[derive(Debug, Default, Clone)]
pub struct Message(Vec<u8>);

impl Message {
    /// The bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// How long it is so far.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u32, wire: u32) {
        self.varint(u64::from(field << 3 | wire));
    }

    /// A whole number.
    pub fn int(mut self, field: u32, value: i64) -> Self {
        self.key(field, 0);
        // Negative numbers are written as ten bytes, two's complement.
        self.varint(value as u64);
        self
    }

    /// A number of 32 bits.
    pub fn float(mut self, field: u32, value: f32) -> Self {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Bytes.
    pub fn bytes(mut self, field: u32, bytes: &[u8]) -> Self {
        self.key(field, 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    /// Text.
    pub fn text(self, field: u32, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    /// A message inside this one.
    pub fn message(self, field: u32, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }
}

/// What steers a node.
#[derive(Debug, Clone)]
pub enum Attribute<'a> {
    Int(&'a str, i64),
    Float(&'a str, f32),
    Ints(&'a str, Vec<i64>),
    Text(&'a str, &'a str),
}

impl Attribute<'_> {
    /// An `AttributeProto`.
    fn message(&self) -> Message {
        const FLOAT: i64 = 1;
        const INT: i64 = 2;
        const STRING: i64 = 3;
        const INTS: i64 = 7;
        match self {
            Self::Int(name, value) => Message::default().text(1, name).int(3, *value).int(20, INT),
            Self::Float(name, value) => Message::default()
                .text(1, name)
                .float(2, *value)
                .int(20, FLOAT),
            Self::Text(name, text) => {
                let message = Message::default().text(1, name).text(4, text);
                message.int(20, STRING)
            }
            Self::Ints(name, values) => {
                let message = Message::default().text(1, name);
                let message = values.iter().fold(message, |m, &value| m.int(8, value));
                message.int(20, INTS)
            }
        }
    }
}

/// A `NodeProto`.
pub fn node(
    op: &str,
    name: &str,
    inputs: &[&str],
    output: &str,
    attributes: &[Attribute<'_>],
) -> Message {
    let message = inputs
        .iter()
        .fold(Message::default(), |m, input| m.text(1, input))
        .text(2, output)
        .text(3, name)
        .text(4, op);
    attributes
        .iter()
        .fold(message, |m, attribute| m.message(5, &attribute.message()))
}

/// What tensors are made of.
#[derive(Debug, Clone, Copy)]
pub enum Element {
    Float = 1,
    Int64 = 7,
}

/// A `TensorProto`.
pub fn tensor(name: &str, shape: &[usize], element: Element, raw: &[u8]) -> Message {
    let message = shape
        .iter()
        .fold(Message::default(), |m, &axis| m.int(1, axis as i64));
    message.int(2, element as i64).text(8, name).bytes(9, raw)
}

/// A `ValueInfoProto` of floats `[batch, …]`.
pub fn value_info(name: &str, shape: &[usize]) -> Message {
    let batch = Message::default().text(2, "batch");
    let axes = shape
        .iter()
        .map(|&axis| Message::default().int(1, axis as i64));
    let shape = std::iter::once(batch)
        .chain(axes)
        .fold(Message::default(), |m, axis| m.message(1, &axis));
    let tensor_type = Message::default()
        .int(1, Element::Float as i64)
        .message(2, &shape);
    let value_type = Message::default().message(1, &tensor_type);
    Message::default().text(1, name).message(2, &value_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_format_says() {
        // The examples of <https://protobuf.dev/programming-guides/encoding/>.
        assert_eq!(
            Message::default().int(1, 150).into_bytes(),
            [0x08, 0x96, 0x01]
        );
        assert_eq!(
            Message::default().text(2, "testing").into_bytes(),
            [0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67]
        );
        assert_eq!(Message::default().int(1, -2).into_bytes().len(), 11);
    }
}
