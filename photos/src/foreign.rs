//! What files are that are not read here: what it is called, and what to do about it.

/// Formats of pictures that are known and not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// HEIF with HEVC inside, as iPhones take photos.
    Heic,
    /// HEIF with AV1 inside.
    Avif,
    /// JPEG XL.
    JpegXl,
    /// JPEG 2000.
    Jpeg2000,
    /// What a camera's sensor saw, in the maker's own format or Adobe's DNG.
    CameraRaw,
    /// Adobe Photoshop's document.
    Photoshop,
    /// A format that any picture program opens; the text completes "… is not supported".
    Other(&'static str),
}

impl Foreign {
    /// What it is called; completes "… is not supported".
    pub fn name(self) -> &'static str {
        match self {
            Self::Heic => "a HEIC picture",
            Self::Avif => "an AVIF picture",
            Self::JpegXl => "a JPEG XL picture",
            Self::Jpeg2000 => "a JPEG 2000 picture",
            Self::CameraRaw => "a camera's raw file",
            Self::Photoshop => "a Photoshop document",
            Self::Other(name) => name,
        }
    }

    /// What the user can do about it.
    pub fn help(self) -> &'static str {
        match self {
            Self::Heic => {
                "convert it to JPEG first (`heif-convert photo.heic photo.jpg`, or any photo program); \
                 an iPhone takes JPEG with Settings > Camera > Formats > Most Compatible. The web page \
                 (`rekindle serve`) reads it in browsers that can, such as Safari, and so does a Rekindle \
                 built with `--features heif`"
            }
            Self::Avif => {
                "convert it to JPEG or PNG first (`avifdec photo.avif photo.png`, or any photo \
                 program), or open it in the web page (`rekindle serve`): browsers read AVIF, and so does a \
                 Rekindle built with `--features heif`"
            }
            Self::JpegXl => "convert it to JPEG or PNG first (`djxl photo.jxl photo.png`)",
            Self::Jpeg2000 => {
                "convert it to PNG first (`opj_decompress -i photo.jp2 -o photo.png`, or any photo \
                 program)"
            }
            Self::CameraRaw => {
                "develop it to JPEG first, with the camera's own program, darktable or RawTherapee"
            }
            Self::Photoshop => "export it as JPEG or PNG first",
            Self::Other(_) => "convert it to JPEG or PNG first, with any picture program",
        }
    }
}

/// What stands in a checkout in place of a file that Git LFS keeps elsewhere.
pub(super) const LFS_POINTER: &str = "a Git LFS pointer: the picture itself was not fetched";

/// What to do about a file that is no picture; `what` is what [`Content::Other`](crate::Content::Other) says.
pub(super) fn help_with_other(what: &str) -> &'static str {
    match what {
        "a video" => {
            "take pictures out of it first: `ffmpeg -i FILE -vf fps=1 picture_%04d.jpg` takes one a \
             second"
        }
        "a PDF document" => "turn its pages into pictures first: `pdftoppm -jpeg FILE page`",
        "a PostScript document" => "export it as JPEG or PNG first",
        "an SVG drawing" => "draw it as PNG first: `rsvg-convert FILE -o drawing.png`",
        "a zip archive" => "unpack it first",
        LFS_POINTER => "fetch it with `git lfs pull`, or download the file from the site",
        _ => "replace the file by the picture it should be, or delete it",
    }
}
