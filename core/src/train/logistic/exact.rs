//! Numbers as text of sixteen hexadecimal digits each, the bits of an IEEE double. JSON readers
//! are allowed to miss a decimal's last bit (serde_json's default does), which would break resuming.

use serde::{Deserialize, Deserializer, Serializer, de::Error};

pub fn serialize<S: Serializer>(values: &[f64], out: S) -> Result<S::Ok, S::Error> {
    let digits = values
        .iter()
        .map(|value| format!("{:016x}", value.to_bits()));
    out.serialize_str(&digits.collect::<String>())
}

pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
    let text = String::deserialize(from)?;
    let chunks = text.as_bytes().chunks_exact(16);
    if !chunks.remainder().is_empty() || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(D::Error::custom(
            "expected sixteen hexadecimal digits a number",
        ));
    }
    let digit =
        |bits: u64, byte: &u8| bits << 4 | char::from(*byte).to_digit(16).map_or(0, u64::from);
    Ok(chunks
        .map(|chunk| f64::from_bits(chunk.iter().fold(0, digit)))
        .collect())
}

pub mod one {
    use super::*;

    pub fn serialize<S: Serializer>(value: &f64, out: S) -> Result<S::Ok, S::Error> {
        super::serialize(&[*value], out)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        match super::deserialize(from)?.as_slice() {
            &[value] => Ok(value),
            _ => Err(D::Error::custom("expected one number")),
        }
    }
}
