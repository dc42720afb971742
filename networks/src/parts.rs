//! Parts of a network, said as a person says them, and which of its parameters train.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::graph::{Graph, LayerId, LayerSpec};

/// A word that means no parameter.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum UnknownPart {
    /// The network has no such part.
    #[error(
        "there is no part called '{part}': say {}, the beginning of a parameter's name, or a pattern of one such as \
         '*.bias'",
        words.join(", ")
    )]
    NoSuchPart {
        /// What was asked for.
        part: String,
        /// The parts that there are.
        words: Vec<String>,
    },
    /// No parameter's name fits the pattern.
    #[error(
        "the pattern '{pattern}' fits no parameter and no stage: parameters are called '{first}' to '{last}', and \
         there are {}",
        words.join(", ")
    )]
    NothingFits {
        /// What was asked for.
        pattern: String,
        /// The first parameter's name.
        first: String,
        /// The last one's.
        last: String,
        /// The parts that there are.
        words: Vec<String>,
    },
    /// The part is there and has nothing to learn.
    #[error("the part '{part}' holds no parameters; these do: {}", words.join(", "))]
    NothingLearns {
        /// What was asked for.
        part: String,
        /// The parts that hold some.
        words: Vec<String>,
    },
}

/// The parameters that `word` means, by name:
///
/// - `all`
/// - `backbone`: every stage before the head, and the adapter in front of them
/// - `head`
/// - a stage's name, such as `layer4`
/// - `adapter`: the convolution in front of the network that turns one channel into three
/// - what parameters' names begin with, up to a dot: `classifier.3`, `layer4.1.conv2.weight`
/// - a pattern, in which `*` stands for any characters, dots among them: the parameters whose whole names fit it
///   (`*.bn1.*`, `layer4.*.bias`), and those of stages whose names do (`encoder_layer_1*`)
///
/// A layer that serves several steps is one layer, of the first stage that it serves.
///
/// # Errors
///
/// When that is no parameter at all.
pub fn meant(graph: &Graph, word: &str) -> Result<BTreeSet<String>, UnknownPart> {
    let head = graph.backbone_stages();
    let stage = graph.stages().iter().position(|stage| stage.name == word);
    let is_pattern = word.contains('*');
    let mut tensors = BTreeSet::new();
    for (index, layer) in graph.layers().iter().enumerate() {
        let at = graph.stage_of_layer(LayerId(index));
        for (tensor, _) in layer.parameters() {
            let is_meant = match word {
                "all" => true,
                "backbone" => at < head,
                "head" => at >= head,
                _ if stage.is_some() => Some(at) == stage,
                _ if is_pattern => fits(word, &tensor) || fits(word, &graph.stages()[at].name),
                _ => begins(&layer.name, word) || begins(&tensor, word),
            };
            if is_meant {
                tensors.insert(tensor);
            }
        }
    }
    match tensors.is_empty() {
        true => Err(UnknownPart::new(graph, word, stage.is_some())),
        false => Ok(tensors),
    }
}

impl UnknownPart {
    fn new(graph: &Graph, word: &str, is_stage: bool) -> Self {
        let (part, words) = (word.to_owned(), words(graph));
        let is_module =
            !word.is_empty() && graph.nodes().iter().any(|node| begins(&node.name, word));
        if is_stage || matches!(word, "all" | "backbone" | "head") || is_module {
            return Self::NothingLearns { part, words };
        }
        let mut names = graph.layers().iter().flat_map(LayerSpec::parameters);
        match (word.contains('*'), names.next()) {
            (true, Some((first, _))) => Self::NothingFits {
                pattern: part,
                last: names.last().map_or_else(|| first.clone(), |(last, _)| last),
                first,
                words,
            },
            _ => Self::NoSuchPart { part, words },
        }
    }
}

/// The words for parts that hold parameters, the most general first.
fn words(graph: &Graph) -> Vec<String> {
    let layers = graph.layers();
    let stages: BTreeSet<usize> = (0..layers.len())
        .map(|layer| graph.stage_of_layer(LayerId(layer)))
        .collect();
    let mut words = Vec::new();
    if !stages.is_empty() {
        words.push("all".to_owned());
    }
    if stages.iter().any(|&stage| stage < graph.backbone_stages()) {
        words.push("backbone".to_owned());
    }
    if stages.iter().any(|&stage| stage >= graph.backbone_stages()) {
        words.push("head".to_owned());
    }
    if layers.iter().any(|layer| begins(&layer.name, ADAPTER)) {
        words.push(ADAPTER.to_owned());
    }
    for stage in stages {
        let name = &graph.stages()[stage].name;
        if !words.contains(name) {
            words.push(name.clone());
        }
    }
    words
}

/// The module in front of a network that turns one channel into three.
pub const ADAPTER: &str = "adapter";

/// Whether `name` is `start`, or a dot follows it there.
fn begins(name: &str, start: &str) -> bool {
    let rest = name.strip_prefix(start);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether all of `name` fits a pattern in which `*` stands for any characters.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(start) else {
        return false;
    };
    let Some((middles, end)) = rest.rsplit_once('*') else {
        return name.ends_with(rest);
    };
    // Each piece where it first occurs leaves the most for those behind it.
    for middle in middles.split('*') {
        match name.find(middle) {
            Some(at) => name = &name[at + middle.len()..],
            None => return false,
        }
    }
    name.ends_with(end)
}

/// The parameters of a graph that train.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freezing {
    /// Whether any parameter of a layer trains, layer for layer.
    layers: Vec<bool>,
    tensors: BTreeSet<String>,
}

impl Freezing {
    /// Everything trains.
    pub fn none(graph: &Graph) -> Self {
        let parameters = graph.layers().iter().flat_map(LayerSpec::parameters);
        Self::of(graph, parameters.map(|(name, _)| name).collect())
    }

    /// Everything trains but what stands before a stage.
    pub fn before(graph: &Graph, stage: usize) -> Self {
        let layers = graph.layers().iter().enumerate();
        let behind = layers.filter(|(layer, _)| graph.stage_of_layer(LayerId(*layer)) >= stage);
        let parameters = behind.flat_map(|(_, layer)| layer.parameters());
        Self::of(graph, parameters.map(|(name, _)| name).collect())
    }

    /// Freezes a part, said as in [`meant`].
    ///
    /// # Errors
    ///
    /// When the network has no such part.
    pub fn freeze(mut self, graph: &Graph, part: &str) -> Result<Self, UnknownPart> {
        for tensor in meant(graph, part)? {
            self.tensors.remove(&tensor);
        }
        Ok(Self::of(graph, self.tensors))
    }

    /// Lets a part train again.
    ///
    /// # Errors
    ///
    /// When the network has no such part.
    pub fn unfreeze(mut self, graph: &Graph, part: &str) -> Result<Self, UnknownPart> {
        self.tensors.extend(meant(graph, part)?);
        Ok(Self::of(graph, self.tensors))
    }

    /// Whether any parameter of this layer trains.
    pub fn trains(&self, layer: usize) -> bool {
        self.layers[layer]
    }

    /// Whether the parameter of this name trains. Running statistics are no parameters: they never do.
    pub fn trains_tensor(&self, name: &str) -> bool {
        self.tensors.contains(name)
    }

    /// The names of the parameters that train.
    pub fn tensors(&self) -> &BTreeSet<String> {
        &self.tensors
    }

    /// How many learnable numbers of a layer train.
    pub fn trainable(&self, layer: &LayerSpec) -> usize {
        let parameters = layer.parameters().into_iter();
        parameters
            .filter(|(name, _)| self.trains_tensor(name))
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum()
    }

    fn of(graph: &Graph, tensors: BTreeSet<String>) -> Self {
        let trains = |layer: &LayerSpec| {
            let parameters = layer.parameters();
            parameters.iter().any(|(name, _)| tensors.contains(name))
        };
        Self {
            layers: graph.layers().iter().map(trains).collect(),
            tensors,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::find;
    use crate::graph::{Conv, Norm, Options, Value, sketch};

    fn whole(name: &str) -> Graph {
        find(name).unwrap().published_whole_graph()
    }

    fn names(graph: &Graph, word: &str) -> Vec<String> {
        meant(graph, word).unwrap().into_iter().collect()
    }

    #[test]
    fn patterns_fit_whole_names() {
        for (pattern, name, fit) in [
            ("*", "", true),
            ("*.bias", "fc.bias", true),
            ("*.bias", "fc.bias.more", false),
            ("layer4.*.bias", "layer4.0.bn1.bias", true),
            ("layer4.*.bias", "layer4.bias", false),
            ("*.bn1.*", "layer1.0.bn1.weight", true),
            ("*.bn1.*", "bn1.weight", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*b", "ab", false),
            ("a*b*b", "abb", true),
            ("a**b", "ab", true),
            ("*ab*ab", "abab", true),
            ("*ab*ab", "xab", false),
        ] {
            assert_eq!(fits(pattern, name), fit, "{pattern} and {name}");
        }
    }

    #[test]
    fn words_mean_the_parameters_that_a_person_means() {
        let graph = whole("resnet18");
        let all = names(&graph, "all");
        assert_eq!(all.len(), 62);
        assert_eq!(names(&graph, "*"), all);
        assert_eq!(names(&graph, "head"), ["fc.bias", "fc.weight"]);
        assert_eq!(names(&graph, "backbone").len(), 60);
        assert_eq!(
            names(&graph, "stem"),
            ["bn1.bias", "bn1.weight", "conv1.weight"]
        );
        assert_eq!(names(&graph, "layer4").len(), 15);
        assert_eq!(names(&graph, "layer4.1").len(), 6);
        assert_eq!(names(&graph, "layer4.1.conv2"), ["layer4.1.conv2.weight"]);
        assert_eq!(
            names(&graph, "layer4.1.conv2.weight"),
            ["layer4.1.conv2.weight"]
        );
        assert_eq!(names(&graph, "*.bn1.*").len(), 16);
        assert_eq!(names(&graph, "layer4.*.bias").len(), 5);
        // The stages of VGG and of ViT are not called as their parameters are.
        assert_eq!(names(&whole("vgg11"), "block*").len(), 16);
        assert_eq!(names(&whole("vit_b_16"), "encoder_layer_1*").len(), 3 * 12);
        // What joins a layer's name to its tensor's may be another sign than a dot.
        let attention = "encoder.layers.encoder_layer_0.self_attention.in_proj";
        assert_eq!(
            names(&whole("vit_b_16"), attention),
            [format!("{attention}_bias"), format!("{attention}_weight")]
        );
        // A stage's name comes before the beginning of names: the head is AlexNet's classifier.6.
        assert_eq!(names(&whole("alexnet"), "classifier").len(), 4);
    }

    #[test]
    fn tensors_are_frozen_one_by_one() {
        let graph = whole("resnet18");
        let freezing = Freezing::none(&graph)
            .freeze(&graph, "all")
            .and_then(|freezing| freezing.unfreeze(&graph, "layer4.*.bias"))
            .unwrap();
        assert_eq!(freezing.tensors().len(), 5);
        assert!(freezing.trains_tensor("layer4.0.bn1.bias"));
        assert!(!freezing.trains_tensor("layer4.0.bn1.weight"));
        assert!(!freezing.trains_tensor("layer4.0.bn1.running_mean"));
        let layer = graph.layer_of("layer4.0.bn1.bias").unwrap().0;
        assert!(freezing.trains(layer));
        assert_eq!(freezing.trainable(&graph.layers()[layer]), 512);
        let conv = graph.layer_of("layer4.0.conv1.weight").unwrap().0;
        assert!(!freezing.trains(conv));
    }

    #[test]
    fn what_means_nothing_is_told_with_what_there_is() {
        let graph = whole("resnet18");
        let error = |graph: &Graph, word| meant(graph, word).unwrap_err().to_string();
        for word in ["layer9", "layer", "adapter", ""] {
            let told = error(&graph, word);
            assert!(
                told.contains("all, backbone, head, stem, layer1, layer2, layer3, layer4,"),
                "{told}"
            );
        }
        let told = error(&graph, "*.ln.*");
        assert!(
            told.contains("'conv1.weight' to 'fc.bias'") && told.contains("layer4"),
            "{told}"
        );
        let bare = Options {
            bare: true,
            ..Options::default()
        };
        let vgg = find("vgg11").unwrap();
        let vgg = vgg.whole_graph([3, 224, 224], &bare, 10).unwrap();
        let told = error(&vgg, "flatten");
        assert!(told.contains("'flatten' holds no parameters"), "{told}");
        assert!(told.contains("block5"), "{told}");
    }

    #[test]
    fn an_adapter_is_of_the_backbone_and_has_a_word_of_its_own() {
        let graph = sketch([1, 8, 8], &Options::default(), |image| {
            let image = image.conv("adapter.map", Conv::new(3, 1));
            let stem = image.conv("conv", Conv::new(4, 3)).stage("stem");
            stem.begin_head();
            stem.conv("fc", Conv::new(2, 1)).stage("head")
        })
        .unwrap();
        assert_eq!(names(&graph, "adapter"), ["adapter.map.weight"]);
        assert!(names(&graph, "backbone").contains(&"adapter.map.weight".to_owned()));
        let told = meant(&graph, "tail").unwrap_err().to_string();
        assert!(told.contains("head, adapter, stem,"), "{told}");
    }

    #[test]
    fn a_layer_that_serves_two_stages_counts_once() {
        let graph = sketch([4, 8, 8], &Options::default(), |image| {
            let shared = |x: &Value| {
                x.within("shared", |x| {
                    x.conv("conv", Conv::new(4, 3))
                        .batch_norm("bn", Norm::TORCH)
                })
            };
            let once = shared(&image).stage("first");
            shared(&once).stage("second")
        })
        .unwrap();
        assert_eq!(names(&graph, "first").len(), 3);
        let told = meant(&graph, "second").unwrap_err().to_string();
        assert!(told.contains("'second' holds no parameters"), "{told}");
        let frozen = Freezing::none(&graph).freeze(&graph, "first").unwrap();
        assert!(frozen.tensors().is_empty());
    }
}
