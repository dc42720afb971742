//! The classes that published weights tell apart.

/// A data set's classes, in the order of the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Classes {
    /// The thousand of the ImageNet challenge, in torchvision's words.
    ImageNet,
    /// Pascal VOC's twenty, after `__background__`.
    Voc,
    /// COCO's eighty by the ids of its annotations: `__background__` is 0, and ids that are not in use are
    /// called `N/A`.
    Coco,
}

impl Classes {
    /// Their names, one a line.
    const fn text(self) -> &'static str {
        match self {
            Self::ImageNet => include_str!("classes/imagenet.txt"),
            Self::Voc => include_str!("classes/voc.txt"),
            Self::Coco => include_str!("classes/coco.txt"),
        }
    }

    /// How many there are.
    pub fn count(self) -> usize {
        self.text().lines().count()
    }

    /// Their names.
    pub fn names(self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_in_the_order_of_their_data_sets() {
        // torchvision's `_meta.py`.
        for (classes, count, known) in [
            (
                Classes::ImageNet,
                1000,
                &[(0, "tench"), (282, "tiger cat"), (999, "toilet tissue")],
            ),
            (
                Classes::Voc,
                21,
                &[(0, "__background__"), (8, "cat"), (20, "tvmonitor")],
            ),
            (
                Classes::Coco,
                91,
                &[(0, "__background__"), (17, "cat"), (90, "toothbrush")],
            ),
        ] {
            let names = classes.names();
            assert_eq!((names.len(), classes.count()), (count, count));
            for &(index, name) in known {
                assert_eq!(names[index], name);
            }
        }
    }
}
