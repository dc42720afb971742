//! The metadata of model files, and the network that follows from it.

use rekindle_core::backbone::find;
use rekindle_core::model::{METADATA_KEY, read_card, whole_graph};
use rekindle_core::weights::WeightFile;

use crate::is_plain;

/// The most pixels a side for which the whole network is written down.
const LARGEST_SIDE: u32 = 512;

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

    let architecture = match find(&card.architecture) {
        Ok(architecture) => architecture,
        Err(error) => return is_plain(&error),
    };
    let side = card.preset.crop();
    if side > LARGEST_SIDE {
        return;
    }
    match whole_graph(architecture, &card, [side as usize; 2]) {
        Ok(graph) => {
            assert_eq!(graph.shape(), [card.classes.len()]);
            assert!(graph.tensors().count() > 1);
        }
        Err(error) => is_plain(&error),
    }
}
