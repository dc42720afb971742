//! The layers of a network in groups, from the image to the head: by blocks, as timm's layer decay counts them, and
//! by stages.
//!
//! Blocks are read off the names of modules, since a chain of convolutions without a skip does not say where one block
//! of it ends: a module is a sequence of blocks where its children are numbered modules, each fed by the one before.

use std::collections::BTreeMap;

use rekindle_networks::graph::{Graph, LayerId, LayerKind, LayerSpec, Op};
use rekindle_networks::parts::ADAPTER;

use crate::tune::blocks::{holding_blocks, mixes_places};

/// The group of each layer by stages: one for each that holds blocks, and the head.
pub(super) fn by_stage(graph: &Graph) -> Vec<usize> {
    let holding = holding_blocks(graph);
    let sight = Sight::new(graph);
    let group = |index: usize| {
        if sight.is_new(index) {
            return holding.len();
        }
        let stage = graph.stage_of_layer(LayerId(index));
        let before = holding.iter().filter(|&&first| first <= stage).count();
        before.saturating_sub(1)
    };
    (0..graph.layers().len()).map(group).collect()
}

/// The group of each layer by blocks: the stem, each block, and the head.
pub(super) fn by_block(graph: &Graph) -> Vec<usize> {
    let sight = Sight::new(graph);
    let mut groups = vec![usize::MAX; graph.layers().len()];
    let joined = joined(graph, &sight, units(&sight));
    let head = joined.len();
    for (group, layers) in joined.into_iter().enumerate() {
        for layer in layers {
            groups[layer] = group;
        }
    }
    for group in &mut groups {
        *group = (*group).min(head);
    }
    groups
}

/// What is looked at of a graph's layers, again and again.
struct Sight<'a> {
    graph: &'a Graph,
    /// The first step on the way to the outputs that uses each layer; none of an auxiliary classifier's.
    first: Vec<Option<usize>>,
    /// Whether a layer mixes places.
    mixes: Vec<bool>,
}

impl<'a> Sight<'a> {
    fn new(graph: &'a Graph) -> Self {
        let count = graph.layers().len();
        let mut sight = Self {
            graph,
            first: vec![None; count],
            mixes: vec![false; count],
        };
        for (index, node) in graph.main() {
            for layer in node.op.layers() {
                sight.first[layer.0].get_or_insert(index);
                sight.mixes[layer.0] |= mixes_places(node);
            }
        }
        sight
    }

    /// Whether nobody pretrained a layer for this, or it stands behind the pooling: it trains as the head does.
    fn is_new(&self, layer: usize) -> bool {
        let graph = self.graph;
        graph.is_of_head(LayerId(layer))
            || self.first[layer].is_none()
            || is_adapter(&graph.layers()[layer])
    }

    /// Whether what the step `node` is given comes, in whole or in part, from steps from `start` to before `end`.
    fn follows(&self, node: usize, start: usize, end: usize) -> bool {
        let mut open = vec![node];
        let mut seen = vec![false; node + 1];
        while let Some(node) = open.pop() {
            if (start..end).contains(&node) {
                return true;
            }
            for &input in &self.graph.nodes()[node].inputs {
                if let Some(before) = input.checked_sub(1)
                    && before >= start
                    && !seen[before]
                {
                    seen[before] = true;
                    open.push(before);
                }
            }
        }
        false
    }
}

/// Layers that belong together by their names.
struct Unit {
    layers: Vec<usize>,
    stage: usize,
    /// Whether it is one of a sequence.
    is_numbered: bool,
}

/// The backbone's layers in units, from the image on.
fn units(sight: &Sight<'_>) -> Vec<Unit> {
    let layers = sight.graph.layers().len();
    let all: Vec<usize> = (0..layers).filter(|&layer| !sight.is_new(layer)).collect();
    let mut units = Vec::new();
    divide(sight, &all, 0, false, &mut units);
    units.sort_by_key(|unit| unit.layers.first().map(|&layer| sight.first[layer]));
    units
}

/// Divides the layers of a module whose name has so many parts.
fn divide(
    sight: &Sight<'_>,
    layers: &[usize],
    depth: usize,
    is_numbered: bool,
    units: &mut Vec<Unit>,
) {
    let graph = sight.graph;
    let stage = |layer: usize| graph.stage_of_layer(LayerId(layer));
    let Some(&first) = layers.first() else {
        return;
    };
    // The children: modules by name, and the layers that are this module's own.
    let mut modules: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut own: Vec<usize> = Vec::new();
    for &layer in layers {
        let mut parts = graph.layers()[layer].name.split('.').skip(depth);
        match (parts.next(), parts.next()) {
            (Some(child), Some(_)) => modules.entry(child).or_default().push(layer),
            _ => own.push(layer),
        }
    }
    let mut children: Vec<(&str, Vec<usize>)> = modules.into_iter().collect();
    children.sort_by_key(|(_, layers)| layers[0]);
    let spans = layers.iter().any(|&layer| stage(layer) != stage(first));
    if !spans {
        let is_sequence = own.is_empty() && is_sequence(sight, &children);
        match is_sequence {
            true => {
                for (_, child) in &children {
                    divide(sight, child, depth + 1, true, units);
                }
            }
            false => units.push(Unit {
                layers: layers.to_vec(),
                stage: stage(first),
                is_numbered,
            }),
        }
        return;
    }
    for (_, child) in &children {
        divide(sight, child, depth + 1, false, units);
    }
    // Single layers follow one another: each convolution takes along what stands behind it. A norm that is numbered as
    // the convolutions are, as in VGG, is a layer of its own to timm's pattern.
    let mut begun: Option<Unit> = None;
    for layer in own {
        let is_numbered_norm = is_norm(&graph.layers()[layer]) && is_number(graph, layer, depth);
        match &mut begun {
            Some(unit)
                if unit.stage == stage(layer) && !sight.mixes[layer] && !is_numbered_norm =>
            {
                unit.layers.push(layer);
            }
            _ => {
                units.extend(begun.take());
                begun = Some(Unit {
                    layers: vec![layer],
                    stage: stage(layer),
                    is_numbered: is_numbered_norm,
                });
            }
        }
    }
    units.extend(begun);
}

/// Whether a layer is a batch norm.
fn is_norm(layer: &LayerSpec) -> bool {
    matches!(layer.kind, LayerKind::BatchNorm { .. })
}

/// Whether a layer's name, behind so many parts, is a number alone.
fn is_number(graph: &Graph, layer: usize, depth: usize) -> bool {
    let part = graph.layers()[layer].name.split('.').nth(depth);
    part.is_some_and(|part| part.bytes().all(|letter| letter.is_ascii_digit()))
}

/// Whether these are numbered modules, each fed by the one before.
fn is_sequence(sight: &Sight<'_>, children: &[(&str, Vec<usize>)]) -> bool {
    let is_numbered = |name: &str| name.ends_with(|last: char| last.is_ascii_digit());
    let begin = |layers: &[usize]| layers.iter().filter_map(|&layer| sight.first[layer]).min();
    children.iter().all(|(name, _)| is_numbered(name))
        && children
            .windows(2)
            .all(|pair| match (begin(&pair[0].1), begin(&pair[1].1)) {
                (Some(before), Some(node)) => sight.follows(node, before, node),
                _ => false,
            })
}

/// Joins what is no block of its own with its neighbours. What is in none trains as the head does.
fn joined(graph: &Graph, sight: &Sight<'_>, units: Vec<Unit>) -> Vec<Vec<usize>> {
    let holding = holding_blocks(graph);
    let backbone = &graph.stages()[..graph.backbone_stages()];
    let is_learnt = |stage: usize| {
        graph.layers().iter().enumerate().any(|(index, layer)| {
            let projects = matches!(
                layer.kind,
                LayerKind::Conv { .. } | LayerKind::Linear { .. }
            );
            projects && graph.stage_of_layer(LayerId(index)) == stage
        })
    };
    let is_pooled = |stage: usize| backbone[stage].stride.is_none();
    let has_hidden = (0..backbone.len()).any(|stage| is_pooled(stage) && is_learnt(stage));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    // What waits for the block behind it.
    let mut waiting: Vec<usize> = Vec::new();
    for unit in units {
        let (stage, layers) = (unit.stage, unit.layers);
        if is_pooled(stage) {
            continue;
        }
        let mixes = layers.iter().any(|&layer| sight.mixes[layer]);
        let before_all = holding.first().is_none_or(|&first| stage < first);
        let behind_all = holding.last().is_some_and(|&last| stage > last);
        if before_all {
            // The stem, and, behind a pool or from a separable convolution on, a block that has no stage of its own.
            match groups.last_mut() {
                Some(stem) if goes_on(sight, stem, &layers) => stem.extend(layers),
                _ => groups.push(layers),
            }
        } else if mixes
            || unit.is_numbered && !behind_all
            || behind_all && has_hidden && is_learnt(stage)
        {
            let mut block = std::mem::take(&mut waiting);
            block.extend(layers);
            groups.push(block);
        } else if let Some(before) = groups.last_mut()
            && (behind_all || ends_in_pool(graph, sight, &layers))
        {
            before.extend(layers);
        } else {
            waiting.extend(layers);
        }
    }
    match groups.last_mut() {
        Some(last) => last.extend(waiting),
        None if waiting.is_empty() => {}
        None => groups.push(waiting),
    }
    groups
}

/// Whether layers in front of the first block go on with those before them: no pool stands between them, and they begin
/// no separable convolution (a filter for each channel). MNASNet's first block and Inception's convolutions behind its
/// first pool are not of the stem to timm either.
fn goes_on(sight: &Sight<'_>, before: &[usize], layers: &[usize]) -> bool {
    let steps = |layers: &[usize]| -> Vec<usize> {
        layers
            .iter()
            .filter_map(|&layer| sight.first[layer])
            .collect()
    };
    let (Some(&last), Some(&first)) = (steps(before).iter().max(), steps(layers).iter().min())
    else {
        return true;
    };
    let between = sight.graph.nodes().get(last..first).unwrap_or_default();
    let is_pooled = between
        .iter()
        .any(|node| matches!(node.op, Op::AvgPool(_) | Op::MaxPool(_)));
    let is_separable = layers.iter().any(|&layer| {
        matches!(
            &sight.graph.layers()[layer].kind,
            LayerKind::Conv { input, conv } if *input > 1 && conv.groups == *input
        )
    });
    !is_pooled && !is_separable
}

/// Whether the next step behind these layers is a pool.
fn ends_in_pool(graph: &Graph, sight: &Sight<'_>, layers: &[usize]) -> bool {
    let last = layers.iter().filter_map(|&layer| sight.first[layer]).max();
    let next = last.and_then(|last| graph.nodes().get(last + 1));
    next.is_some_and(|node| matches!(node.op, Op::AvgPool(_) | Op::MaxPool(_)))
}

/// Whether a layer is the adapter in front of the network.
pub(super) fn is_adapter(layer: &LayerSpec) -> bool {
    layer.name.split('.').next() == Some(ADAPTER)
}
