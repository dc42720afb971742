//! One photo: path or bytes in, an upright 8-bit RGB picture out.

use std::fs::{self, File};
use std::io::{self, Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};
use rekindle_core::image::RgbImage;

use super::jpeg::Jpeg;
use super::limits::{MemoryBudget, Permit};
use super::pnm::Pnm;
use super::sniff::{Content, camera_raw, sniff};
use super::tiff::Tiff;
use super::webp::WebP;
use super::{Limits, PhotoError, PhotoProblem, exif, png};

/// What metadata before a picture may take, in bytes.
const HEADER_MEMORY: u64 = 64 << 20;

/// Decodes the photo at `path`.
///
/// The format is told from the content. The picture is turned as EXIF says, the first frame of an
/// animation, alpha laid over white, 16 bits rounded to 8, CMYK converted without a colour profile.
///
/// # Errors
/// Whatever is wrong with the file; nothing is ever decoded in part.
pub fn decode_file(path: &Path, limits: &Limits) -> Result<RgbImage, PhotoError> {
    let budget = MemoryBudget::new(u64::MAX);
    decode_within(path, limits, &budget).map(|(image, _)| image)
}

/// Decodes the content of a photo file; see [`decode_file`].
///
/// # Errors
/// As for [`decode_file`], without a path to name.
pub fn decode_bytes(bytes: &[u8], limits: &Limits) -> Result<RgbImage, PhotoProblem> {
    decode_bytes_within(bytes, limits, &MemoryBudget::new(u64::MAX)).map(|(image, _)| image)
}

/// Decodes a file after waiting for its share of `budget`, which is held as long as the permit
/// lives; see [`decode_file`].
///
/// # Errors
/// As for [`decode_file`].
pub fn decode_within<'b>(
    path: &Path,
    limits: &Limits,
    budget: &'b MemoryBudget,
) -> Result<(RgbImage, Permit<'b>), PhotoError> {
    let decoded =
        read_photo(path, limits).and_then(|bytes| decode_bytes_within(&bytes, limits, budget));
    decoded.map_err(|problem| PhotoError::new(path, problem))
}

fn read_photo(path: &Path, limits: &Limits) -> Result<Vec<u8>, PhotoProblem> {
    if let Some(raw) = camera_raw(path) {
        return Err(PhotoProblem::Foreign(raw));
    }
    let (file, len) = open_regular(path)?;
    if len > limits.max_file_bytes {
        return Err(PhotoProblem::FileTooLarge { bytes: len });
    }
    let mut bytes = Vec::with_capacity(len as usize);
    // The file may grow while it is read.
    file.take(limits.max_file_bytes.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(PhotoProblem::from_io)?;
    if bytes.len() as u64 > limits.max_file_bytes {
        return Err(PhotoProblem::FileTooLarge {
            bytes: bytes.len() as u64,
        });
    }
    Ok(bytes)
}

/// Opens a regular file and tells its length in bytes. Pipes and devices are refused before they
/// are opened, since opening a pipe would wait for its writer.
///
/// # Errors
/// What keeps the file from being opened, sorted into the problems a user can tell apart.
pub fn open_regular(path: &Path) -> Result<(File, u64), PhotoProblem> {
    let metadata = fs::metadata(path).map_err(|error| match fs::symlink_metadata(path) {
        Ok(link) if link.is_symlink() => PhotoProblem::BadLink,
        _ => PhotoProblem::from_io(error),
    })?;
    if metadata.is_dir() {
        return Err(PhotoProblem::Directory);
    }
    if !metadata.is_file() {
        return Err(PhotoProblem::NotAFile);
    }
    let file = File::open(path).map_err(PhotoProblem::from_io)?;
    Ok((file, metadata.len()))
}

fn decode_bytes_within<'b>(
    bytes: &[u8],
    limits: &Limits,
    budget: &'b MemoryBudget,
) -> Result<(RgbImage, Permit<'b>), PhotoProblem> {
    if bytes.is_empty() {
        return Err(PhotoProblem::Empty);
    }
    let format = match sniff(bytes) {
        Content::Image(format) => format,
        #[cfg(feature = "heif")]
        Content::Foreign(format) if format.is_read() => return decode_heif(bytes, limits, budget),
        Content::Foreign(format) => return Err(PhotoProblem::Foreign(format)),
        Content::Other(name) => return Err(PhotoProblem::NotAnImage(name)),
    };
    // The decoders are fuzzed by their authors, but a panic in one of them must not end a run over
    // thousands of photos. They only see `bytes`, so nothing of ours is left half-changed.
    let decoding = AssertUnwindSafe(|| match format {
        ImageFormat::Jpeg => decode_jpeg(bytes, limits, budget),
        ImageFormat::Tiff => decode_tiff(bytes, limits, budget),
        ImageFormat::Pnm => decode_pnm(bytes, limits, budget),
        _ => decode_other(bytes, format, limits, budget),
    });
    catch_unwind(decoding)
        .unwrap_or_else(|_| Err(PhotoProblem::Corrupt("the decoder gave up".into())))
}

fn decode_jpeg<'b>(
    bytes: &[u8],
    limits: &Limits,
    budget: &'b MemoryBudget,
) -> Result<(RgbImage, Permit<'b>), PhotoProblem> {
    let jpeg = Jpeg::open(bytes, limits)?;
    let ((width, height), orientation) = (jpeg.size, jpeg.orientation);
    let permit = budget.take(jpeg.memory);
    let pixels = jpeg.decode()?;
    Ok((upright(width, height, pixels, orientation)?, permit))
}

fn decode_tiff<'b>(
    bytes: &[u8],
    limits: &Limits,
    budget: &'b MemoryBudget,
) -> Result<(RgbImage, Permit<'b>), PhotoProblem> {
    let tiff = Tiff::open(bytes, limits)?;
    let ((width, height), orientation) = (tiff.size, tiff.orientation);
    let permit = budget.take(tiff.memory);
    let image = tiff.decode()?;
    if orientation == Orientation::NoTransforms {
        return Ok((image, permit));
    }
    let pixels = image.into_pixels();
    Ok((upright(width, height, pixels, orientation)?, permit))
}

#[cfg(feature = "heif")]
fn decode_heif<'b>(
    bytes: &[u8],
    limits: &Limits,
    budget: &'b MemoryBudget,
) -> Result<(RgbImage, Permit<'b>), PhotoProblem> {
    let heif = super::heif::Heif::open(bytes, limits)?;
    let permit = budget.take(heif.memory);
    Ok((heif.decode()?, permit))
}

fn decode_pnm<'b>(
    bytes: &[u8],
    limits: &Limits,
    budget: &'b MemoryBudget,
) -> Result<(RgbImage, Permit<'b>), PhotoProblem> {
    let pnm = Pnm::open(bytes, limits)?;
    let (width, height) = pnm.size;
    let permit = budget.take(pnm.memory);
    let image = RgbImage::new(width, height, pnm.decode()?).map_err(inconsistent)?;
    Ok((image, permit))
}

/// What the crate `image` decodes: PNG, GIF, BMP and WebP.
fn decode_other<'b>(
    bytes: &[u8],
    format: ImageFormat,
    limits: &Limits,
    budget: &'b MemoryBudget,
) -> Result<(RgbImage, Permit<'b>), PhotoProblem> {
    let webp = match format {
        ImageFormat::WebP => Some(WebP::open(bytes)?),
        ImageFormat::Png => {
            png::check(bytes)?;
            None
        }
        _ => None,
    };
    let bytes = webp.as_ref().map_or(bytes, |webp| &webp.bytes);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    // Until the size is known, only what stands before the picture may take memory.
    let mut bounds = image::Limits::no_limits();
    bounds.max_alloc = Some(HEADER_MEMORY);
    reader.limits(bounds.clone());
    let mut decoder = reader.into_decoder().map_err(problem)?;
    let (width, height) = decoder.dimensions();
    // Damaged metadata is no reason to refuse a picture that is whole.
    let orientation = match &webp {
        Some(webp) => webp.orientation,
        None => decoder
            .exif_metadata()
            .ok()
            .flatten()
            .map_or(Orientation::NoTransforms, |block| exif::orientation(&block)),
    };
    let memory = memory(&decoder, format);
    limits.admit(u64::from(width), u64::from(height), memory)?;
    bounds.max_alloc = Some(memory + HEADER_MEMORY);
    decoder.set_limits(bounds).map_err(problem)?;
    let permit = budget.take(memory);

    let image = DynamicImage::from_decoder(decoder).map_err(problem)?;
    let pixels = if image.color().has_alpha() {
        let rgba = image.into_rgba8();
        let flat = RgbImage::from_rgba(width, height, rgba.as_raw()).map_err(inconsistent)?;
        drop(rgba);
        if orientation == Orientation::NoTransforms {
            return Ok((flat, permit));
        }
        flat.into_pixels()
    } else {
        image.into_rgb8().into_raw()
    };
    Ok((upright(width, height, pixels, orientation)?, permit))
}

/// Bytes that decoding holds at its height: what the decoder gives and keeps for itself, and the 8-bit
/// picture made from it.
fn memory(decoder: &impl ImageDecoder, format: ImageFormat) -> u64 {
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width).saturating_mul(u64::from(height));
    let kept = if format == ImageFormat::WebP { 4 } else { 0 };
    let colour = decoder.color_type();
    let made = match (colour.has_alpha(), colour.bytes_per_pixel()) {
        (true, 8) => 7, // 16 bits: RGBA of 8 bits in between
        _ => 3,
    };
    let ours = pixels.saturating_mul(kept + made);
    decoder.total_bytes().saturating_add(ours)
}

/// Turns the stored picture the way the camera was held.
fn upright(
    width: u32,
    height: u32,
    pixels: Vec<u8>,
    orientation: Orientation,
) -> Result<RgbImage, PhotoProblem> {
    if orientation == Orientation::NoTransforms {
        return RgbImage::new(width, height, pixels).map_err(inconsistent);
    }
    let stored = image::RgbImage::from_raw(width, height, pixels)
        .ok_or_else(|| PhotoProblem::Corrupt("fewer pixels than announced".into()))?;
    let mut turned = DynamicImage::ImageRgb8(stored);
    turned.apply_orientation(orientation);
    let (width, height) = (turned.width(), turned.height());
    RgbImage::new(width, height, turned.into_rgb8().into_raw()).map_err(inconsistent)
}

fn inconsistent(error: rekindle_core::image::ImageError) -> PhotoProblem {
    PhotoProblem::Corrupt(error.to_string())
}

fn problem(error: ImageError) -> PhotoProblem {
    if ends_early(&error) {
        return PhotoProblem::Truncated;
    }
    match error {
        ImageError::Limits(_) => PhotoProblem::OutOfMemory,
        ImageError::Unsupported(error) => PhotoProblem::Unsupported(error.to_string()),
        ImageError::IoError(error) => PhotoProblem::from_io(error),
        other => PhotoProblem::Corrupt(other.to_string()),
    }
}

/// Whether the end of the file lies at the bottom of an error, under however many layers of
/// decoders.
fn ends_early(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<io::Error>();
        // The GIF decoder has an error of its own for it, which can only be told by its text.
        if io.is_some_and(|io| io.kind() == io::ErrorKind::UnexpectedEof)
            || error
                .to_string()
                .eq_ignore_ascii_case("unexpected end of file")
        {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// One entry of the file that `tests/parity/make_photo_fixtures.py` writes.
    #[derive(serde::Deserialize)]
    struct Expected {
        file: String,
        kind: Option<String>,
        #[serde(default)]
        width: u32,
        #[serde(default)]
        height: u32,
        #[serde(default)]
        tolerance: u8,
        #[serde(default)]
        rgb: String,
    }

    fn fixtures() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
    }

    fn expected() -> Vec<Expected> {
        let text = fs::read_to_string(fixtures().join("expected.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn unhex(text: &str) -> Vec<u8> {
        let digits = text.as_bytes().chunks_exact(2);
        digits
            .map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap())
            .collect()
    }

    fn greatest_difference(a: &[u8], b: &[u8]) -> u8 {
        assert_eq!(a.len(), b.len());
        a.iter()
            .zip(b)
            .map(|(a, b)| a.abs_diff(*b))
            .max()
            .unwrap_or(0)
    }

    #[test]
    fn every_odd_picture_looks_as_pillow_sees_it() {
        let mut wrong = Vec::new();
        let mut seen = 0;
        for entry in expected().iter().filter(|e| e.kind.is_none()) {
            seen += 1;
            let name = &entry.file;
            match decode_file(&fixtures().join(name), &Limits::default()) {
                Err(error) => wrong.push(error.to_string()),
                Ok(image) if (image.width(), image.height()) != (entry.width, entry.height) => {
                    wrong.push(format!("{name}: {image:?}"));
                }
                Ok(_) if entry.rgb.is_empty() => {}
                Ok(image) => {
                    let difference = greatest_difference(image.pixels(), &unhex(&entry.rgb));
                    if difference > entry.tolerance {
                        wrong.push(format!(
                            "{name}: off by {difference}, allowed {}",
                            entry.tolerance
                        ));
                    }
                }
            }
        }
        assert!(seen > 200, "only {seen} pictures");
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn every_bad_file_is_refused_for_the_right_reason() {
        let mut wrong = Vec::new();
        for entry in expected() {
            let Some(kind) = entry.kind else { continue };
            // Beginnings without a picture: damaged, to who can read the rest.
            if cfg!(feature = "heif") && entry.file.starts_with("photo.") {
                continue;
            }
            match decode_file(&fixtures().join(&entry.file), &Limits::default()) {
                Ok(image) => wrong.push(format!("{}: read as {image:?}", entry.file)),
                Err(error) if error.kind() != kind => wrong.push(format!("{error} is no {kind}")),
                Err(_) => {}
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn a_file_cut_at_any_byte_is_whole_or_refused() {
        let mut wrong = Vec::new();
        for entry in expected()
            .iter()
            .filter(|e| e.kind.is_none() && !e.rgb.is_empty())
        {
            let bytes = fs::read(fixtures().join(&entry.file)).unwrap();
            let whole = decode_bytes(&bytes, &Limits::default()).unwrap();
            // Of a number in text nothing tells that digits are missing at its end.
            let certain = match bytes[..2] {
                [b'P', b'2' | b'3'] => bytes.len() - 5,
                _ => bytes.len(),
            };
            for len in 0..certain {
                if decode_bytes(&bytes[..len], &Limits::default()).is_ok_and(|image| image != whole)
                {
                    wrong.push(format!(
                        "{} cut to {len} of {} bytes",
                        entry.file,
                        bytes.len()
                    ));
                    break;
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn flipped_bits_never_panic() {
        for entry in expected() {
            let bytes = fs::read(fixtures().join(&entry.file)).unwrap();
            for at in (0..bytes.len().min(300)).step_by(5) {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << (at % 8);
                let result = decode_bytes(&damaged, &Limits::default());
                let gave_up =
                    matches!(&result, Err(PhotoProblem::Corrupt(why)) if why.contains("gave up"));
                assert!(
                    !gave_up,
                    "{}: a decoder panicked at a flip in byte {at}",
                    entry.file
                );
            }
        }
    }

    #[test]
    fn what_is_not_a_readable_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let kind = |name: &str| {
            decode_file(&path(name), &Limits::default())
                .unwrap_err()
                .kind()
        };
        assert_eq!(kind("missing.jpg"), "not_found");
        fs::create_dir(path("folder.jpg")).unwrap();
        assert_eq!(kind("folder.jpg"), "directory");
        fs::write(path("raw.NEF"), b"II*\0").unwrap();
        assert_eq!(kind("raw.NEF"), "unsupported_format");
        let limits = Limits {
            max_file_bytes: 3,
            ..Limits::default()
        };
        let error = decode_file(&fixtures().join("rgb.png"), &limits).unwrap_err();
        assert_eq!(error.kind(), "file_too_large");
    }

    #[cfg(unix)]
    #[test]
    fn links_pipes_locked_files_and_odd_names_are_survived() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        use std::os::unix::fs::{PermissionsExt, symlink};

        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let kind = |name: &str| {
            decode_file(&path(name), &Limits::default())
                .unwrap_err()
                .kind()
        };
        symlink(path("b.jpg"), path("a.jpg")).unwrap();
        symlink(path("a.jpg"), path("b.jpg")).unwrap();
        assert_eq!(kind("a.jpg"), "bad_link");
        symlink(path("gone.jpg"), path("dangling.jpg")).unwrap();
        assert_eq!(kind("dangling.jpg"), "bad_link");
        let _socket = std::os::unix::net::UnixListener::bind(path("socket.jpg")).unwrap();
        assert_eq!(kind("socket.jpg"), "not_a_file");

        let picture = fs::read(fixtures().join("rgb.png")).unwrap();
        let odd = folder.path().join(OsStr::from_bytes(b"caf\xe9 \xff.png"));
        fs::write(&odd, &picture).unwrap();
        assert!(decode_file(&odd, &Limits::default()).is_ok());

        fs::write(path("locked.png"), &picture).unwrap();
        fs::set_permissions(path("locked.png"), fs::Permissions::from_mode(0o000)).unwrap();
        // The superuser reads everything.
        if File::open(path("locked.png")).is_err() {
            assert_eq!(kind("locked.png"), "permission_denied");
        }
    }

    /// A grey TIFF of ten columns whose strips, a row each, share what PackBits makes of so many bytes of nothing
    /// and ten pixels.
    fn strips_that_share_nothing_and_ten_pixels(rows: u32, nothing: usize) -> Vec<u8> {
        let mut data = vec![0x80; nothing];
        data.push(9);
        data.extend([7; 10]);
        let (table, lists) = (8_u32, 8 + 2 + 9 * 12 + 4);
        let at = lists + 8 * rows;
        let entries = [
            (256, 4, 1, 10),
            (257, 4, 1, rows),
            (258, 3, 1, 8),
            (259, 3, 1, 32773),
            (262, 3, 1, 1),
            (273, 4, rows, lists),
            (277, 3, 1, 1),
            (278, 4, 1, 1),
            (279, 4, rows, lists + 4 * rows),
        ];
        let mut file = b"II*\0".to_vec();
        file.extend(table.to_le_bytes());
        file.extend(9_u16.to_le_bytes());
        for (tag, kind, count, value) in entries {
            file.extend(u16::to_le_bytes(tag));
            file.extend(u16::to_le_bytes(kind));
            file.extend(u32::to_le_bytes(count));
            file.extend(u32::to_le_bytes(value));
        }
        file.extend([0; 4]);
        (0..rows).for_each(|_| file.extend(at.to_le_bytes()));
        (0..rows).for_each(|_| file.extend((data.len() as u32).to_le_bytes()));
        file.extend(data);
        file
    }

    #[test]
    fn strips_that_are_nearly_all_nothing_are_not_read_again_and_again() {
        let decoded = |nothing| {
            let file = strips_that_share_nothing_and_ten_pixels(50, nothing);
            decode_bytes(&file, &Limits::default())
        };
        let image = decoded(100).unwrap();
        assert_eq!((image.width(), image.height()), (10, 50));
        assert!(image.pixels().iter().all(|&level| level == 7));
        // Read whole for each of very many strips, such data would take minutes.
        assert!(decoded(1 << 16).is_err());
    }
}
