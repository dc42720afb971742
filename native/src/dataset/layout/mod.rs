//! Which folders are classes: directly under the root, under `train/`, `val/` and `test/`, or a level
//! further down than expected, as archives unpack.

mod divided;
mod flat;
mod found;
mod parts;
mod reader;
mod remark;

pub use found::{ClassFolder, Known, Layout, Unlabelled, class_names, nfc, relative};
pub(super) use parts::{Part, part_of};
pub use reader::Reader;
pub use remark::Remark;

use reader::DEEPEST;

use super::error::DatasetError;

impl Reader<'_> {
    /// Understands the folders under the root.
    ///
    /// A folder named like a part is one only if it holds folders: `train` may well be a class beside
    /// `bus` and `car`.
    pub fn understand(&self) -> Result<Layout, DatasetError> {
        let mut layout = Layout::default();
        let mut base = self.root.to_owned();
        for level in 0.. {
            let top = self.walker.list(&base)?;
            layout.set_aside(&top);
            let sorted = self.sort(&top)?;
            if !sorted.parts.is_empty() {
                self.divided(&mut layout, sorted, level)?;
                break;
            }
            if level < DEEPEST
                && let Some(wrapper) = self.wrapper(&top, self.known)?
            {
                base = wrapper;
                continue;
            }
            if !self.divided_within(&mut layout, &top)? {
                self.flat(&mut layout, &base, &top)?;
            }
            if level > 0 {
                let places = vec![self.place(&base)];
                layout.remarks.push(Remark::Deeper {
                    levels: level,
                    places,
                });
            }
            break;
        }
        layout.bad_links.sort();
        Ok(layout)
    }
}
