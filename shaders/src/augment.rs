//! Photos augmented on an adapter, to the bit as on the processor: cut out and resized in two passes, then an operation
//! on each picture of a batch at a time, each its own, then normalised.
//!
//! Pictures between the passes have one word a pixel. What differs from batch to batch is data (records of a few words
//! for each picture, and the numbers that they point to), so texts are few.

use crate::text::Text;
use crate::{Kernel, Storage, Tier};

/// Invocations of a workgroup.
const WORKGROUP: u32 = 64;

/// What is done to a picture: the first word of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Painting {
    /// Nothing.
    Keep,
    /// Bytes through a table.
    Through,
    /// Blended with the mean of its luminance.
    Contrast,
    /// Each channel's values made about equally frequent.
    Equalize,
    /// Each channel stretched.
    AutoContrast,
    /// Blended with its luminance.
    Saturation,
    /// Blended with itself, smoothed.
    Sharpness,
    /// Hues turned.
    Hue,
    /// Its luminance.
    Grey,
    /// Pixels from other pixels.
    Walk,
    /// A part in one colour.
    Erase,
    /// Pixels from between pixels.
    Warp,
}

impl Painting {
    const ALL: [(&'static str, Self); 12] = [
        ("KEEP", Self::Keep),
        ("THROUGH", Self::Through),
        ("CONTRAST", Self::Contrast),
        ("EQUALIZE", Self::Equalize),
        ("AUTO_CONTRAST", Self::AutoContrast),
        ("SATURATION", Self::Saturation),
        ("SHARPNESS", Self::Sharpness),
        ("HUE", Self::Hue),
        ("GREY", Self::Grey),
        ("WALK", Self::Walk),
        ("ERASE", Self::Erase),
        ("WARP", Self::Warp),
    ];

    /// As records say it.
    pub fn word(self) -> u32 {
        self as u32
    }

    /// Whether it follows from all pixels of the picture.
    pub fn needs_counts(self) -> bool {
        matches!(self, Self::Contrast | Self::Equalize | Self::AutoContrast)
    }

    fn name_all(text: &mut Text) {
        for (name, painting) in Self::ALL {
            text.set(name, painting.word());
        }
        text.set("LAST", Self::Erase.word());
    }
}

/// A batch of pictures of one size that operations are done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pictures {
    /// How many.
    pub batch: u32,
    /// Rows of each.
    pub height: u32,
    /// Columns of each.
    pub width: u32,
}

impl Pictures {
    /// Words of a picture's record of a pass that resizes.
    pub const PASS_WORDS: usize = 16;
    /// Words of a picture's record of an operation.
    pub const RECORD_WORDS: usize = 8;
    /// Words of a picture's counts.
    pub const COUNTS: usize = 1024;
    /// Words of a picture's tables.
    pub const TABLES: usize = 3 * 256;

    /// One of the two passes that resize; the first reads bytes. Binds pixels, records, plan, made.
    pub fn resample(&self, bytes: bool, tier: Tier) -> Kernel {
        /// Workgroups for a picture.
        const PARTS: u32 = 32;
        let mut text = Text::new(Storage::F32, tier);
        text.bind("pixels", "u32")
            .bind("records", "u32")
            .bind("plan", "u32")
            .bind("made", "u32");
        text.set("PARTS", PARTS).flag("bytes", bytes);
        text.piece(include_str!("resample.wgsl"));
        let name = if bytes { "resample_bytes" } else { "resample" };
        text.kernel(name, WORKGROUP, self.batch * PARTS)
    }

    /// How often values occur. Binds pixels, records, counts.
    pub fn histogram(&self, tier: Tier) -> Kernel {
        /// Workgroups for a picture.
        const PARTS: u32 = 16;
        let mut text = Text::new(Storage::F32, tier);
        text.bind("pixels", "u32")
            .bind("records", "u32")
            .bind("counts", "atomic<u32>");
        text.size("PIXELS", self.height * self.width);
        Painting::name_all(text.set("PARTS", PARTS));
        text.piece(include_str!("histogram.wgsl"));
        text.kernel("histogram", WORKGROUP, self.batch * PARTS)
    }

    /// Tables that follow from how often values occur. Binds counts, records, plan, tables.
    pub fn tones(&self, tier: Tier) -> Kernel {
        let mut text = Text::new(Storage::F32, tier);
        text.bind("counts", "u32")
            .bind("records", "u32")
            .bind("plan", "u32")
            .bind("tables", "u32");
        text.size_all([("BATCH", self.batch), ("PIXELS", self.height * self.width)]);
        Painting::name_all(&mut text);
        text.piece(include_str!("real.wgsl"))
            .piece(include_str!("blended.wgsl"))
            .piece(include_str!("tones.wgsl"));
        let values = self.batch * Self::TABLES as u32;
        text.kernel("tones", WORKGROUP, values.div_ceil(WORKGROUP))
    }

    /// An operation on each picture but for those that are warped. Binds pixels, records, plan, tables, made.
    pub fn repaint(&self, tier: Tier) -> Kernel {
        let mut text = self.text(tier);
        text.bind("pixels", "u32")
            .bind("records", "u32")
            .bind("plan", "u32")
            .bind("tables", "u32")
            .bind("made", "u32");
        text.piece(include_str!("blended.wgsl"))
            .piece(include_str!("repaint.wgsl"));
        self.for_pixels(&mut text, "repaint")
    }

    /// Those that are warped. Binds pixels, records, plan, made.
    pub fn warp(&self, tier: Tier) -> Kernel {
        let mut text = self.text(tier);
        text.bind("pixels", "u32")
            .bind("records", "u32")
            .bind("plan", "u32")
            .bind("made", "u32");
        text.piece(include_str!("real.wgsl"))
            .piece(include_str!("warp.wgsl"));
        self.for_pixels(&mut text, "warp")
    }

    /// Bytes to a network's numbers. Binds pixels, plan, result.
    pub fn normalise(&self, tier: Tier) -> Kernel {
        let mut text = Text::new(Storage::F32, tier);
        text.bind("pixels", "u32")
            .bind("plan", "u32")
            .bind("result", "f32");
        text.size_all([("BATCH", self.batch), ("PIXELS", self.height * self.width)]);
        text.piece(include_str!("normalise.wgsl"));
        self.for_pixels(&mut text, "normalise")
    }

    fn text(&self, tier: Tier) -> Text {
        let mut text = Text::new(Storage::F32, tier);
        text.size_all([
            ("BATCH", self.batch),
            ("HEIGHT", self.height),
            ("WIDTH", self.width),
        ]);
        Painting::name_all(&mut text);
        text
    }

    /// The kernel of a text that handles each pixel once.
    fn for_pixels(&self, text: &mut Text, name: &str) -> Kernel {
        let pixels = self.batch * self.height * self.width;
        text.kernel(name, WORKGROUP, pixels.div_ceil(WORKGROUP))
    }
}
