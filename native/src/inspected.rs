//! What the commands share that look into a network: which one, at which size, what of it trains.

use std::path::Path;

use anyhow::Context as _;
use rekindle_core::backbone::{Architecture, find};
use rekindle_core::graph::Graph;
use rekindle_core::head::HeadKind;
use rekindle_core::model::{ModelCard, whole_graph};
use rekindle_core::parts::Freezing;

use crate::cli::{InspectArgs, PictureArgs};
use crate::models;

/// A network as a person asked to see it. Without a file no weights are needed for that.
pub struct Inspected {
    /// Its entry in the registry.
    pub architecture: &'static Architecture,
    /// What its file says, where it was given as a file.
    pub card: Option<ModelCard>,
    /// The whole of it, head included.
    pub graph: Graph,
    /// Which parameters train.
    pub freezing: Freezing,
}

impl Inspected {
    /// Finds it.
    pub fn new(args: &InspectArgs) -> anyhow::Result<Self> {
        let path = Path::new(&args.model);
        // Nobody computes with its tensors here, but what a card says that they contradict is not worth much.
        let card = match path.is_file() {
            true => Some(models::from_model_file(path)?.card),
            false => {
                models::is_name(&args.model)?;
                None
            }
        };
        let architecture = find(card.as_ref().map_or(&args.model, |card| &card.architecture))?;
        let mut wanted = match &card {
            Some(card) => card.clone(),
            None => published(architecture)?,
        };
        let pictures = PictureArgs {
            bare: args.bare,
            ..PictureArgs::default()
        };
        models::has_what_is_left_out(architecture, &pictures)?;
        wanted.bare |= args.bare;
        if let Some(classes) = args.classes {
            // Only how many they are matters here.
            wanted.classes = vec![String::new(); classes];
            wanted.head = HeadKind::Original;
        }
        let side = match card {
            Some(_) => wanted.preset.side() as usize,
            None => architecture.input_size,
        };
        let size = args.input.unwrap_or([side, side]);
        let graph =
            whole_graph(architecture, &wanted, size).map_err(models::too_small("--input"))?;
        let mut freezing = Freezing::none(&graph);
        for part in &args.freeze {
            freezing = freezing.freeze(&graph, part)?;
        }
        for part in &args.unfreeze {
            freezing = freezing.unfreeze(&graph, part)?;
        }
        Ok(Self {
            architecture,
            card,
            graph,
            freezing,
        })
    }
}

fn published(architecture: &Architecture) -> anyhow::Result<ModelCard> {
    let weights = architecture.weights.first();
    let weights = weights.with_context(|| format!("{} has no weights", architecture.name))?;
    Ok(ModelCard::published(architecture, weights))
}
