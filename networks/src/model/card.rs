//! What a model file says about itself: one JSON object.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Channels, PhotoHashes};
use crate::backbone::{Architecture, Classes, HeadSlot, PretrainedWeights};
use crate::graph::Options;
use crate::head::{HeadKind, MAX_HIDDEN};
use crate::preprocess::Preset;
use crate::task::Task;

/// The version of the card's layout.
pub const FORMAT: u32 = 1;

/// The metadata of a model file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    /// The version of this layout.
    pub format: u32,
    /// The network, by torchvision's (or timm's) name.
    pub architecture: String,
    /// What it answers about a photo.
    #[serde(default, skip_serializing_if = "Task::is_classify")]
    pub task: Task,
    /// The names of the classes, of the labels, or of the values, in the order in which the network puts them out.
    pub classes: Vec<String>,
    /// Networks that put several labels on photos: the probability from which each label is one of a photo's,
    /// where it is not ½ for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thresholds: Option<Vec<f32>>,
    /// How photos are prepared.
    pub preset: Preset,
    /// How the channels of pictures meet the network.
    #[serde(default, skip_serializing_if = "Channels::is_rgb")]
    pub channels: Channels,
    /// Whether the network keeps the resolution at its beginning, for images of some 32 pixels.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub small_stem: bool,
    /// Whether the hidden layers between the features and the classifier are left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bare: bool,
    /// What sits on the backbone.
    pub head: HeadKind,
    /// How the head was trained; free-form, for people and for repeating it.
    #[serde(default)]
    pub recipe: Map<String, Value>,
    /// Where weights and photos came from: hashes, versions, counts.
    #[serde(default)]
    pub provenance: Map<String, Value>,
    /// The photos that the head was trained on, where they are known and no more than
    /// [`PhotoHashes::MOST`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained_on: Option<PhotoHashes>,
}

impl ModelCard {
    /// A network as it was published, with its own classes.
    pub fn published(architecture: &Architecture, weights: &PretrainedWeights) -> Self {
        Self {
            format: FORMAT,
            architecture: architecture.name.to_owned(),
            task: architecture.task,
            classes: weights.classes.names(),
            thresholds: None,
            preset: weights.preset,
            channels: Channels::Rgb,
            small_stem: false,
            bare: false,
            head: HeadKind::Original,
            recipe: Map::new(),
            provenance: Map::new(),
            trained_on: None,
        }
    }

    /// The head's place in the network's state_dict.
    pub fn slot(&self, architecture: &Architecture) -> HeadSlot {
        architecture.head.for_options(&self.options())
    }

    /// What is asked of the network beside its size.
    pub fn options(&self) -> Options {
        Options {
            small_stem: self.small_stem,
            bare: self.bare,
            ..Options::default()
        }
    }

    /// Whether such a model can be made. It can of every card that Rekindle wrote.
    ///
    /// # Errors
    ///
    /// What stands against it, to follow "the model file's metadata is damaged: ".
    pub(super) fn check(&self) -> Result<(), String> {
        if self.format == 0 {
            return Err(format!("it has format 0, and the first is {FORMAT}"));
        }
        if self.classes.is_empty() {
            return Err("it names no classes".to_owned());
        }
        if let Some(place) = self.classes.iter().position(String::is_empty) {
            return Err(format!("the name of class {} is empty", place + 1));
        }
        // A name of several lines could pass for several answers.
        let odd = |class: &&String| class.chars().any(char::is_control);
        if let Some(class) = self.classes.iter().find(odd) {
            let start: String = class.chars().take(40).collect();
            return Err(format!("the class name {start:?} holds control characters"));
        }
        if let Some(most) = self.task.most_classes()
            && self.classes.len() > most
        {
            return Err(format!(
                "it names {} classes, and a network that segments photos may have {most}",
                self.classes.len()
            ));
        }
        if self.task.of_network() == Task::Classify && self.preset.crop().is_none() {
            return Err(format!(
                "its preset has no `crop`, and networks that {} see squares",
                self.task.work()
            ));
        }
        self.check_outputs()?;
        if self.task == Task::Segment && self.head != HeadKind::Original {
            return Err(format!(
                "its head is of the kind '{}', and networks that segment photos have their own",
                self.head.name()
            ));
        }
        // An answer of a name that two classes have would not say which is meant.
        let mut names = BTreeSet::new();
        if let Some(class) = self.classes.iter().find(|class| !names.insert(*class)) {
            let start: String = class.chars().take(40).collect();
            return Err(format!("two classes are called {start:?}"));
        }
        match self.head {
            HeadKind::Linear { lift } if !lift.is_finite() => {
                Err(format!("the head's lift is {lift}"))
            }
            HeadKind::Mlp(config) if !(1..=MAX_HIDDEN).contains(&config.hidden) => Err(format!(
                "the head's hidden layer has {} neurons; it must have between 1 and {MAX_HIDDEN}",
                config.hidden
            )),
            HeadKind::Mlp(config) if !(0.0..1.0).contains(&config.dropout) => Err(format!(
                "the head's dropout is {}; it must be at least 0 and below 1",
                config.dropout
            )),
            _ => Ok(()),
        }
    }

    /// What the task asks of the head and of what it puts out.
    fn check_outputs(&self) -> Result<(), String> {
        let work = self.task.work();
        if matches!(self.task, Task::MultiLabel | Task::Regress) {
            match self.head {
                HeadKind::Original => {
                    return Err(format!(
                        "its head is a published classifier's, and networks that {work} have their own"
                    ));
                }
                // A softmax does not see a constant that all logits share; anything else does.
                HeadKind::Linear { lift } if lift != 0.0 => {
                    return Err(format!(
                        "the head's lift is {lift}, and networks that {work} have none"
                    ));
                }
                _ => {}
            }
        }
        let Some(thresholds) = &self.thresholds else {
            return Ok(());
        };
        if self.task != Task::MultiLabel {
            return Err(format!(
                "it has thresholds of labels, and networks that {work} have none"
            ));
        }
        if thresholds.len() != self.classes.len() {
            return Err(format!(
                "it has {} thresholds for {} labels",
                thresholds.len(),
                self.classes.len()
            ));
        }
        match thresholds.iter().find(|at| !(0.0..=1.0).contains(*at)) {
            Some(at) => Err(format!(
                "a label's threshold is {at}; it must lie between 0 and 1"
            )),
            None => Ok(()),
        }
    }

    /// The probability from which each label is one of a photo's, where several labels are put on photos.
    pub fn label_thresholds(&self) -> Vec<f32> {
        match &self.thresholds {
            Some(thresholds) => thresholds.clone(),
            None => vec![0.5; self.classes.len()],
        }
    }

    /// The constant in every logit that is not the class's own (see [`HeadKind::Linear`]).
    pub fn lift(&self) -> f32 {
        match self.head {
            HeadKind::Linear { lift } => lift,
            _ => 0.0,
        }
    }
}

/// The 1000 ImageNet classes in torchvision's order.
pub fn imagenet_classes() -> Vec<String> {
    Classes::ImageNet.names()
}

/// The ImageNet class that a WordNet id such as `n02123045` names, by its place among
/// [`imagenet_classes`]; the ids ascend with the classes. What follows the id after a `-`, `_` or space
/// (`n02123045-tabby`) is a name for people.
pub fn imagenet_class_of_synset(name: &str) -> Option<usize> {
    let (id, rest) = name.strip_prefix('n')?.split_at_checked(8)?;
    if !(rest.is_empty() || rest.starts_with(['-', '_', ' '])) {
        return None;
    }
    include_str!("imagenet_synsets.txt")
        .split_ascii_whitespace()
        .position(|known| known == id)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::model::{METADATA_KEY, read_card};
    use crate::weights::{StateDict, StorageDtype, WeightFile, write_safetensors};

    /// What [`read_card`] says of a file whose card is that of a published network, changed by `change`.
    fn told(change: impl FnOnce(&mut Map<String, Value>)) -> String {
        let architecture = crate::backbone::find("efficientnet_lite0").unwrap();
        let card = ModelCard::published(architecture, &architecture.weights[0]);
        let mut card = match serde_json::to_value(card).unwrap() {
            Value::Object(card) => card,
            other => panic!("{other}"),
        };
        change(&mut card);
        let metadata = BTreeMap::from([(METADATA_KEY.to_owned(), Value::from(card).to_string())]);
        let tensors = StateDict::new();
        let file = write_safetensors(&tensors, &metadata, StorageDtype::F32).unwrap();
        match read_card(&WeightFile::parse(&file).unwrap()) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_card_of_a_model_that_cannot_be_made_is_refused() {
        assert_eq!(told(|_| ()), "");
        let mlp = |hidden: u64, dropout: f64| json!({"kind": "mlp", "hidden": hidden, "dropout": dropout});
        assert_eq!(told(|card| card["head"] = mlp(8, 0.0)), "");
        for (head, words) in [
            (mlp(8, 1.0), "dropout is 1"),
            (mlp(8, -0.1), "dropout is -0.1"),
            (mlp(8, 1e300), "dropout is 1"),
            (mlp(0, 0.5), "has 0 neurons"),
            (mlp(1 << 60, 0.5), "neurons"),
            (json!({"kind": "linear", "lift": 1e39}), "lift is inf"),
            (json!({"kind": "linear", "lift": -1e39}), "lift is -inf"),
        ] {
            let told = told(|card| card["head"] = head);
            assert!(told.contains("damaged") && told.contains(words), "{told}");
        }
        assert!(told(|card| card["classes"] = json!([])).contains("names no classes"));
        assert!(told(|card| card["format"] = json!(0)).contains("format 0"));
        let unnamed = told(|card| card["classes"] = json!(["a", ""]));
        assert!(
            unnamed.contains("the name of class 2 is empty"),
            "{unnamed}"
        );
        let twice = told(|card| card["classes"] = json!(["a", "b", "a"]));
        assert!(twice.contains(r#"two classes are called "a""#), "{twice}");
        let two_lines = told(|card| card["classes"] = json!(["a", "b\n  99.9 %  c"]));
        assert!(two_lines.contains("control characters") && !two_lines.contains('\n'));
    }

    #[test]
    fn a_card_names_its_task_and_those_of_classifiers_stay_as_they_were() {
        let architecture = crate::backbone::find("resnet18").unwrap();
        let card = ModelCard::published(architecture, &architecture.weights[0]);
        assert_eq!(card.task, Task::Classify);
        let json = serde_json::to_value(&card).unwrap();
        assert!(json.get("task").is_none(), "{json}");
        assert_eq!(serde_json::from_value::<ModelCard>(json).unwrap(), card);
        let segments = ModelCard {
            task: Task::Segment,
            preset: Preset::SEGMENTATION,
            ..card
        };
        let json = serde_json::to_value(&segments).unwrap();
        assert_eq!(json["task"], "segment");
        assert!(json["preset"].get("crop").is_none(), "{json}");
        assert_eq!(serde_json::from_value::<ModelCard>(json).unwrap(), segments);
        assert_eq!(
            told(|card| _ = card.insert("task".to_owned(), json!("classify"))),
            ""
        );
    }

    #[test]
    fn labels_have_a_threshold_each_and_values_are_put_out_as_they_are() {
        let of = |task: &'static str, more: Value| {
            told(|card| {
                card.insert("task".to_owned(), json!(task));
                card.insert("classes".to_owned(), json!(["a", "b"]));
                card.insert("head".to_owned(), json!({"kind": "linear", "lift": 0.0}));
                if let Value::Object(more) = more {
                    card.extend(more);
                }
            })
        };
        assert_eq!(of("multilabel", json!({})), "");
        assert_eq!(of("multilabel", json!({"thresholds": [0.25, 1.0]})), "");
        assert_eq!(of("regress", json!({})), "");
        let lifted = json!({"head": {"kind": "linear", "lift": 3.0}});
        let original = json!({"head": {"kind": "original"}});
        for (task, more, words) in [
            (
                "multilabel",
                json!({"thresholds": [0.5]}),
                "1 thresholds for 2 labels",
            ),
            (
                "multilabel",
                json!({"thresholds": [0.5, 1.5]}),
                "threshold is 1.5",
            ),
            ("multilabel", json!({"thresholds": [0.5, null]}), "damaged"),
            (
                "regress",
                json!({"thresholds": [0.5, 0.5]}),
                "estimate values of photos have none",
            ),
            (
                "classify",
                json!({"thresholds": [0.5, 0.5]}),
                "classify photos have none",
            ),
            ("regress", lifted.clone(), "lift is 3"),
            ("multilabel", lifted, "lift is 3"),
            ("regress", original, "a published classifier's"),
        ] {
            let told = of(task, more);
            assert!(told.contains("damaged") && told.contains(words), "{told}");
        }
    }

    #[test]
    fn cards_of_unknown_tasks_and_of_tasks_that_contradict_them_are_refused() {
        let task = |task: Value| told(|card| _ = card.insert("task".to_owned(), task));
        // A later Rekindle's: what else stands in it is not ours to read.
        let later = told(|card| {
            card.insert("task".to_owned(), json!("detect"));
            card.insert("head".to_owned(), json!({"kind": "boxes"}));
        });
        assert!(
            later.contains("the task 'detect'") && later.contains("update Rekindle"),
            "{later}"
        );
        let odd = task(json!(format!("\u{1b}]0;{}", "x".repeat(1 << 20))));
        assert!(
            odd.len() < 400 && !odd.contains(char::is_control),
            "{odd:?}"
        );
        for damaged in [
            json!(1),
            json!(["segment"]),
            json!({}),
            json!(null),
            json!({"segment": null}),
            json!(true),
        ] {
            let told = task(damaged.clone());
            let says = told.contains("damaged") && told.contains(r#"a text, such as "segment""#);
            assert!(says, "{damaged}: {told}");
        }
        let segments = |card: &mut Map<String, Value>| {
            card.insert("task".to_owned(), json!("segment"));
            card.insert("classes".to_owned(), json!(["a", "b"]));
        };
        assert_eq!(told(segments), "");
        let head = told(|card| {
            segments(card);
            card["head"] = json!({"kind": "linear", "lift": 1.0});
        });
        assert!(head.contains("kind 'linear'"), "{head}");
        let lifted = told(|card| {
            segments(card);
            card["head"] = json!({"kind": "original", "lift": 1.0});
        });
        assert!(lifted.contains("has a lift"), "{lifted}");
        // A square is what classifiers see; 255 marks pixels of no class.
        let no_crop = told(|card| _ = card["preset"].as_object_mut().unwrap().remove("crop"));
        assert!(no_crop.contains("no `crop`"), "{no_crop}");
        let many = told(|card| {
            card.insert("task".to_owned(), json!("segment"));
        });
        assert!(
            many.contains("1000 classes") && many.contains("255"),
            "{many}"
        );
    }

    #[test]
    fn what_is_said_of_a_card_repeats_little_of_it_and_nothing_for_the_terminal() {
        let long = format!("\u{1b}]0;pwned\u{7}{}", "x".repeat(1 << 20));
        for field in [
            "channels",
            "head",
            "preset",
            "architecture",
            "format",
            "task",
        ] {
            let told = told(|card| {
                let value = match field {
                    "head" => json!({ "kind": long.as_str() }),
                    _ => json!(long.as_str()),
                };
                card.insert(field.to_owned(), value);
            });
            assert!(told.len() < 400, "{field}: {} bytes", told.len());
            assert!(!told.contains(char::is_control), "{field}: {told:?}");
            // Any text is a name; it is looked up later.
            assert_eq!(told.is_empty(), field == "architecture", "{field}");
        }
    }

    #[test]
    fn wordnet_ids_name_imagenet_classes() {
        // timm 1.0's imagenet_synset_to_lemma.txt.
        let classes = imagenet_classes();
        for (id, lemma) in [
            ("n01440764", "tench"),
            ("n02012849", "crane bird"),
            ("n02123045", "tabby"),
            ("n02510455", "giant panda"),
            ("n03126707", "crane"),
            ("n15075141", "toilet tissue"),
            ("n02085620-Chihuahua", "Chihuahua"),
        ] {
            let class = imagenet_class_of_synset(id).unwrap();
            assert_eq!(classes[class], lemma, "{id}");
        }
        let table = include_str!("imagenet_synsets.txt");
        let ids: Vec<&str> = table.split_ascii_whitespace().collect();
        assert!(ids.len() == 1000 && ids.is_sorted());
        for no in [
            "n0212304",
            "n021230455",
            "02123045",
            "n00000000",
            "n",
            "",
            "nut",
            "n0212304é",
        ] {
            assert_eq!(imagenet_class_of_synset(no), None, "{no}");
        }
    }

    #[test]
    fn there_are_a_thousand_imagenet_classes_in_order() {
        let classes = imagenet_classes();
        assert_eq!(classes.len(), 1000);
        // No two of one name: a card is refused for that.
        assert_eq!(classes.iter().collect::<BTreeSet<_>>().len(), 1000);
        assert_eq!(classes[0], "tench");
        assert_eq!(classes[388], "giant panda");
        assert_eq!(classes[999], "toilet tissue");
    }
}
