//! What keeping the rows of some photos and views takes, against what there is room for.

use std::fmt;

use crate::size::size;

/// How many views of some photos are kept, known before anything is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Plan {
    /// Photos.
    pub photos: u64,
    /// Views of each photo that are wanted,
    pub views: u64,
    /// and that there is room for.
    pub fitting: u64,
    /// Bytes of all rows that are wanted, those that lie there already included.
    pub bytes: u64,
    /// Bytes of those that lie there already.
    pub there: u64,
    /// Bytes that all shelves may take together.
    pub budget: u64,
    /// Bytes that this shelf may have in all, others' being what they are.
    pub room: u64,
}

impl Plan {
    /// For rows of which each takes `record` bytes, `there` of them being there already, on a shelf that may take
    /// `room` bytes in all.
    pub(super) fn new(
        [photos, views]: [u64; 2],
        record: u64,
        there: u64,
        budget: u64,
        room: u64,
    ) -> Self {
        let of_a_view = photos.saturating_mul(record);
        let fitting = room
            .checked_div(of_a_view)
            .map_or(views, |fit| fit.min(views));
        Self {
            photos,
            views,
            fitting,
            bytes: of_a_view.saturating_mul(views),
            there: there.saturating_mul(record),
            budget,
            room,
        }
    }

    /// Whether all of it is kept.
    pub fn fits(&self) -> bool {
        self.fitting == self.views
    }

    /// Whether not even one view of each photo is kept: what finds no room is computed anew whenever it is needed.
    #[cfg(test)]
    pub fn recomputes(&self) -> bool {
        self.fitting == 0 && self.views > 0
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let views = match self.views {
            1 => "1 view".to_owned(),
            views => format!("{views} views"),
        };
        let photos = match self.photos {
            1 => "1 photo".to_owned(),
            photos => format!("{} photos", grouped(photos)),
        };
        write!(
            f,
            "{views} of {photos}: {}; budget {}",
            size(self.bytes),
            size(self.budget)
        )?;
        if self.there > 0 {
            write!(
                f,
                "; {} are there already",
                size(self.there.min(self.bytes))
            )?;
        }
        match self.fitting {
            _ if self.fits() => Ok(()),
            0 => write!(f, "; what finds no room is computed anew each time"),
            1 => write!(f, "; there is room for 1 view"),
            fitting => write!(f, "; there is room for {fitting} views"),
        }
    }
}

/// A number with spaces between the thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_need_is_said_in_words_and_what_does_not_fit() {
        let plan = Plan::new([1000, 8], 150_000, 0, 30_000_000_000, 30_000_000_000);
        assert_eq!(
            plan.to_string(),
            "8 views of 1 000 photos: 1.2 GB; budget 30 GB"
        );
        assert!(plan.fits() && !plan.recomputes());

        let plan = Plan::new([1000, 8], 150_000, 500, 30_000_000_000, 460_000_000);
        let said = "8 views of 1 000 photos: 1.2 GB; budget 30 GB; 75 MB are there already; there is room for 3 views";
        assert_eq!(plan.to_string(), said);

        let plan = Plan::new([1, 1], 150_000, 0, 10, 10);
        assert_eq!(
            plan.to_string(),
            "1 view of 1 photo: 150 kB; budget 10 bytes; what finds no room is computed anew each time"
        );
        assert!(plan.recomputes());

        let none = Plan::new([0, 8], 150_000, 0, 0, 0);
        assert!(none.fits() && none.bytes == 0);
        assert!(Plan::new([u64::MAX, 8], 150_000, 0, 1, 1).recomputes());
    }
}
