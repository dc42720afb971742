//! Every network by name.

use thiserror::Error;

use super::architecture::Architecture;
use super::{
    alexnet, convnext, deeplab, densenet, efficientnet, efficientnet_lite, fcn, fcos, inception,
    lraspp, maxvit, mnasnet, mobilenet, mobilenet_v4, regnet, resnet, shufflenet, squeezenet, swin,
    vgg, vit,
};
use crate::sorting::sorted;

/// Every network, by family.
pub const ARCHITECTURES: &[&[Architecture]] = &[
    &alexnet::ALEXNETS,
    &vgg::VGGS,
    &resnet::RESNETS,
    &densenet::DENSENETS,
    &inception::INCEPTIONS,
    &squeezenet::SQUEEZENETS,
    &shufflenet::SHUFFLENETS,
    &mobilenet::MOBILENETS,
    &mobilenet_v4::MOBILENETS_V4,
    &mnasnet::MNASNETS,
    &efficientnet::EFFICIENTNETS,
    &efficientnet_lite::EFFICIENTNET_LITES,
    &regnet::REGNETS,
    &convnext::CONVNEXTS,
    &vit::VISION_TRANSFORMERS,
    &swin::SWINS,
    &maxvit::MAXVITS,
    &fcn::FCNS,
    &deeplab::DEEPLABS,
    &lraspp::LRASPPS,
];

/// Networks that run and whose answers no task reads yet: no command offers them.
pub const RAW: &[&[Architecture]] = &[&fcos::FCOSES];

/// Those networks, one after the other.
pub fn raw() -> impl Iterator<Item = &'static Architecture> {
    RAW.iter().flat_map(|family| family.iter())
}

/// Every network that can be asked about photos, one after the other.
pub fn architectures() -> impl Iterator<Item = &'static Architecture> {
    ARCHITECTURES.iter().flat_map(|family| family.iter())
}

/// More characters than any network's name has.
const LONGEST_NAME: usize = 64;

/// The network of that name; case does not matter, and `-` may stand for `_`.
///
/// # Errors
///
/// When there is no such network: the error names those that come close, if any do.
pub fn find(name: &str) -> Result<&'static Architecture, UnknownArchitecture> {
    // A file may give any name; no more of it than could mean something is compared and repeated.
    let name: String = name.trim().chars().take(LONGEST_NAME).collect();
    let wanted = name.to_ascii_lowercase().replace('-', "_");
    architectures()
        .find(|a| a.name == wanted || a.aliases.contains(&wanted.as_str()))
        .ok_or_else(|| {
            // A slip or two of the finger, or a name that was not written to its end.
            let slips = (wanted.chars().count() / 3).max(1);
            let is_near = |&(distance, name): &(usize, &str)| {
                distance <= slips || wanted.len() > 2 && name.starts_with(&wanted)
            };
            let near: Vec<_> = architectures()
                .map(|a| (distance(&wanted, a.name), a.name))
                .filter(is_near)
                .collect();
            let mut near = sorted(near, Ord::cmp);
            near.truncate(3);
            UnknownArchitecture {
                name: name.chars().flat_map(char::escape_debug).collect(),
                nearest: near.into_iter().map(|(_, name)| name).collect(),
            }
        })
}

/// A name that no network bears.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("there is no network called '{name}'{}", meant(nearest))]
pub struct UnknownArchitecture {
    name: String,
    nearest: Vec<&'static str>,
}

fn meant(nearest: &[&str]) -> String {
    match nearest {
        [] => String::new(),
        _ => format!("; did you mean {}?", nearest.join(", ")),
    }
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let substituted = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::MOST_PIXELS;
    use crate::graph::Options;

    #[test]
    fn names_are_found_whatever_their_case_and_dashes() {
        assert_eq!(
            find("EfficientNet-Lite0").unwrap().name,
            "efficientnet_lite0"
        );
        assert_eq!(
            find("tf_efficientnet_lite0").unwrap().name,
            "efficientnet_lite0"
        );
        assert_eq!(find("ResNet18").unwrap().name, "resnet18");
    }

    #[test]
    fn too_small_an_image_is_answered_with_the_smallest() {
        let alexnet = find("alexnet").unwrap();
        let error = alexnet.graph([3, 40, 40], &Options::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "alexnet cannot take images of 40×40 pixels: each side must be at least 63"
        );
        // The networks whose numbers grow fastest, at the largest size: nothing wraps.
        for name in [
            "vgg19",
            "vit_h_14",
            "swin_v2_b",
            "regnet_y_128gf",
            "coatnet_0_rw_224",
        ] {
            let network = find(name).unwrap();
            let side = MOST_PIXELS / network.input_multiple * network.input_multiple;
            let graph = network.graph([3, side, side], &Options::default()).unwrap();
            let times = (side as f64 / network.input_size as f64).powi(2);
            let macs = graph.macs() as f64;
            assert!(
                macs > 0.9 * times * network.published_graph().macs() as f64,
                "{name}"
            );
            let outputs = graph
                .nodes()
                .iter()
                .map(|node| node.shape.iter().product::<usize>());
            assert!(
                outputs.map(|n| n as f64).sum::<f64>() * 8192.0 < 2.0_f64.powi(60),
                "{name}"
            );
        }
        for side in [MOST_PIXELS + 1, 1 << 32, 1 << 63, usize::MAX] {
            let error = alexnet
                .graph([3, side, 64], &Options::default())
                .unwrap_err();
            assert!(error.to_string().ends_with("at most 16384"), "{error}");
        }
        let vit = find("vit_b_16").unwrap();
        let error = vit.graph([3, 100, 96], &Options::default()).unwrap_err();
        assert!(error.to_string().contains("a multiple of 16"), "{error}");
    }

    #[test]
    fn a_name_of_any_length_is_answered_at_once_and_briefly() {
        // Compared whole with every network's, this one would keep a person waiting for a minute.
        let name = format!("\u{1b}[2J{}", "resnet19".repeat(1 << 22));
        let told = find(&name).unwrap_err().to_string();
        assert!(told.len() < 300 && !told.contains('\u{1b}'), "{told:?}");
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        let error = find("resnet19").unwrap_err();
        assert!(error.to_string().contains("resnet18"), "{error}");
        for (name, near) in [("efficientnet", "efficientnet_b0"), ("vit", "vit_b_16")] {
            let error = find(name).unwrap_err().to_string();
            assert!(error.contains(near), "{error}");
        }
        for name in ["nope", "", "fish.webp", "a"] {
            let error = find(name).unwrap_err().to_string();
            assert!(!error.contains("did you mean"), "{error}");
        }
    }
}
