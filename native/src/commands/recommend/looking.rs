//! What a folder holds: how many photos of which classes, how large they are, and how like ImageNet's a network finds
//! them.

use std::time::Instant;

use rekindle_core::device::Device;
use rekindle_core::image::RgbImage;
use rekindle_core::postprocess::softmax;
use serde_json::{Value, json};

use super::candidates::Candidate;
use super::clock::{Clock, Halt};
use super::sample::stratified;
use crate::context::Context;
use crate::dataset::Dataset;
use crate::models;
use crate::photos::{DecodeOptions, StreamError, decode_stream};

/// Photos that are looked at more closely.
const LOOKED_AT: usize = 64;
/// Crops that go through a network together.
const BATCH: usize = 8;

/// What a folder holds.
#[derive(Debug, Clone)]
pub struct Look {
    pub photos: usize,
    pub classes: usize,
    /// The class with most photos and the one with fewest, and how many.
    pub largest: (String, usize),
    pub smallest: (String, usize),
    /// Widths and heights of some photos, by area; none that could be read, none here.
    pub sizes: Vec<[u32; 2]>,
    /// Seconds that decoding a photo takes, all cores at work.
    pub decode: f64,
    /// How sure a network is of its own classes.
    pub sureness: Option<Sureness>,
}

/// How sure a network is of the classes that it was published with.
#[derive(Debug, Clone)]
pub struct Sureness {
    pub network: &'static str,
    /// The mean probability of the likeliest class.
    pub top: f64,
    /// The mean entropy of the probabilities, as a share of the greatest possible.
    pub entropy: f64,
    /// The accuracy that was published of it.
    pub published: Option<f64>,
    pub photos: usize,
}

/// What is taken to be the accuracy of a network of which none is published.
const ANY_ACCURACY: f64 = 0.75;

impl Sureness {
    /// The mean probability as a share of what a calibrated network would have on ImageNet's own photos: its accuracy.
    pub fn ratio(&self) -> f64 {
        self.top / self.published.unwrap_or(ANY_ACCURACY)
    }
}

impl Look {
    /// How many photos the largest class has for each of the smallest one's.
    pub fn imbalance(&self) -> f64 {
        self.largest.1 as f64 / self.smallest.1.max(1) as f64
    }

    /// The photo in the middle, by area.
    pub fn median(&self) -> Option<[u32; 2]> {
        self.sizes.get(self.sizes.len() / 2).copied()
    }

    pub fn json(&self) -> Value {
        json!({
            "photos": self.photos,
            "classes": self.classes,
            "largest_class": { "class": self.largest.0, "photos": self.largest.1 },
            "smallest_class": { "class": self.smallest.0, "photos": self.smallest.1 },
            "imbalance": self.imbalance(),
            "sizes": self.median().map(|median| json!({
                "looked_at": self.sizes.len(),
                "smallest": self.sizes.first(),
                "median": median,
                "largest": self.sizes.last(),
            })),
        })
    }
}

/// Looks at a folder; a budget that ends meanwhile, or the user, leaves what was seen till then, and says so.
pub fn look(
    dataset: &Dataset,
    judge: &Candidate,
    seed: u64,
    device: &Device,
    work: (&Clock, &Context),
) -> anyhow::Result<(Look, Option<Halt>)> {
    let counts = dataset.counts();
    let most = counts.iter().max_by_key(|count| count.total());
    let least = counts.iter().min_by_key(|count| count.total());
    let named = |count: Option<&crate::dataset::ClassCount>| {
        count.map_or_else(Default::default, |count| {
            (count.class.clone(), count.total())
        })
    };
    let mut look = Look {
        photos: dataset.items.len(),
        classes: dataset.classes.len(),
        largest: named(most),
        smallest: named(least),
        sizes: Vec::new(),
        decode: 0.0,
        sureness: None,
    };
    let halt = match look_closer(&mut look, dataset, judge, seed, device, work) {
        Ok(()) => None,
        Err(error) => Some(work.0.halted(&error).ok_or(error)?),
    };
    look.sizes
        .sort_unstable_by_key(|[width, height]| u64::from(*width) * u64::from(*height));
    Ok((look, halt))
}

fn look_closer(
    look: &mut Look,
    dataset: &Dataset,
    judge: &Candidate,
    seed: u64,
    device: &Device,
    work: (&Clock, &Context),
) -> anyhow::Result<()> {
    let (clock, context) = work;
    let own = models::open(judge.name(), judge.weights_option(), device, context)?;
    let labels: Vec<usize> = dataset.items.iter().map(|item| item.class).collect();
    let keys: Vec<u64> = dataset.items.iter().map(|item| item.hash.key()).collect();
    let chosen = stratified(&labels, &keys, seed, LOOKED_AT);
    let paths: Vec<_> = chosen.iter().map(|&row| &dataset.items[row].path).collect();
    let options = DecodeOptions {
        limits: context.limits,
        ahead: BATCH,
        ..DecodeOptions::default()
    };
    let preset = own.card.preset;
    let prepare =
        |_, image: RgbImage| ([image.width(), image.height()], preset.crop_pixels(&image));
    let mut crops = Vec::new();
    let begun = Instant::now();
    let receive = |_, decoded: Result<([u32; 2], RgbImage), _>| {
        // What cannot be read is told where all photos are.
        if let Ok((size, crop)) = decoded {
            look.sizes.push(size);
            crops.push(crop);
            look.decode = begun.elapsed().as_secs_f64() / crops.len() as f64;
        }
        clock.check()
    };
    decode_stream(&paths, &options, &context.interrupt, prepare, receive).map_err(|error| {
        match error {
            StreamError::Interrupted(interrupted) => interrupted.into(),
            StreamError::Receiver(error) => error,
        }
    })?;
    let (mut top, mut entropy, mut photos) = (0.0, 0.0, 0);
    for some in crops.chunks(BATCH) {
        for logits in pollster::block_on(own.logits(some))? {
            let shares = softmax(&logits);
            let shares = || shares.iter().map(|&share| f64::from(share));
            top += shares().fold(0.0, f64::max);
            let bits = shares()
                .filter(|&share| share > 0.0)
                .map(|share| -share * share.ln());
            entropy += bits.sum::<f64>() / (logits.len() as f64).ln();
            photos += 1;
        }
        clock.check()?;
    }
    look.sureness = (photos > 0).then(|| Sureness {
        network: judge.name(),
        top: top / f64::from(photos),
        entropy: entropy / f64::from(photos),
        published: judge.published(),
        photos: photos as usize,
    });
    Ok(())
}
