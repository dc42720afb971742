//! Pictures: what a file is, how it was held, and each decoder behind the limits.

use rekindle_photos::{
    Content, Limits, PhotoProblem, SNIFF_BYTES, decode_bytes, decode_mask, encode_mask,
    exif_orientation, sniff,
};

use crate::is_plain;

/// What decoding a picture may hold, in bytes: little, so that many are decoded in a second.
const MEMORY: u64 = 1 << 20;

/// What a file is, told from its beginning.
pub fn content(bytes: &[u8]) {
    let content = sniff(bytes);
    if bytes.len() > SNIFF_BYTES {
        assert_eq!(content, sniff(&bytes[..SNIFF_BYTES]));
    }
    if let Content::Other(name) = content {
        is_plain(name);
    }
}

/// An EXIF block.
pub fn exif(bytes: &[u8]) {
    let plain = exif_orientation(bytes);
    if !bytes.starts_with(b"Exif\0") {
        assert_eq!(plain, exif_orientation(&[b"Exif\0\0", bytes].concat()));
    }
}

/// A JPEG.
pub fn jpeg(bytes: &[u8]) {
    decode(bytes, b"\xff\xd8\xff");
}

/// A PNG.
pub fn png(bytes: &[u8]) {
    decode(bytes, b"\x89PNG\r\n\x1a\n");
}

/// A PNG whose pixels are classes. One that is read is read again from what is written of it.
pub fn mask(bytes: &[u8]) {
    let with_mark;
    let mark = b"\x89PNG\r\n\x1a\n";
    let bytes = if bytes.starts_with(mark) {
        bytes
    } else {
        with_mark = [&mark[..], bytes].concat();
        &with_mark
    };
    let limits = Limits {
        max_memory: MEMORY,
        ..Limits::default()
    };
    match decode_mask(bytes, &limits) {
        Ok(mask) => {
            let pixels = u64::from(mask.width()) * u64::from(mask.height());
            assert_eq!(mask.labels().len() as u64, pixels);
            assert!(pixels <= MEMORY, "{mask:?}");
            if pixels <= 4096 {
                let again = encode_mask(&mask).and_then(|bytes| decode_mask(&bytes, &limits));
                assert!(again.is_ok_and(|again| again == mask));
            }
        }
        Err(problem) => {
            is_plain(&problem);
            let gave_up = matches!(&problem, PhotoProblem::Corrupt(why) if why.contains("gave up"));
            assert!(!gave_up, "a decoder panicked");
        }
    }
}

/// A WebP.
pub fn webp(bytes: &[u8]) {
    decode(bytes, b"RIFF\xff\xff\0\0WEBP");
}

/// A GIF.
pub fn gif(bytes: &[u8]) {
    decode(bytes, b"GIF89a");
}

/// A Windows bitmap.
pub fn bmp(bytes: &[u8]) {
    decode(bytes, b"BM\0\0\0\0\0\0\0\0\0\0\0\0\x28\0\0\0");
}

/// A TIFF or BigTIFF.
pub fn tiff(bytes: &[u8]) {
    decode(bytes, b"II*\0");
}

/// A portable bitmap, greymap or pixmap.
pub fn pnm(bytes: &[u8]) {
    decode(bytes, b"P6 ");
}

/// Decodes bytes as a picture of the kind that begins with `mark`, which is put before them if they are no
/// such picture.
fn decode(bytes: &[u8], mark: &[u8]) {
    let with_mark;
    let bytes = if sniff(bytes) == sniff(mark) {
        bytes
    } else {
        with_mark = [mark, bytes].concat();
        &with_mark
    };
    let limits = Limits {
        max_memory: MEMORY,
        ..Limits::default()
    };
    match decode_bytes(bytes, &limits) {
        Ok(image) => {
            let pixels = u64::from(image.width()) * u64::from(image.height());
            assert_eq!(image.pixels().len() as u64, 3 * pixels);
            assert!(3 * pixels <= MEMORY, "{}×{}", image.width(), image.height());
        }
        Err(problem) => {
            is_plain(&problem);
            assert!(!problem.kind().is_empty());
            // Under the fuzzer the decoder's own panic ends the run; here it is caught by who called it.
            let gave_up = matches!(&problem, PhotoProblem::Corrupt(why) if why.contains("gave up"));
            assert!(!gave_up, "a decoder panicked");
        }
    }
}
