//! What a file is, told from its first bytes. Extensions lie; magic numbers seldom do.

use std::ffi::OsStr;
use std::path::Path;

use image::ImageFormat;

/// How many of the first bytes [`sniff`] likes to see.
pub const SNIFF_BYTES: usize = 512;

/// What the first bytes of a file say it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A format that is decoded here.
    Image(ImageFormat),
    /// A picture of a known format that is not decoded here.
    Foreign(&'static str),
    /// Something else; the text completes "the file holds …".
    Other(&'static str),
}

/// Tells the content of a file from its first bytes ([`SNIFF_BYTES`] are enough).
pub fn sniff(head: &[u8]) -> Content {
    const IMAGES: [(&[u8], ImageFormat); 7] = [
        (b"\xff\xd8\xff", ImageFormat::Jpeg),
        (b"\x89PNG\r\n\x1a\n", ImageFormat::Png),
        (b"GIF87a", ImageFormat::Gif),
        (b"GIF89a", ImageFormat::Gif),
        (b"BM", ImageFormat::Bmp),
        (b"II*\0", ImageFormat::Tiff),
        (b"MM\0*", ImageFormat::Tiff),
    ];
    if head.len() >= 12 && head.starts_with(b"RIFF") && &head[8..12] == b"WEBP" {
        return Content::Image(ImageFormat::WebP);
    }
    if let Some((_, format)) = IMAGES.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Content::Image(*format);
    }
    foreign(head).map_or_else(|| Content::Other(other(head)), Content::Foreign)
}

/// Formats worth naming, so that the user learns what to convert.
fn foreign(head: &[u8]) -> Option<&'static str> {
    // ISO base media files carry their brands after `ftyp`: the major one at 8, compatible ones
    // from 16.
    if head.len() >= 12 && &head[4..8] == b"ftyp" {
        let end = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let brands = &head[8..end.clamp(12, head.len())];
        let has = |names: &[&[u8; 4]]| {
            brands
                .chunks_exact(4)
                .any(|b| names.iter().any(|n| b == *n))
        };
        return if has(&[b"avif", b"avis"]) {
            Some("an AVIF picture")
        } else if has(&[
            b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1",
        ]) {
            Some("a HEIC picture")
        } else {
            None
        };
    }
    const FOREIGN: [(&[u8], &str); 9] = [
        (b"\xff\x0a", "a JPEG XL picture"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture"),
        (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
        (b"8BPS", "a Photoshop document"),
        (b"\0\0\x01\0", "an icon"),
        (b"v/1\x01", "an OpenEXR picture"),
        (b"II+\0", "a BigTIFF picture"),
        (b"MM\0+", "a BigTIFF picture"),
    ];
    FOREIGN
        .iter()
        .find(|(magic, _)| head.starts_with(magic))
        .map(|(_, name)| *name)
}

/// What a file that is no picture looks like.
fn other(head: &[u8]) -> &'static str {
    let text = String::from_utf8_lossy(head)
        .trim_start_matches('\u{feff}')
        .trim_start()
        .to_lowercase();
    if text.starts_with("<!doctype html") || text.starts_with("<html") || text.contains("<head") {
        "a web page"
    } else if text.contains("<svg") {
        "an SVG drawing"
    } else if head.starts_with(b"%PDF") {
        "a PDF document"
    } else if head.starts_with(b"PK\x03\x04") {
        "a zip archive"
    } else if head.len() >= 8 && &head[4..8] == b"ftyp" {
        "a video"
    } else if !head.is_empty()
        && head
            .iter()
            .all(|b| matches!(b, b'\t' | b'\n' | b'\r' | 0x20..=0x7e))
    {
        "text"
    } else {
        "data of an unknown kind"
    }
}

/// Whether a file of this name is meant to be a photo.
///
/// Formats that cannot be decoded (HEIC, AVIF, camera raw, …) count too: leaving a phone's photos
/// out without a word would be worse than listing them as skipped.
pub fn is_photo_name(path: &Path) -> bool {
    const NAMES: [&str; 18] = [
        "jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "gif", "bmp", "dib", "tif", "tiff",
        "heic", "heif", "avif", "jxl", "jp2", "psd",
    ];
    extension(path).is_some_and(|e| NAMES.contains(&&*e)) || is_camera_raw(path)
}

/// Whether the name is that of a camera's raw file.
///
/// Most raw formats are TIFF inside and would decode to their tiny embedded preview; better to
/// refuse them.
pub(super) fn is_camera_raw(path: &Path) -> bool {
    const RAW: [&str; 10] = [
        "dng", "nef", "nrw", "cr2", "cr3", "arw", "orf", "rw2", "raf", "pef",
    ];
    extension(path).is_some_and(|e| RAW.contains(&&*e))
}

fn extension(path: &Path) -> Option<String> {
    path.extension()
        .and_then(OsStr::to_str)
        .map(str::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn web_pages_and_foreign_formats_are_told_apart_from_pictures() {
        assert_eq!(sniff(b"\n <!DOCTYPE HTML>"), Content::Other("a web page"));
        assert_eq!(sniff(b"hello"), Content::Other("text"));
        assert_eq!(
            sniff(b"\0\0\0\x18ftypmif1\0\0\0\0avifmif1"),
            Content::Foreign("an AVIF picture")
        );
        assert_eq!(
            sniff(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
            Content::Foreign("a HEIC picture")
        );
        assert_eq!(
            sniff(b"\0\0\0\x18ftypisom\0\0\0\0"),
            Content::Other("a video")
        );
        assert_eq!(
            sniff(b"RIFF\0\0\0\0WAVE"),
            Content::Other("data of an unknown kind")
        );
        assert_eq!(sniff(b""), Content::Other("data of an unknown kind"));
        assert_eq!(
            sniff(b"\0\0\0\0ftyp\xff\xff\xff\xff"),
            Content::Other("a video")
        );
    }

    #[test]
    fn names_are_compared_without_case() {
        assert!(is_photo_name(Path::new("a/IMG_1.JPG")));
        assert!(is_photo_name(Path::new("IMG_2.HEIC")));
        assert!(is_photo_name(Path::new("x.NEF")));
        assert!(!is_photo_name(Path::new("ATTRIBUTION.tsv")));
        assert!(!is_photo_name(Path::new("jpg")));
    }
}
