//! One photo: path or bytes in, an upright 8-bit RGB picture out.

use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageFormat};
use rekindle_networks::image::RgbImage;

use super::bmp::Bmp;
use super::foreign::Foreign;
use super::gif::Gif;
use super::guard::guarded;
use super::jpeg::Jpeg;
use super::limits::{MemoryBudget, Permit};
use super::picture::{Picture, picture_of};
use super::png::Png;
use super::pnm::Pnm;
use super::sniff::{Content, sniff};
use super::tiff::Tiff;
use super::webp::WebP;
use super::{Limits, PhotoError, PhotoProblem, file};

/// Reads a header.
type Open = for<'a> fn(&'a [u8], &Limits) -> Result<Box<dyn Picture + 'a>, PhotoProblem>;

/// Every format there is, by what the first bytes say.
const FORMATS: &[(Content, Open)] = &[
    (Content::Image(ImageFormat::Jpeg), |bytes, limits| {
        boxed(Jpeg::open(bytes, limits))
    }),
    (Content::Image(ImageFormat::Png), |bytes, limits| {
        boxed(Png::open(bytes, limits))
    }),
    (Content::Image(ImageFormat::WebP), |bytes, limits| {
        boxed(WebP::open(bytes, limits))
    }),
    (Content::Image(ImageFormat::Gif), |bytes, limits| {
        boxed(Gif::open(bytes, limits))
    }),
    (Content::Image(ImageFormat::Bmp), |bytes, limits| {
        boxed(Bmp::open(bytes, limits))
    }),
    (Content::Image(ImageFormat::Tiff), |bytes, limits| {
        boxed(Tiff::open(bytes, limits))
    }),
    (Content::Image(ImageFormat::Pnm), |bytes, limits| {
        boxed(Pnm::open(bytes, limits))
    }),
    #[cfg(feature = "heif")]
    (Content::Foreign(Foreign::Heic), |bytes, limits| {
        boxed(super::heif::Heif::open(bytes, limits))
    }),
    #[cfg(feature = "heif")]
    (Content::Foreign(Foreign::Avif), |bytes, limits| {
        boxed(super::heif::Heif::open(bytes, limits))
    }),
];

/// Names of the formats that are read, as people call them.
pub fn format_names() -> impl Iterator<Item = &'static str> {
    FORMATS.iter().map(|(content, _)| match content {
        Content::Image(ImageFormat::Jpeg) => "JPEG",
        Content::Image(ImageFormat::Png) => "PNG",
        Content::Image(ImageFormat::WebP) => "WebP",
        Content::Image(ImageFormat::Gif) => "GIF",
        Content::Image(ImageFormat::Bmp) => "BMP",
        Content::Image(ImageFormat::Tiff) => "TIFF",
        Content::Image(ImageFormat::Pnm) => "PNM",
        Content::Foreign(Foreign::Heic) => "HEIC",
        Content::Foreign(Foreign::Avif) => "AVIF",
        Content::Image(_) | Content::Foreign(_) | Content::Other(_) => "other pictures'",
    })
}

/// What to tell somebody who gave no photos: `photos are JPEG, PNG, … and PNM files`.
pub fn formats_help() -> String {
    let names: Vec<_> = format_names().collect();
    let (last, others) = names.split_last().unwrap_or((&"", &[]));
    format!("photos are {} and {last} files", others.join(", "))
}

fn boxed<'a>(
    opened: Result<impl Picture + 'a, PhotoProblem>,
) -> Result<Box<dyn Picture + 'a>, PhotoProblem> {
    Ok(Box::new(opened?))
}

impl Foreign {
    /// Whether it is read all the same, by a library that was built in.
    pub fn is_read(self) -> bool {
        reader(Content::Foreign(self)).is_some()
    }
}

/// What reads files of this content.
fn reader(content: Content) -> Option<Open> {
    let mut formats = FORMATS.iter();
    formats
        .find(|(format, _)| *format == content)
        .map(|(_, open)| *open)
}

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
        file::read(path, limits).and_then(|bytes| decode_bytes_within(&bytes, limits, budget));
    decoded.map_err(|problem| PhotoError::new(path, problem))
}

fn decode_bytes_within<'b>(
    bytes: &[u8],
    limits: &Limits,
    budget: &'b MemoryBudget,
) -> Result<(RgbImage, Permit<'b>), PhotoProblem> {
    if bytes.is_empty() {
        return Err(PhotoProblem::Empty);
    }
    let content = sniff(bytes);
    let open = reader(content).ok_or(match content {
        Content::Foreign(format) => PhotoProblem::Foreign(format),
        Content::Other(name) => PhotoProblem::NotAnImage(name),
        Content::Image(format) => PhotoProblem::Unsupported(format!("a {format:?} picture")),
    })?;
    guarded(|| {
        let picture = open(bytes, limits)?;
        let permit = budget.take(picture.memory());
        let orientation = picture.orientation();
        Ok((upright(picture.decode()?, orientation)?, permit))
    })
}

/// Turns the stored picture the way the camera was held.
fn upright(picture: RgbImage, orientation: Orientation) -> Result<RgbImage, PhotoProblem> {
    if orientation == Orientation::NoTransforms {
        return Ok(picture);
    }
    let (width, height) = (picture.width(), picture.height());
    let stored = image::RgbImage::from_raw(width, height, picture.into_pixels())
        .ok_or_else(|| PhotoProblem::Corrupt("fewer pixels than announced".into()))?;
    let mut turned = DynamicImage::ImageRgb8(stored);
    turned.apply_orientation(orientation);
    let (width, height) = (turned.width(), turned.height());
    picture_of(width, height, turned.into_rgb8().into_raw())
}
