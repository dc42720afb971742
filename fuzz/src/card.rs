//! The metadata of model files, and the networks that follow from them.

use std::sync::OnceLock;

use rekindle_networks::backbone::{ARCHITECTURES, Architecture, find};
use rekindle_networks::head::{HeadKind, MlpConfig};
use rekindle_networks::model::{Channels, METADATA_KEY, ModelCard, read_card, whole_graph};
use rekindle_networks::task::Task;
use rekindle_networks::weights::WeightFile;

use crate::is_plain;

/// The most pixels a side for which a network is written down.
const LARGEST_SIDE: u16 = 256;

/// What begins a name to look up.
const A_NAME: u8 = 0xff;

/// What [`network`] chooses from, made once.
static FAMILIES: OnceLock<(Vec<&'static Architecture>, ModelCard)> = OnceLock::new();

/// A model file without tensors whose metadata is this text.
pub fn card(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let header = serde_json::json!({ "__metadata__": { METADATA_KEY: text } }).to_string();
    let bytes = crate::safetensors_file(header.as_bytes(), &[]);
    let Ok(file) = WeightFile::parse(&bytes) else {
        unreachable!("a sound header: {header}");
    };
    let card = match read_card(&file) {
        Ok(card) => card,
        Err(error) => return is_plain(&error),
    };
    let written = serde_json::to_string(&card).map(|text| serde_json::from_str::<ModelCard>(&text));
    let Ok(Ok(again)) = written else {
        panic!("what was read cannot be written and read: {written:?}");
    };
    assert_eq!(card, again);
    assert!(card.lift().is_finite());
    assert!(!card.classes.is_empty());
}

/// The network of a card: a byte each for the family, the head, the channels and the options, two for the side of
/// the picture, eight for the hidden layer. If the first is [`A_NAME`], the rest is a name to look up instead.
pub fn network(bytes: &[u8]) {
    if let Some((&A_NAME, name)) = bytes.split_first() {
        if let Err(error) = find(&String::from_utf8_lossy(name)) {
            is_plain(&error);
        }
        return;
    }
    let Some((&[family, head, channels, options, low, high], rest)) = bytes.split_first_chunk()
    else {
        return;
    };
    let hidden = rest.first_chunk().unwrap_or(&[1; 8]);
    let (families, card) = FAMILIES.get_or_init(families);
    let architecture = families[usize::from(family) % families.len()];
    let head = match head % 3 {
        0 => HeadKind::Original,
        1 => HeadKind::Linear { lift: 1.0 },
        _ => HeadKind::Mlp(MlpConfig {
            hidden: usize::from_le_bytes(*hidden),
            dropout: 0.5,
        }),
    };
    let channels = match channels % 4 {
        0 => Channels::Rgb,
        1 => Channels::GreyRepeated,
        2 => Channels::GreyMean,
        _ => Channels::GreyConvolved,
    };
    let card = ModelCard {
        classes: vec!["a class".to_owned(); usize::from(options >> 2) + 1],
        head,
        channels,
        small_stem: options & 1 != 0,
        bare: options & 2 != 0,
        ..card.clone()
    };
    let side = usize::from(u16::from_le_bytes([low, high]) % LARGEST_SIDE);
    match whole_graph(architecture, &card, [side; 2]) {
        Ok(graph) => {
            let classes = card.classes.len();
            let answer = match architecture.task {
                Task::Classify | Task::MultiLabel | Task::Regress => vec![classes],
                Task::Segment => vec![classes, side, side],
            };
            assert_eq!(graph.shape_of(graph.output()), answer);
            assert!(graph.tensors().count() > 1);
        }
        Err(error) => is_plain(&error),
    }
}

/// The network of fewest layers of each family, and a card that lacks its classes.
///
/// The others of a family are the same code with other numbers: to write down the largest takes a hundred times as
/// long and shows nothing new.
fn families() -> (Vec<&'static Architecture>, ModelCard) {
    let layers = |one: &&Architecture| one.published_graph().layers().len();
    let smallest = |family: &&'static [Architecture]| family.iter().min_by_key(layers);
    let families: Vec<_> = ARCHITECTURES.iter().filter_map(smallest).collect();
    let card = ModelCard {
        classes: Vec::new(),
        ..ModelCard::published(families[0], &families[0].weights[0])
    };
    (families, card)
}
