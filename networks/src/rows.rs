//! Rows of numbers as bytes: 32 bits a number, or 16 with a factor for the row.

use half::f16;
use half::slice::HalfFloatSliceExt as _;

/// How the numbers of a row are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// IEEE 754 in 32 bits: what comes back is what was put in. For pooled features.
    Full,
    /// IEEE 754 in 16 bits, times a power of two that brings the row's largest number just below 2¹⁵: no row is out of
    /// range, and numbers come back within 2⁻¹¹ of themselves, those 2²⁹ times smaller than the largest within 2⁻³⁹
    /// of that. For maps and tokens.
    Half,
}

impl Encoding {
    /// Bytes of a number.
    pub fn bytes(self) -> usize {
        match self {
            Self::Full => 4,
            Self::Half => 2,
        }
    }

    /// Its name, for keys of what is kept.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "f32",
            Self::Half => "f16",
        }
    }

    /// The bytes of a row, little-endian, and the power of two that its numbers were divided by. `None` for what is no
    /// number: infinities and NaN are never kept.
    pub fn encode(self, row: &[f32]) -> Option<(Vec<u8>, i32)> {
        let largest = row
            .iter()
            .fold(0.0_f32, |most, number| most.max(number.abs()));
        // `max` passes over NaN.
        if !largest.is_finite() || row.iter().any(|number| number.is_nan()) {
            return None;
        }
        if self == Self::Full {
            return Some((
                row.iter().flat_map(|number| number.to_le_bytes()).collect(),
                0,
            ));
        }
        let exponent = exponent(largest);
        let [first, second] = halves(-exponent);
        let scaled: Vec<f32> = row.iter().map(|number| number * first * second).collect();
        let mut numbers = vec![f16::ZERO; row.len()];
        numbers.convert_from_f32_slice(&scaled);
        Some((
            numbers
                .iter()
                .flat_map(|number| number.to_le_bytes())
                .collect(),
            exponent,
        ))
    }

    /// The row that these bytes are of, written into `row`, which is as long as it.
    pub fn decode(self, bytes: &[u8], exponent: i32, row: &mut [f32]) {
        match self {
            Self::Full => {
                let numbers = bytes.as_chunks::<4>().0.iter();
                row.iter_mut()
                    .zip(numbers)
                    .for_each(|(to, &from)| *to = f32::from_le_bytes(from));
            }
            Self::Half => {
                let numbers = bytes.as_chunks::<2>().0.iter();
                let numbers: Vec<f16> = numbers.map(|&bytes| f16::from_le_bytes(bytes)).collect();
                numbers.convert_to_f32_slice(row);
                let [first, second] = halves(exponent);
                // What was rounded up beyond the largest number is that.
                let scaled = |number: f32| (number * first * second).clamp(f32::MIN, f32::MAX);
                row.iter_mut().for_each(|number| *number = scaled(*number));
            }
        }
    }
}

/// The power of two that a largest number must be divided by to lie in [2¹⁴, 2¹⁵).
fn exponent(largest: f32) -> i32 {
    if largest == 0.0 {
        return 0;
    }
    let bits = (largest.to_bits() >> 23) as i32;
    // Numbers without a leading one count as the smallest that have one.
    bits.max(1) - 127 - 14
}

/// Two powers of two whose product is 2 to this exponent; neither is out of range.
fn halves(exponent: i32) -> [f32; 2] {
    let power = |exponent: i32| f32::from_bits(((127 + exponent) as u32) << 23);
    let exponent = exponent.clamp(-252, 252);
    let first = exponent / 2;
    [power(first), power(exponent - first)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(encoding: Encoding, row: &[f32]) -> Vec<f32> {
        let (bytes, exponent) = encoding.encode(row).unwrap();
        assert_eq!(bytes.len(), row.len() * encoding.bytes());
        let mut back = vec![f32::NAN; row.len()];
        encoding.decode(&bytes, exponent, &mut back);
        back
    }

    #[test]
    fn thirty_two_bits_come_back_as_they_were() {
        let row = [0.0, -0.0, 1.0e-45, f32::MAX, f32::MIN, std::f32::consts::PI];
        let back = there_and_back(Encoding::Full, &row);
        assert!(
            row.iter()
                .zip(&back)
                .all(|(a, b)| a.to_bits() == b.to_bits())
        );
    }

    #[test]
    fn sixteen_bits_are_exact_to_eleven_at_any_size_of_numbers() {
        for size in [
            f32::MIN_POSITIVE,
            1e-30,
            1e-6,
            1.0,
            7e4,
            1e9,
            1e30,
            f32::MAX,
        ] {
            let row: Vec<f32> = (1..=1000)
                .map(|n| size * (n as f32 / 1000.0) * (1.0 - 2.0 * (n % 2) as f32))
                .collect();
            let back = there_and_back(Encoding::Half, &row);
            for (from, to) in row.iter().zip(back) {
                let apart = (f64::from(*from) - f64::from(to)).abs();
                // Below the smallest number with a leading one, f32 itself has fewer bits.
                let least = f64::from(f32::from_bits(1));
                let allowed = (f64::from(from.abs()) / 2048.0).max(least);
                assert!(apart <= allowed, "{size}: {from} came back as {to}");
            }
        }
        assert_eq!(there_and_back(Encoding::Half, &[0.0, 0.0]), [0.0, 0.0]);
        let back = there_and_back(Encoding::Half, &[1.0e9, -1.1, 1.0e-3]);
        assert!((back[1] + 1.1).abs() < 1e9 / 2_f32.powi(39) && back[2].abs() < 2e-3);
    }

    #[test]
    fn sixteen_bits_are_those_of_ieee_where_the_row_needs_no_factor() {
        // 2¹⁴ is the largest, so that the factor is one.
        let row = [16384.0, 1.0 / 3.0, -5.1, 1000.7, 6.1e-5];
        let back = there_and_back(Encoding::Half, &row);
        assert!(
            row.iter()
                .zip(back)
                .all(|(&from, to)| f16::from_f32(from).to_f32() == to)
        );
    }

    #[test]
    fn what_is_no_number_is_not_kept() {
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for encoding in [Encoding::Full, Encoding::Half] {
                assert!(encoding.encode(&[1.0, odd, 2.0]).is_none());
            }
        }
    }
}
