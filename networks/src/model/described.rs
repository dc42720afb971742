//! The network that a card describes.

use super::ModelCard;
use crate::backbone::{Architecture, UnsupportedInput};
use crate::graph::Graph;

/// The network that a card speaks of as data, from images of this height and width to the answers.
///
/// # Errors
///
/// When the network cannot take such images.
pub fn whole_graph(
    architecture: &Architecture,
    card: &ModelCard,
    [height, width]: [usize; 2],
) -> Result<Graph, UnsupportedInput> {
    let (slot, classes) = (card.slot(architecture), card.classes.len());
    architecture.graph_with(
        [card.channels.count(), height, width],
        &card.options(),
        |image| card.channels.describe(image),
        |x| card.head.describe(slot, x, classes),
    )
}
