//! Everything that decides how photos are augmented, as data.

use std::fmt;
use std::str::FromStr;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::automatic::{Automatic, RandAugment};
use super::erasing::Erasing;
use super::error::{AugmentError, check, positive, probability};
use super::jitter::Jitter;
use super::turns::{RandomAffine, RandomPerspective, Rotation};
use super::warp::Filter;

/// How photos are augmented. What is left out does not happen.
///
/// The order is that of torchvision's reference preset: cropped and resized, flipped, changed by an automatic
/// augmentation; then what that preset does not have (jitter, grey, rotation, affine, perspective); erased last.
/// Everything behind the crop happens on the picture that the network sees, not on the photo.
///
/// In a file it is a table, or the name of one of [`AugmentRecipe::NAMES`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(remote = "Self", default, deny_unknown_fields)]
pub struct AugmentRecipe {
    /// How often left and right change places.
    pub flip: f64,
    /// How often top and bottom change places.
    pub vertical_flip: f64,
    /// How often colours are taken away (`RandomGrayscale`).
    pub grey: f64,
    /// How values between pixels are found when a picture is turned.
    pub filter: Filter,
    /// The colour of what lies outside a picture that is turned; black in torchvision.
    pub fill: [u8; 3],
    /// A random part of the photo is seen; without it, what is seen at prediction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop: Option<RandomCrop>,
    /// Operations chosen at random.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automatic: Option<Automatic>,
    /// Colours changed a little.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Jitter>,
    /// Turned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// Turned, moved, scaled and sheared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affine: Option<RandomAffine>,
    /// Seen from elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub perspective: Option<RandomPerspective>,
    /// A rectangle erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erasing: Option<Erasing>,
}

/// torchvision's `RandomResizedCrop`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomCrop {
    /// Shares of the photo's area, from and to.
    pub scale: [f64; 2],
    /// Width to height, from and to.
    pub ratio: [f64; 2],
}

impl Default for RandomCrop {
    /// torchvision's.
    fn default() -> Self {
        Self {
            scale: [0.08, 1.0],
            ratio: [3.0 / 4.0, 4.0 / 3.0],
        }
    }
}

impl AugmentRecipe {
    /// The recipes that have names, from nothing to much:
    ///
    /// - `none`: every photo as at prediction
    /// - `flip`: the same, every second mirrored
    /// - `light`: at least 35 % of the photo, every second mirrored; suits fine-tuning
    /// - `standard`: torchvision's, at least 8 % of the photo, every second mirrored
    /// - `trivial`: `standard` and TrivialAugmentWide
    /// - `rand`: `standard` and RandAugment with 2 operations of magnitude 9
    /// - `strong`: `trivial`, and every fourth erased in part
    pub const NAMES: &'static [&'static str] = &[
        "none", "flip", "light", "standard", "trivial", "rand", "strong",
    ];

    fn cropped(crop: RandomCrop) -> Self {
        Self {
            flip: 0.5,
            crop: Some(crop),
            ..Self::default()
        }
    }

    /// The recipe called `flip`.
    pub fn flip() -> Self {
        Self {
            flip: 0.5,
            ..Self::default()
        }
    }

    /// The recipe called `light`.
    pub fn light() -> Self {
        Self::cropped(RandomCrop {
            scale: [0.35, 1.0],
            ..RandomCrop::default()
        })
    }

    /// The recipe called `standard`.
    pub fn standard() -> Self {
        Self::cropped(RandomCrop::default())
    }

    /// The recipe with one of [`AugmentRecipe::NAMES`].
    ///
    /// # Errors
    ///
    /// [`AugmentError::Unknown`] for any other name.
    pub fn named(name: &str) -> Result<Self, AugmentError> {
        let standard = Self::standard();
        let with = |automatic| Self {
            automatic: Some(automatic),
            ..standard.clone()
        };
        Ok(match name {
            "none" => Self::default(),
            "flip" => Self::flip(),
            "light" => Self::light(),
            "standard" => standard,
            "trivial" => with(Automatic::Trivial),
            "rand" => with(Automatic::Rand(RandAugment::default())),
            "strong" => Self {
                erasing: Some(Erasing {
                    p: 0.25,
                    ..Erasing::default()
                }),
                ..with(Automatic::Trivial)
            },
            _ => {
                return Err(AugmentError::Unknown {
                    found: name.to_owned(),
                    known: Self::NAMES,
                });
            }
        })
    }

    /// Whether every number is one that can be drawn from.
    ///
    /// # Errors
    ///
    /// [`AugmentError::Value`] for the first that is not.
    pub fn check(&self) -> Result<(), AugmentError> {
        probability("flip", self.flip)?;
        probability("vertical_flip", self.vertical_flip)?;
        probability("grey", self.grey)?;
        if let Some(RandomCrop { scale, ratio }) = self.crop {
            let [low, high] = scale;
            check(
                0.0 < low && low <= high && high <= 1.0,
                "crop.scale",
                || format!("{low} to {high}"),
                "two shares of the area above 0 and up to 1, the lower first",
            )?;
            positive("crop.ratio", ratio)?;
        }
        self.automatic.map_or(Ok(()), |part| part.check())?;
        self.jitter.map_or(Ok(()), |part| part.check())?;
        self.rotation.map_or(Ok(()), |part| part.check())?;
        self.affine.map_or(Ok(()), |part| part.check())?;
        self.perspective.map_or(Ok(()), |part| part.check())?;
        self.erasing.map_or(Ok(()), |part| part.check())
    }
}

impl FromStr for AugmentRecipe {
    type Err = AugmentError;

    fn from_str(name: &str) -> Result<Self, AugmentError> {
        Self::named(name)
    }
}

// serde's `remote` has derived functions of these names for the table itself; here come the name and the check.

impl Serialize for AugmentRecipe {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for AugmentRecipe {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrTable;

        impl<'de> Visitor<'de> for NameOrTable {
            type Value = AugmentRecipe;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let names = AugmentRecipe::NAMES.join(", ");
                write!(
                    f,
                    "the name of an augmentation ({names}) or a table that describes one"
                )
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<AugmentRecipe, E> {
                AugmentRecipe::named(name).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<AugmentRecipe, A::Error> {
                let recipe = AugmentRecipe::deserialize(MapAccessDeserializer::new(table))?;
                recipe.check().map_err(A::Error::custom)?;
                Ok(recipe)
            }
        }

        deserializer.deserialize_any(NameOrTable)
    }
}
