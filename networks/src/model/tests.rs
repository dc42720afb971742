//! Other people's files: what is the network's is found under whatever names, what is not is said, and what
//! is damaged is refused.

use std::collections::BTreeMap;

use super::*;
use crate::backbone::find;
use crate::weights::{FillReport, Generated, TensorSource, WeightsError};

/// A file that holds made-up tensors, each under its own name or another.
#[derive(Clone)]
struct File {
    /// The name in the file to the shape and the name its numbers follow from.
    tensors: BTreeMap<String, (Vec<usize>, String)>,
    /// A tensor of the file one of whose numbers is this.
    poison: Option<(String, f32)>,
}

impl File {
    /// What `state_dict()` of the network gives, with the counters of its batch norms.
    fn of(network: &str) -> Self {
        let architecture = find(network).unwrap();
        let card = ModelCard::published(architecture, &architecture.weights[0]);
        let graph = whole_graph(architecture, &card, [architecture.input_size; 2]).unwrap();
        let mut file = Self {
            tensors: BTreeMap::new(),
            poison: None,
        };
        for (name, shape) in graph.tensors() {
            if let Some(norm) = name.strip_suffix("running_mean") {
                file.insert(&format!("{norm}num_batches_tracked"), &[]);
            }
            file.insert(&name, &shape);
        }
        file
    }

    fn insert(&mut self, name: &str, shape: &[usize]) {
        let tensor = (shape.to_vec(), name.to_owned());
        self.tensors.insert(name.to_owned(), tensor);
    }

    /// The same tensors under other names; those without one are left out.
    fn renamed(&self, rename: impl Fn(&str) -> Option<String>) -> Self {
        let tensors = self.tensors.iter();
        Self {
            tensors: tensors
                .filter_map(|(name, tensor)| Some((rename(name)?, tensor.clone())))
                .collect(),
            poison: None,
        }
    }

    fn prefixed(&self, prefix: &str) -> Self {
        self.renamed(|name| Some(format!("{prefix}{name}")))
    }

    fn without(&self, beginning: &str) -> Self {
        self.renamed(|name| (!name.starts_with(beginning)).then(|| name.to_owned()))
    }
}

impl TensorSource for File {
    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn shape(&self, name: &str, _wanted: &[usize]) -> Option<Vec<usize>> {
        self.tensors.get(name).map(|(shape, _)| shape.clone())
    }

    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        let mut values = Generated::tensor(&self.tensors[name].1, shape);
        if let Some((poisoned, number)) = &self.poison
            && poisoned == name
        {
            let last = values.len() - 1;
            values[last] = *number;
        }
        Ok(values)
    }
}

fn card(network: &str) -> ModelCard {
    let architecture = find(network).unwrap();
    ModelCard::published(architecture, &architecture.weights[0])
}

fn read(network: &str, file: &File, purpose: Purpose) -> Result<(Contents, Reading), ModelError> {
    let architecture = find(network).unwrap();
    let card = ModelCard::published(architecture, &architecture.weights[0]);
    Contents::read(architecture, card, file, purpose)
}

fn misfit(network: &str, file: &File, purpose: Purpose) -> (FillReport, Cause) {
    match read(network, file, purpose) {
        Err(ModelError::Mismatch { report, cause, .. }) => (*report, cause),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("the file fits {network}"),
    }
}

#[test]
fn whatever_stands_in_front_of_the_names_is_taken_off() {
    let file = File::of("shufflenet_v2_x0_5");
    let (plain, reading) = read("shufflenet_v2_x0_5", &file, Purpose::Answer).unwrap();
    assert_eq!(reading, Reading::default());
    for (prefix, said) in [
        ("module.", ""),
        ("_orig_mod.", ""),
        ("module._orig_mod.", ""),
        ("model.", "model."),
        ("net.module.", "net."),
        ("backbone.", "backbone."),
        ("encoder.", "encoder."),
        ("teacher.backbone.", "teacher.backbone."),
    ] {
        for purpose in [Purpose::Answer, Purpose::NewHead] {
            let read = read("shufflenet_v2_x0_5", &file.prefixed(prefix), purpose);
            let (model, reading) = read.unwrap();
            assert_eq!(reading.prefix, said);
            assert!(reading.aside.is_empty(), "{reading:?}");
            assert_eq!(
                model.backbone_tensors(),
                plain.backbone_tensors(),
                "{prefix}"
            );
            let is_same = model.head_tensors() == plain.head_tensors();
            assert_eq!(is_same, purpose == Purpose::Answer);
        }
    }
    // DataParallel around a part, and a file from before batch norms counted.
    let parts = file.renamed(|name| {
        let old = !name.ends_with("num_batches_tracked");
        old.then(|| name.replace("stage3.", "stage3.module."))
    });
    let (model, _) = read("shufflenet_v2_x0_5", &parts, Purpose::Answer).unwrap();
    assert_eq!(model.backbone_tensors(), plain.backbone_tensors());
}

#[test]
fn numbered_children_are_read_as_the_networks_parts() {
    let file = File::of("shufflenet_v2_x0_5");
    let (plain, _) = read("shufflenet_v2_x0_5", &file, Purpose::NewHead).unwrap();
    // `Sequential(*list(model.children())[:-1])`, where number 1 is a pool.
    let numbers = ["conv1", "maxpool", "stage2", "stage3", "stage4", "conv5"];
    let numbered = file.renamed(|name| {
        let (part, rest) = name.split_once('.')?;
        let number = numbers.iter().position(|known| *known == part)?;
        Some(format!("0.{number}.{rest}"))
    });
    let mut numbered = numbered;
    numbered.insert("1.4.weight", &[512, 1024]);
    let (model, reading) = read("shufflenet_v2_x0_5", &numbered, Purpose::NewHead).unwrap();
    assert_eq!(model.backbone_tensors(), plain.backbone_tensors());
    assert_eq!(reading.aside, ["1.4.weight"]);
}

#[test]
fn a_head_of_any_size_or_none_serves_where_a_new_one_is_trained() {
    let file = File::of("squeezenet1_1");
    let (plain, _) = read("squeezenet1_1", &file, Purpose::Answer).unwrap();
    let bare = file.without("classifier.");
    let mut seven = bare.clone();
    seven.insert("classifier.1.weight", &[7, 512, 1, 1]);
    seven.insert("classifier.1.bias", &[7]);
    let mut rebuilt = bare.clone();
    rebuilt.insert("classifier.weight", &[3, 512]);
    rebuilt.insert("projector.0.weight", &[9, 512]);
    for file in [&bare, &seven, &rebuilt, &seven.prefixed("module.model.")] {
        let (model, _) = read("squeezenet1_1", file, Purpose::NewHead).unwrap();
        assert_eq!(model.backbone_tensors(), plain.backbone_tensors());
    }
    let cause = |file| misfit("squeezenet1_1", file, Purpose::Answer).1;
    assert_eq!(cause(&bare), Cause::OtherHead { classes: None });
    assert_eq!(cause(&seven), Cause::OtherHead { classes: Some(7) });
    // A head under another name, or of other layers, is there all the same, with its bias.
    let mut beside = bare.prefixed("backbone.");
    beside.insert("head.weight", &[7, 512]);
    beside.insert("head.bias", &[7]);
    beside.insert("criterion.weight", &[7]);
    let mut layers = bare.clone();
    layers.insert("classifier.1.0.weight", &[9, 512]);
    layers.insert("classifier.1.0.bias", &[9]);
    for (file, names) in [
        (&beside, ["head.bias", "head.weight"]),
        (&layers, ["classifier.1.0.bias", "classifier.1.0.weight"]),
    ] {
        let (report, cause) = misfit("squeezenet1_1", file, Purpose::Answer);
        assert_eq!(report.unexpected, names);
        let name = names[1].to_owned();
        assert_eq!(cause, Cause::StrangeHead { name });
    }
}

#[test]
fn layers_that_might_have_been_meant_to_answer_are_not_passed_over() {
    let file = File::of("squeezenet1_1");
    let mut inside = file.clone();
    inside.insert("fc2.weight", &[10, 1000]);
    let mut beside = file.prefixed("model.");
    beside.insert("head.weight", &[10, 1000]);
    for (file, name) in [(&inside, "fc2.weight"), (&beside, "head.weight")] {
        let (report, cause) = misfit("squeezenet1_1", file, Purpose::Answer);
        assert_eq!(report.unexpected, [name]);
        let name = name.to_owned();
        assert_eq!(cause, Cause::MoreLayers { name: name.clone() });
        let (_, reading) = read("squeezenet1_1", file, Purpose::NewHead).unwrap();
        assert_eq!(reading.aside, [name]);
    }
}

#[test]
fn what_gives_no_answer_is_left_aside_and_said() {
    let file = File::of("squeezenet1_1");
    let mut beside = file.prefixed("model.");
    beside.insert("criterion.weight", &[1000]);
    beside.insert("model.aux_head.0.weight", &[10, 512]);
    let copy = file.prefixed("ema_model.module.");
    beside.tensors.extend(copy.tensors);
    beside.insert("ema_model.n_averaged", &[]);
    let (_, reading) = read("squeezenet1_1", &beside, Purpose::Answer).unwrap();
    assert_eq!(reading.prefix, "model.");
    assert_eq!(reading.copies, ["ema_model."]);
    assert_eq!(reading.aside.len(), 2 + file.tensors.len());
    // Beside names that have no prefix, too.
    let mut both = file.clone();
    both.tensors.extend(file.prefixed("teacher.").tensors);
    let (_, reading) = read("squeezenet1_1", &both, Purpose::Answer).unwrap();
    assert_eq!(reading.prefix, "");
    assert_eq!(reading.copies, ["teacher."]);
    assert_eq!(reading.aside.len(), file.tensors.len());
}

/// PyTorch's `load_state_dict(strict=False)` takes the exact names.
#[test]
fn a_second_copy_behind_a_wrapper_is_said_and_a_part_of_one_refused() {
    let file = File::of("squeezenet1_1");
    let (plain, _) = read("squeezenet1_1", &file, Purpose::Answer).unwrap();
    for (prefix, front) in [("", "module."), ("model.", "model.module.")] {
        // Other numbers: those of the names in front of which this stands.
        let mut copy = file.prefixed(front);
        for (name, (_, numbers)) in &mut copy.tensors {
            numbers.clone_from(name);
        }
        let mut both = file.prefixed(prefix);
        both.tensors.extend(copy.tensors.clone());
        for purpose in [Purpose::Answer, Purpose::NewHead] {
            let (model, reading) = read("squeezenet1_1", &both, purpose).unwrap();
            assert_eq!(
                model.backbone_tensors(),
                plain.backbone_tensors(),
                "{front}"
            );
            assert_eq!(
                model.head_tensors() == plain.head_tensors(),
                purpose == Purpose::Answer
            );
            assert_eq!(reading.copies, [front]);
        }
        let name = format!("{front}features.0.weight");
        let mut part = file.prefixed(prefix);
        part.tensors
            .insert(name.clone(), copy.tensors[&name].clone());
        for purpose in [Purpose::Answer, Purpose::NewHead] {
            let (report, cause) = misfit("squeezenet1_1", &part, purpose);
            assert_eq!(report.unexpected, [name.as_str()]);
            assert_eq!(cause, Cause::Twice { name: name.clone() });
        }
    }
    // One full copy, and one exact name beside it.
    let mut mixed = file.prefixed("module.");
    mixed.insert("features.0.weight", &[64, 3, 3, 3]);
    let (report, _) = misfit("squeezenet1_1", &mixed, Purpose::Answer);
    assert_eq!(report.unexpected, ["module.features.0.weight"]);
}

#[test]
fn a_bare_number_beside_the_network_is_left_aside() {
    let file = File::of("squeezenet1_1");
    for (prefix, shape) in [("", &[][..]), ("module.", &[]), ("module.", &[1])] {
        let mut counted = file.prefixed(prefix);
        counted.insert("epoch", shape);
        let (_, reading) = read("squeezenet1_1", &counted, Purpose::Answer).unwrap();
        assert_eq!(reading.aside, ["epoch"]);
        // In the network it belongs to a layer that is not known.
        counted.insert(&format!("{prefix}features.3.scale"), shape);
        let (report, _) = misfit("squeezenet1_1", &counted, Purpose::Answer);
        assert_eq!(report.unexpected, ["features.3.scale"]);
    }
}

#[test]
fn a_head_that_is_there_in_part_is_not_called_missing() {
    let file = File::of("squeezenet1_1");
    for gone in ["classifier.1.bias", "classifier.1.weight"] {
        let (report, cause) = misfit("squeezenet1_1", &file.without(gone), Purpose::Answer);
        assert_eq!(report.missing, [gone]);
        let name = gone.to_owned();
        assert_eq!(cause, Cause::PartOfHead { name });
    }
}

#[test]
fn a_file_of_very_many_tensors_is_refused_soon() {
    let mut file = File::of("squeezenet1_1");
    file.tensors.clear();
    for at in 0..50_000 {
        file.insert(&format!("t{at}.0.weight"), &[0]);
    }
    let start = std::time::Instant::now();
    for purpose in [Purpose::Answer, Purpose::NewHead] {
        let (_, cause) = misfit("squeezenet1_1", &file, purpose);
        assert_eq!(cause, Cause::OtherNames);
    }
    // A tenth of a second where it takes 5 µs a tensor; what is quadratic takes a minute.
    let took = start.elapsed().as_secs_f64();
    assert!(took < 10.0, "{took:.1} s");
}

#[test]
fn every_tensor_of_a_misfit_is_counted_once() {
    let file = File::of("squeezenet1_1");
    let wanted = file.tensors.len();
    let other = File::of("shufflenet_v2_x0_5");
    for purpose in [Purpose::Answer, Purpose::NewHead] {
        let (report, cause) = misfit("squeezenet1_1", &other, purpose);
        let of_head = if purpose == Purpose::NewHead { 2 } else { 0 };
        assert_eq!(report.missing.len(), wanted - of_head);
        let unique: std::collections::BTreeSet<_> = report.missing.iter().collect();
        assert_eq!(unique.len(), report.missing.len());
        assert_eq!(cause, Cause::OtherNetwork("shufflenet_v2_x0_5"));
    }
    // One gone, one of another shape, one too many.
    let mut damaged = file.without("features.0.bias");
    damaged.insert("features.3.squeeze.bias", &[17]);
    damaged.insert("features.99.weight", &[1, 2]);
    let (report, cause) = misfit("squeezenet1_1", &damaged, Purpose::Answer);
    assert_eq!(report.missing, ["features.0.bias"]);
    assert_eq!(report.misshaped.len(), 1);
    assert_eq!(report.unexpected, ["features.99.weight"]);
    assert_eq!(cause, Cause::Unknown);
}

#[test]
fn the_network_that_a_file_belongs_to_is_named() {
    let cause = |network: &str, file: &File| misfit(network, file, Purpose::NewHead).1;
    let older = File::of("squeezenet1_0");
    assert_eq!(
        cause("squeezenet1_1", &older),
        Cause::OtherNetwork("squeezenet1_0")
    );
    // All of the smaller network is in the larger one, and it is the larger one's all the same.
    let larger = File::of("resnet34").prefixed("module.");
    assert_eq!(cause("resnet18", &larger), Cause::OtherNetwork("resnet34"));
    let cut = larger.renamed(|name| Some(name.replace("layer1", "stage1")));
    assert_eq!(cause("resnet18", &cut), Cause::Unknown);
    let mut more = File::of("efficientnet_lite0");
    assert_eq!(
        cause("resnet18", &more),
        Cause::OtherNetwork("efficientnet_lite0")
    );
    more.insert("blocks.0.0.se.conv_reduce.weight", &[8, 32, 1, 1]);
    assert_eq!(cause("efficientnet_b0", &more), Cause::OtherNames);
    let other = File::of("squeezenet1_1").renamed(|name| Some(format!("{name}.x")));
    assert_eq!(cause("resnet18", &other), Cause::OtherNames);
}

/// torchvision's `fcn_resnet50` and `deeplabv3_resnet50` share all of their backbone's names and shapes, as do its
/// networks for segmentation on MobileNetV3.
#[test]
fn networks_that_share_a_backbone_are_told_apart_by_their_heads() {
    let segments = [
        "fcn_resnet50",
        "deeplabv3_resnet50",
        "deeplabv3_mobilenet_v3_large",
        "lraspp_mobilenet_v3_large",
    ];
    for own in segments {
        let mut file = File::of(own);
        file.insert("aux_classifier.4.weight", &[21, 256, 1, 1]);
        let (alike, differs) = match own.ends_with("resnet50") {
            true => (&segments[..2], "resnet50"),
            false => (&segments[2..], "mobilenet_v3_large"),
        };
        for other in alike.iter().copied().filter(|other| *other != own) {
            let (_, cause) = misfit(other, &file, Purpose::Answer);
            assert_eq!(cause, Cause::OtherNetwork(own), "asked for {other}");
        }
        let (_, cause) = misfit(differs, &file.prefixed("module."), Purpose::Answer);
        assert_eq!(cause, Cause::OtherNetwork(own), "asked for {differs}");
    }
}

#[test]
fn a_model_is_taken_to_another_size_unless_its_numbers_belong_to_one() {
    let model = |name: &str| Contents::ported(find(name).unwrap(), card(name), &Generated).unwrap();
    let segments = model("lraspp_mobilenet_v3_large");
    let wide = segments.at_size([96, 128]).unwrap().unwrap();
    assert_eq!(wide.graph().shape_of(wide.graph().output()), [21, 96, 128]);
    assert_eq!(wide.card, segments.card);
    let classifies = model("squeezenet1_1");
    assert!(classifies.at_size([96, 128]).unwrap().is_some());
    assert!(classifies.at_size([4, 4]).is_err());
    assert!(model("vit_b_16").at_size([256, 256]).unwrap().is_none());
}

#[test]
fn the_classes_of_a_segmentation_networks_head_are_counted() {
    for name in ["fcn_resnet50", "lraspp_mobilenet_v3_large"] {
        let of_five = |name: &str| ModelCard {
            classes: (0..5).map(|class| format!("class {class}")).collect(),
            ..card(name)
        };
        let five = Contents::ported(find(name).unwrap(), of_five(name), &Generated).unwrap();
        let mut file = File::of(name);
        for (tensor, shape) in five.graph().tensors() {
            file.insert(&tensor, &shape);
        }
        let (_, cause) = misfit(name, &file, Purpose::Answer);
        assert_eq!(cause, Cause::OtherHead { classes: Some(5) }, "{name}");
        let (read, _) =
            Contents::read(find(name).unwrap(), of_five(name), &file, Purpose::Answer).unwrap();
        // Of tensors that contradict each other none is believed.
        let bias = file
            .tensors
            .keys()
            .rfind(|name| name.ends_with(".bias"))
            .unwrap();
        file.insert(&bias.clone(), &[6]);
        let (_, cause) = misfit(name, &file, Purpose::Answer);
        assert_ne!(cause, Cause::OtherHead { classes: Some(5) }, "{name}");

        let mut short = read;
        short.card.classes.pop();
        let told = Contents::open(short.save().unwrap())
            .unwrap_err()
            .to_string();
        assert!(
            told.contains("names 4 classes, and its head has 5"),
            "{told}"
        );
    }
}

#[test]
fn nan_and_infinities_are_refused_by_the_tensors_name() {
    let file = File::of("shufflenet_v2_x0_5");
    let names = [
        "conv1.0.weight",
        "conv1.1.running_mean",
        "conv1.1.running_var",
        "stage3.1.branch2.3.weight",
        "conv5.1.bias",
        "fc.weight",
        "fc.bias",
    ];
    for (at, name) in names.into_iter().enumerate() {
        let number = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][at % 3];
        for purpose in [Purpose::Answer, Purpose::NewHead] {
            let poison = Some((name.to_owned(), number));
            let poisoned = File {
                poison,
                ..file.clone()
            };
            match read("shufflenet_v2_x0_5", &poisoned, purpose) {
                Err(ModelError::Weights(WeightsError::NotFinite {
                    name: found,
                    index,
                    len,
                    ..
                })) => {
                    assert_eq!(found, name);
                    assert_eq!(index + 1, len);
                }
                other => panic!("{name}: {:?}", other.map(|(_, reading)| reading)),
            }
        }
    }
    // What is not the network's may hold what it likes: a mask of minus infinities, say.
    let mut beside = file.prefixed("model.");
    beside.insert("mask", &[4]);
    beside.poison = Some(("mask".to_owned(), f32::NEG_INFINITY));
    read("shufflenet_v2_x0_5", &beside, Purpose::Answer).unwrap();
}

#[test]
fn a_model_file_that_holds_nan_is_refused() {
    let file = File::of("shufflenet_v2_x0_5");
    let (model, _) = read("shufflenet_v2_x0_5", &file, Purpose::Answer).unwrap();
    let bytes = model.save().unwrap();
    Contents::open(bytes.clone()).unwrap();
    // The last number of the last tensor, and so of the file: a running statistic.
    let mut bytes = bytes;
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    let error = Contents::open(bytes).unwrap_err();
    assert!(error.to_string().contains("holds NaN"), "{error}");
}

/// PyTorch's `batch_norm` in evaluation is finite for −1e-6, and NaN at −ε and below.
#[test]
fn a_variance_below_zero_is_refused_by_the_tensors_name_where_epsilon_does_not_make_up_for_it() {
    let file = File::of("shufflenet_v2_x0_5");
    let name = "stage3.1.branch2.1.running_var";
    for purpose in [Purpose::Answer, Purpose::NewHead] {
        for (variance, refused) in [(-1e-6, false), (0.0, false), (-1e-5, true), (-0.5, true)] {
            let poisoned = File {
                poison: Some((name.to_owned(), variance)),
                ..file.clone()
            };
            match read("shufflenet_v2_x0_5", &poisoned, purpose) {
                Ok(_) => assert!(!refused, "{variance}"),
                Err(ModelError::Weights(error)) => {
                    assert!(refused, "{variance}: {error}");
                    let told = error.to_string();
                    assert!(
                        told.contains(name) && told.contains("element 47 of 48"),
                        "{told}"
                    );
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn a_card_for_another_task_than_its_networks_is_refused() {
    let card = |name: &str| {
        let network = find(name).unwrap();
        (network, ModelCard::published(network, &network.weights[0]))
    };
    let told = |(network, card): (_, ModelCard)| match Contents::ported(network, card, &Generated) {
        Err(ModelError::Card(told)) => told,
        other => panic!("{other:?}"),
    };
    let (classifier, classes) = card("squeezenet1_1");
    let (segments, masks) = card("lraspp_mobilenet_v3_large");
    let first = told((classifier, masks.clone()));
    assert!(
        first.contains("'segment'") && first.contains("squeezenet1_1"),
        "{first}"
    );
    let second = told((segments, classes));
    assert!(
        second.contains("the task of lraspp_mobilenet_v3_large is 'segment'"),
        "{second}"
    );
    assert!(Contents::ported(segments, masks, &Generated).is_ok());
}
