//! What batch and group normalisation have in common: sums per channel, in parts that are joined.

use crate::sums::split;
use crate::text::Text;
use crate::{Kernel, Storage, Tier};

pub(crate) const PARTS: &str = include_str!("norm_parts.wgsl");
const JOIN: &str = include_str!("norm_join.wgsl");
const APPLY: &str = include_str!("norm_apply.wgsl");

const WORKGROUP: u32 = 64;

/// Invocations that keep all cores of a software adapter busy: whole workgroups are handed out to them.
const ENOUGH: u32 = 1024;

/// What is normalised: `[images, rows, channels]`, each channel of each image by sums of its own.
#[derive(Clone, Copy)]
pub(crate) struct Normed {
    pub(crate) images: u32,
    pub(crate) rows: u32,
    pub(crate) channels: u32,
    pub(crate) storage: Storage,
}

impl Normed {
    /// Into how many parts the rows of an image are divided.
    pub(crate) fn parts(&self, tier: Tier) -> u32 {
        // On GPUs parts are joined by many at once, so there may be many.
        let enough = if tier == Tier::Software {
            ENOUGH
        } else {
            131_072
        };
        let width = self.images * self.channels.div_ceil(4);
        split(self.rows, width, enough, 32)
    }

    /// Into how many blocks the rows of an image are divided where each number becomes another.
    fn blocks(&self, tier: Tier) -> u32 {
        let enough = if tier == Tier::Software {
            ENOUGH
        } else {
            524_288
        };
        let width = self.images * self.channels.div_ceil(4);
        split(self.rows, width, enough, 1)
    }

    /// Numbers (f32) that the parts' sums take.
    pub(crate) fn scratch(&self, tier: Tier) -> u32 {
        self.images * self.parts(tier) * 2 * self.channels
    }

    /// A text that handles a Lane at a time, with these buffers: name, and whether they are stored as maps are.
    pub(crate) fn text(&self, tier: Tier, buffers: &[(&str, bool)]) -> Text {
        let parts = self.parts(tier);
        let mut text = Text::new(self.storage, tier);
        text.lanes(self.channels);
        for (buffer, as_stored) in buffers {
            text.bind(buffer, if *as_stored { "StoredLane" } else { "Lane" });
        }
        text.step("IMAGES", self.images).size_all([
            ("ROWS", self.rows),
            ("PARTS", parts),
            ("PART_ROWS", self.rows.div_ceil(parts)),
        ]);
        text
    }

    /// The kernel, with an invocation for each lane of `work` rows of each image.
    pub(crate) fn kernel(&self, text: &mut Text, name: &str, work: u32) -> Kernel {
        let lane = if self.channels.is_multiple_of(4) {
            4
        } else {
            1
        };
        let lanes = self.images * work * (self.channels / lane);
        self.finish(text, name, lanes)
    }

    /// The kernel that makes of each number another.
    pub(crate) fn apply(&self, text: &mut Text, name: &str, tier: Tier) -> Kernel {
        let blocks = self.blocks(tier);
        text.size("BLOCKS", blocks);
        self.kernel(text.piece(APPLY), name, blocks)
    }

    /// The kernel that joins the parts' sums: an invocation for each lane of each image on software adapters, a workgroup
    /// on GPUs.
    pub(crate) fn join(&self, text: &mut Text, name: &str, tier: Tier) -> Kernel {
        if tier == Tier::Software {
            return self.kernel(text.piece(JOIN), name, 1);
        }
        text.flag("team", true);
        let lane = if self.channels.is_multiple_of(4) {
            4
        } else {
            1
        };
        let lanes = self.images * (self.channels / lane);
        self.finish(text.piece(JOIN), name, lanes * WORKGROUP)
    }

    /// The kernel, with so many invocations.
    pub(crate) fn finish(&self, text: &mut Text, name: &str, invocations: u32) -> Kernel {
        let Self {
            images,
            rows,
            channels,
            ..
        } = self;
        let name = format!("{name}_{images}x{rows}x{channels}");
        text.kernel(&name, WORKGROUP, invocations.div_ceil(WORKGROUP))
    }
}
