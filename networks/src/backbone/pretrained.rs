//! What is known of a file of published weights.

use super::classes::Classes;
use crate::preprocess::Preset;

/// Weights that somebody published for an architecture.
#[derive(Debug, Clone, Copy)]
pub struct PretrainedWeights {
    /// torchvision's name for them: `IMAGENET1K_V2`.
    pub name: &'static str,
    /// The name of the file, which for torchvision ends in the start of its SHA-256.
    pub file_name: &'static str,
    /// The address to fetch it from; `None` for files that come with Rekindle.
    pub url: Option<&'static str>,
    /// Under which licence they may be used.
    pub license: License,
    /// Where they come from, for people.
    pub source: &'static str,
    /// How photos must be prepared for them.
    pub preset: Preset,
    /// How good they are, as whoever published them measured it.
    pub accuracy: Option<Accuracy>,
    /// The classes that they tell apart.
    pub classes: Classes,
}

/// What was measured of published weights, in percent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Accuracy {
    /// Of a classifier, on ImageNet's validation photos.
    Photos {
        /// Photos whose class is the likeliest answer.
        top1: f32,
        /// Photos whose class is among the five likeliest answers.
        top5: f32,
    },
    /// Of a segmentation network, on those of COCO's validation photos that show VOC's classes.
    Pixels {
        /// Intersection over union, the mean of all classes.
        mean_iou: f32,
        /// Pixels whose class is the likeliest answer.
        right: f32,
    },
    /// Of a detector, on COCO's validation photos.
    Boxes {
        /// Average precision, the mean of all classes and of ten thresholds of overlap.
        mean_precision: f32,
    },
}

/// A number out of an [`Accuracy`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// Its name in JSON: `acc1`, `miou`.
    pub key: &'static str,
    /// Its name for people: `top-1`, `mIoU`.
    pub label: &'static str,
    /// What it is, in percent.
    pub percent: f32,
}

impl Accuracy {
    /// Its numbers, the one that networks are compared by first.
    pub fn figures(self) -> Vec<Figure> {
        let figure = |key, label, percent| Figure {
            key,
            label,
            percent,
        };
        match self {
            Self::Photos { top1, top5 } => {
                vec![figure("acc1", "top-1", top1), figure("acc5", "top-5", top5)]
            }
            Self::Pixels { mean_iou, right } => vec![
                figure("miou", "mIoU", mean_iou),
                figure("pixel_acc", "pixels", right),
            ],
            Self::Boxes { mean_precision } => vec![figure("box_map", "mAP", mean_precision)],
        }
    }
}

/// The licences the weights come under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum License {
    /// BSD 3-clause, torchvision's own.
    Bsd3,
    /// Apache 2.0.
    Apache2,
    /// MIT.
    Mit,
    /// Creative Commons, attribution, non-commercial (torchvision's SWAG weights).
    CcByNc4,
}

impl License {
    /// The SPDX identifier.
    pub const fn spdx(self) -> &'static str {
        match self {
            Self::Bsd3 => "BSD-3-Clause",
            Self::Apache2 => "Apache-2.0",
            Self::Mit => "MIT",
            Self::CcByNc4 => "CC-BY-NC-4.0",
        }
    }
}
