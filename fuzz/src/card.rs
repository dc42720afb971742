//! The metadata of model files, and the networks that follow from them.

use rekindle_core::backbone::{architectures, find};
use rekindle_core::head::{HeadKind, MlpConfig};
use rekindle_core::model::{Channels, METADATA_KEY, ModelCard, read_card, whole_graph};
use rekindle_core::weights::WeightFile;

use crate::is_plain;

/// The most pixels a side for which a network is written down.
const LARGEST_SIDE: u16 = 512;

/// A model file without tensors whose metadata is this text.
pub fn card(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let header = serde_json::json!({ "__metadata__": { METADATA_KEY: text } }).to_string();
    let bytes = crate::safetensors(header.as_bytes(), &[]);
    let Ok(file) = WeightFile::parse(&bytes) else {
        unreachable!("a sound header: {header}");
    };
    let card = match read_card(&file) {
        Ok(card) => card,
        Err(error) => return is_plain(&error),
    };
    let again = serde_json::to_string(&card).map(|text| serde_json::from_str(&text));
    assert!(matches!(again, Ok(Ok(again)) if card == again));
    assert!(card.lift().is_finite());
    assert!(!card.classes.is_empty());
}

/// The network of a card: a byte each for the architecture, the head, the channels and the options, two for the
/// side of the picture, eight for the hidden layer; the rest is a name to look up.
pub fn network(bytes: &[u8]) {
    let Some((&[which, head, channels, options, low, high], rest)) = bytes.split_first_chunk()
    else {
        return;
    };
    let (hidden, name) = rest.split_first_chunk().unwrap_or((&[1; 8], rest));
    if let Err(error) = find(&String::from_utf8_lossy(name)) {
        is_plain(&error);
    }

    let count = architectures().count();
    let Some(architecture) = architectures().nth(usize::from(which) % count) else {
        return;
    };
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
        _ => Channels::GreyAdapter,
    };
    let card = ModelCard {
        classes: vec!["a class".to_owned(); usize::from(options) + 1],
        head,
        channels,
        small_stem: options & 1 != 0,
        bare: options & 2 != 0,
        ..ModelCard::published(architecture, &architecture.weights[0])
    };
    let side = usize::from(u16::from_le_bytes([low, high]) % LARGEST_SIDE);
    match whole_graph(architecture, &card, [side; 2]) {
        Ok(graph) => {
            assert_eq!(graph.shape(), [card.classes.len()]);
            assert!(graph.tensors().count() > 1);
        }
        Err(error) => is_plain(&error),
    }
}
