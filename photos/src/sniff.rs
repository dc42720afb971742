//! What a file is, told from its first bytes. Extensions lie; magic numbers seldom do.

use std::ffi::OsStr;
use std::path::Path;

use image::ImageFormat;

use super::bmp::is_bmp;
use super::foreign::{Foreign, LFS_POINTER};
use super::pnm::is_pnm;

/// How many of the first bytes [`sniff`] likes to see.
pub const SNIFF_BYTES: usize = 512;

/// What the first bytes of a file say it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A format that is decoded here.
    Image(ImageFormat),
    /// A picture of a known format that is not decoded here.
    Foreign(Foreign),
    /// Something else; the text completes "the file holds …".
    Other(&'static str),
}

/// Tells the content of a file from its first bytes: no more than [`SNIFF_BYTES`] are looked at, however many
/// are given, so that a file is the same to whoever has all of it and to whoever has its beginning.
pub fn sniff(head: &[u8]) -> Content {
    let head = &head[..head.len().min(SNIFF_BYTES)];
    const IMAGES: [(&[u8], ImageFormat); 6] = [
        (b"\xff\xd8\xff", ImageFormat::Jpeg),
        (b"\x89PNG\r\n\x1a\n", ImageFormat::Png),
        (b"GIF87a", ImageFormat::Gif),
        (b"GIF89a", ImageFormat::Gif),
        (b"II+\0", ImageFormat::Tiff),
        (b"MM\0+", ImageFormat::Tiff),
    ];
    if is_riff(head, b"WEBP") {
        return Content::Image(ImageFormat::WebP);
    }
    if let Some(format) = foreign(head) {
        return Content::Foreign(format);
    }
    if let Some((_, format)) = IMAGES.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Content::Image(*format);
    }
    // After the raw files that begin alike.
    if head.starts_with(b"II*\0") || head.starts_with(b"MM\0*") {
        return Content::Image(ImageFormat::Tiff);
    }
    if is_pnm(head, head.len() == SNIFF_BYTES) {
        return Content::Image(ImageFormat::Pnm);
    }
    if is_bmp(head) {
        return Content::Image(ImageFormat::Bmp);
    }
    Content::Other(other(head))
}

fn is_riff(head: &[u8], kind: &[u8; 4]) -> bool {
    head.starts_with(b"RIFF") && head.get(8..12) == Some(kind)
}

/// The brands of an ISO base media file, which stand behind `ftyp`: the major one at 8, compatible ones
/// from 16. Nothing for other files.
fn brands(head: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    if head.len() < 12 || &head[4..8] != b"ftyp" {
        return None;
    }
    let end = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
    Some(head[8..end.clamp(12, head.len())].chunks_exact(4))
}

/// Formats worth naming, so that the user learns what to convert.
fn foreign(head: &[u8]) -> Option<Foreign> {
    if let Some(brands) = brands(head) {
        let mut found = None;
        for brand in brands {
            match brand {
                b"avif" | b"avis" => return Some(Foreign::Avif),
                b"crx " => return Some(Foreign::CameraRaw),
                b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"mif2"
                | b"msf1" | b"heif" => found = Some(Foreign::Heic),
                _ => {}
            }
        }
        return found;
    }
    if head.get(8..10) == Some(b"CR") && head.starts_with(b"II*\0") {
        return Some(Foreign::CameraRaw);
    }
    const FOREIGN: [(&[u8], Foreign); 49] = [
        (b"\xff\x0a", Foreign::JpegXl),
        (b"\0\0\0\x0cJXL \r\n\x87\n", Foreign::JpegXl),
        (b"\0\0\0\x0cjP  \r\n\x87\n", Foreign::Jpeg2000),
        (b"\xff\x4f\xff\x51", Foreign::Jpeg2000),
        (b"8BPS", Foreign::Photoshop),
        (b"IIU\0", Foreign::CameraRaw),
        (b"IIRO", Foreign::CameraRaw),
        (b"IIRS", Foreign::CameraRaw),
        (b"MMOR", Foreign::CameraRaw),
        (b"FUJIFILMCCD-RAW", Foreign::CameraRaw),
        (b"FOVb", Foreign::CameraRaw),
        (b"\0MRM", Foreign::CameraRaw),
        (b"\0\0\x01\0", Foreign::Other("an icon")),
        (b"icns", Foreign::Other("an icon")),
        (b"v/1\x01", Foreign::Other("an OpenEXR picture")),
        (b"#?RADIANCE", Foreign::Other("a Radiance HDR picture")),
        (b"#?RGBE", Foreign::Other("a Radiance HDR picture")),
        (b"gimp xcf", Foreign::Other("a GIMP document")),
        (b"DDS ", Foreign::Other("a DDS texture")),
        (b"qoif", Foreign::Other("a QOI picture")),
        (b"farbfeld", Foreign::Other("a farbfeld picture")),
        (b"\x8aMNG\r\n\x1a\n", Foreign::Other("a MNG animation")),
        (b"P7\n", Foreign::Other("a PAM picture")),
        (b"PF\n", Foreign::Other("a floating-point PFM picture")),
        (b"Pf\n", Foreign::Other("a floating-point PFM picture")),
        (b"AT&TFORM", Foreign::Other("a DjVu document")),
        (b"BPG\xfb", Foreign::Other("a BPG picture")),
        (b"\x8bJNG\r\n\x1a\n", Foreign::Other("a JNG picture")),
        (b"II\xbc", Foreign::Other("a JPEG XR picture")),
        (b"FLIF", Foreign::Other("a FLIF picture")),
        (b"\0\0\x02\0\0\0\0\0", Foreign::Other("a Targa picture")),
        (b"\0\0\x0a\0\0\0\0\0", Foreign::Other("a Targa picture")),
        (b"\0\0\x03\0\0\0\0\0", Foreign::Other("a Targa picture")),
        (b"\0\0\x0b\0\0\0\0\0", Foreign::Other("a Targa picture")),
        (b"\0\x01\x01\0\0", Foreign::Other("a Targa picture")),
        (b"\0\x01\x09\0\0", Foreign::Other("a Targa picture")),
        (b"\x01\xda", Foreign::Other("an SGI picture")),
        (b"\x59\xa6\x6a\x95", Foreign::Other("a Sun raster picture")),
        (b"/* XPM */", Foreign::Other("an XPM picture")),
        (b"SIMPLE  =", Foreign::Other("a FITS picture")),
        (b"SDPX", Foreign::Other("a DPX picture")),
        (b"XPDS", Foreign::Other("a DPX picture")),
        (b"\x80\x2a\x5f\xd7", Foreign::Other("a Cineon picture")),
        (b"\x97JB2\r\n\x1a\n", Foreign::Other("a JBIG2 picture")),
        (b"\xd7\xcd\xc6\x9a", Foreign::Other("a Windows metafile")),
        (b"id=ImageMagick", Foreign::Other("a MIFF picture")),
        (b"\xabKTX ", Foreign::Other("a KTX texture")),
        (
            b"Paint Shop Pro Image File",
            Foreign::Other("a Paint Shop Pro picture"),
        ),
        (b"\0\0\x02\0", Foreign::Other("a mouse pointer")),
    ];
    if let [0x0a, 0 | 2..=5, 0 | 1, 1 | 2 | 4 | 8, ..] = head {
        return Some(Foreign::Other("a PCX picture"));
    }
    if head.get(128..132) == Some(b"DICM") {
        return Some(Foreign::Other("a DICOM picture"));
    }
    FOREIGN
        .iter()
        .find(|(magic, _)| head.starts_with(magic))
        .map(|(_, name)| *name)
}

/// What a file that is no picture looks like.
fn other(head: &[u8]) -> &'static str {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let text = text.trim_ascii_start().to_ascii_lowercase();
    let has = |word: &[u8]| text.windows(word.len()).any(|part| part == word);
    const VIDEOS: [&[u8]; 6] = [
        b"\x1a\x45\xdf\xa3",
        b"\0\0\x01\xba",
        b"\0\0\x01\xb3",
        b"FLV\x01",
        b"\x30\x26\xb2\x75",
        b"OggS",
    ];
    let is_movie = matches!(
        head.get(4..8),
        Some(b"ftyp" | b"moov" | b"mdat" | b"wide" | b"pnot")
    );
    if text.starts_with(b"<!doctype html") || text.starts_with(b"<html") || has(b"<head") {
        "a web page"
    } else if has(b"<svg") {
        "an SVG drawing"
    } else if text.starts_with(b"version https://git-lfs") {
        LFS_POINTER
    } else if head.starts_with(b"%PDF") {
        "a PDF document"
    } else if head.starts_with(b"%!PS") || head.starts_with(b"\xc5\xd0\xd3\xc6") {
        "a PostScript document"
    } else if head.starts_with(b"PK\x03\x04") {
        "a zip archive"
    } else if is_movie || is_riff(head, b"AVI ") || VIDEOS.iter().any(|v| head.starts_with(v)) {
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
    const NAMES: [&str; 26] = [
        "jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "gif", "bmp", "dib", "tif", "tiff",
        "pnm", "pbm", "pgm", "ppm", "heic", "heif", "hif", "avif", "jxl", "jp2", "j2k", "jpf",
        "jpx", "psd",
    ];
    extension(path).is_some_and(|e| NAMES.contains(&&*e)) || camera_raw(path).is_some()
}

/// A camera's raw file, told by its name.
///
/// Most raw formats are TIFF inside and would decode to their tiny embedded preview; better to
/// refuse them.
pub(super) fn camera_raw(path: &Path) -> Option<Foreign> {
    const RAW: [&str; 16] = [
        "dng", "nef", "nrw", "cr2", "cr3", "arw", "orf", "rw2", "raf", "pef", "srw", "srf", "sr2",
        "3fr", "iiq", "x3f",
    ];
    let is_raw = extension(path).is_some_and(|e| RAW.contains(&&*e));
    is_raw.then_some(Foreign::CameraRaw)
}

fn extension(path: &Path) -> Option<String> {
    path.extension()
        .and_then(OsStr::to_str)
        .map(str::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foreign::help_with_other;

    #[test]
    fn what_lies_behind_the_beginning_says_nothing() {
        let mut file = vec![0; SNIFF_BYTES];
        file.extend(b"<svg <head");
        assert_eq!(sniff(&file), sniff(&file[..SNIFF_BYTES]));
        // A comment at the top may be longer than the beginning.
        let mut map = b"P6\n#".to_vec();
        map.resize(SNIFF_BYTES + 100, b'c');
        map.extend(b"\n1 1 255\nrgb");
        assert_eq!(sniff(&map), Content::Image(ImageFormat::Pnm));
        assert_eq!(sniff(&map[..SNIFF_BYTES]), Content::Image(ImageFormat::Pnm));
    }

    #[test]
    fn web_pages_and_foreign_formats_are_told_apart_from_pictures() {
        assert_eq!(sniff(b"\n <!DOCTYPE HTML>"), Content::Other("a web page"));
        assert_eq!(sniff(b"hello"), Content::Other("text"));
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n";
        assert_eq!(sniff(pointer), Content::Other(LFS_POINTER));
        assert!(help_with_other(LFS_POINTER).contains("git lfs pull"));
        assert_eq!(
            sniff(b"\0\0\0\x18ftypmif1\0\0\0\0avifmif1"),
            Content::Foreign(Foreign::Avif)
        );
        assert_eq!(
            sniff(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
            Content::Foreign(Foreign::Heic)
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
    fn every_known_format_is_named_with_what_to_do() {
        let named = |head: &[u8]| match sniff(head) {
            Content::Foreign(format) => (format.name(), format.help()),
            Content::Other(name) => (name, help_with_other(name)),
            Content::Image(format) => panic!("{format:?}"),
        };
        let padded = |head: &[u8]| [head, &[0; 200]].concat();
        let cases: [(&[u8], &str, &str); 19] = [
            (
                b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
                "HEIC",
                "heif-convert",
            ),
            (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif", "AVIF", "avifdec"),
            (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL", "djxl"),
            (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000", "opj_decompress"),
            (b"8BPS\0\x01", "Photoshop", "export"),
            (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", "raw", "darktable"),
            (b"II*\0\x10\0\0\0CR\x02\0", "raw", "darktable"),
            (b"FUJIFILMCCD-RAW 0201", "raw", "darktable"),
            (b"<?xml version='1.0'?>\n<svg xmlns=", "SVG", "rsvg-convert"),
            (b"%PDF-1.7", "PDF", "pdftoppm"),
            (b"\x1a\x45\xdf\xa3", "video", "ffmpeg"),
            (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "video", "ffmpeg"),
            (b"\0\0\x01\0\x01\0\x20\x20", "icon", "convert"),
            (b"\0\0\x02\0\x01\0\x20\x20", "pointer", "convert"),
            (b"\0\0\x0a\0\0\0\0\0\0\0\0\0", "Targa", "convert"),
            (b"\x0a\x02\x01\x01", "PCX", "convert"),
            (b"II\xbc\x01", "JPEG XR", "convert"),
            (b"PF\n2 2\n-1.0\n", "PFM", "convert"),
            (b"\x8bJNG\r\n\x1a\n", "JNG", "convert"),
        ];
        for (head, name, help) in cases {
            let found = named(&padded(head));
            assert!(
                found.0.contains(name) && found.1.contains(help),
                "{found:?}"
            );
        }
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
