//! How the camera was held: the orientation that EXIF metadata tell.

use image::metadata::Orientation;

use super::ifd::Directory;

const ORIENTATION: u16 = 0x0112;

/// The orientation in an EXIF block, which may begin with `Exif\0\0`, or in a whole TIFF file.
///
/// Cameras write it as SHORT; other programs write it as any integer type there is, and all of them are
/// read. What is damaged, absent or none of the eight numbers turns nothing: metadata are no reason to
/// refuse a picture that is whole.
pub fn orientation(block: &[u8]) -> Orientation {
    let block = match block {
        [b'E', b'x', b'i', b'f', 0, _, rest @ ..] => rest,
        _ => block,
    };
    Directory::first(block)
        .and_then(|directory| directory.integer(ORIENTATION))
        .and_then(|number| u8::try_from(number).ok())
        .and_then(Orientation::from_exif)
        .unwrap_or(Orientation::NoTransforms)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block with one entry: the orientation 6 as `kind`, whose values have `width` bytes.
    fn block(big_endian: bool, kind: u16, width: usize) -> Vec<u8> {
        let number = |value: u64, width: usize| {
            let bytes = value.to_le_bytes();
            let mut bytes = bytes[..width].to_vec();
            if big_endian {
                bytes.reverse();
            }
            bytes
        };
        let mut block = if big_endian { b"MM" } else { b"II" }.to_vec();
        block.extend([number(42, 2), number(8, 4), number(1, 2)].concat());
        block.extend([number(0x0112, 2), number(u64::from(kind), 2), number(1, 4)].concat());
        if width <= 4 {
            let mut value = number(6, width);
            value.resize(4, 0);
            block.extend(value);
        } else {
            block.extend(number(26, 4));
            block.extend([number(0, 4), number(6, width)].concat());
        }
        block
    }

    #[test]
    fn any_integer_type_in_either_byte_order_turns_the_picture() {
        let kinds = [
            (1, 1),
            (3, 2),
            (4, 4),
            (6, 1),
            (8, 2),
            (9, 4),
            (13, 4),
            (16, 8),
            (17, 8),
        ];
        for (kind, width) in kinds {
            for big_endian in [false, true] {
                let block = block(big_endian, kind, width);
                let told = orientation(&block);
                assert_eq!(told, Orientation::Rotate90, "type {kind}, {big_endian}");
                let named = [b"Exif\0\0", &block[..]].concat();
                assert_eq!(orientation(&named), Orientation::Rotate90);
                for len in 0..block.len() {
                    orientation(&block[..len]);
                }
            }
        }
        assert_eq!(orientation(&block(false, 5, 8)), Orientation::NoTransforms);
        assert_eq!(orientation(b""), Orientation::NoTransforms);
    }
}
