//! A network drawn stage by stage, as SVG.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::summary::grouped;
use crate::graph::{Graph, LayerId};
use crate::parts::Freezing;

/// What a drawing is told beside the network.
#[derive(Debug, Clone, Copy)]
pub struct Diagram<'a> {
    /// The title.
    pub title: &'a str,
    /// Which parameters train.
    pub freezing: &'a Freezing,
}

const WIDTH: usize = 880;
const MARGIN: usize = 24;
const TOP: usize = 92;
const ROW: usize = 84;
const GAP: usize = 18;
/// Where the text beside the pictures of feature maps begins.
const TEXT: usize = 250;
/// How wide a letter is at most on average, as a share of its height: texts of unknown letters must stay in their box.
const LETTER: f64 = 0.6;
/// The size of the title's letters, and of those that say what a stage is made of.
const TITLE: f64 = 22.0;
const PARTS: f64 = 12.0;
/// Pixels left of the legend.
const BEFORE_LEGEND: usize = WIDTH - 120 - 2 * MARGIN;

/// Draws a network: one box a stage, with a slab as wide as its channels and as high as its maps, the
/// shape it puts out, its parameters and what it is made of. Frozen stages are blue and hatched,
/// trainable ones orange, so that the two are told apart without colour too. An arrow on the left leads to a stage
/// that takes what another than the one before it puts out.
pub fn diagram(graph: &Graph, options: &Diagram) -> String {
    let stages = graph.stages();
    let height = TOP + stages.len() * (ROW + GAP) + ROW + GAP + 20;
    let mut svg = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        svg,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" aria-label="{title}" font-family="system-ui, 'Segoe UI', sans-serif">
<defs>
<pattern id="frozen" width="8" height="8" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="8" height="8" fill="#dbe9f6"/><line x1="0" y1="0" x2="0" y2="8" stroke="#9dbfe0" stroke-width="2"/></pattern>
<marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 Z" fill="#555"/></marker>
</defs>
<rect width="100%" height="100%" fill="#fff"/>
<text x="{MARGIN}" y="38" font-size="{title_size:.1}" font-weight="600" fill="#1a1a1a">{title}</text>
<text x="{MARGIN}" y="64" font-size="14" fill="#555">{params} parameters · {macs} multiply-adds an image</text>
<g font-size="13" fill="#333"><rect x="{legend}" y="26" width="18" height="14" fill="#ffd9b0" stroke="#c8640a"/><text x="{legend_text}" y="38">trains</text><rect x="{legend}" y="50" width="18" height="14" fill="url(#frozen)" stroke="#3b6ea5"/><text x="{legend_text}" y="62">frozen</text></g>
"##,
        title = escape(options.title),
        params = grouped(graph.parameter_count()),
        macs = grouped(graph.macs() as usize),
        title_size =
            TITLE.min(BEFORE_LEGEND as f64 / (LETTER * options.title.chars().count() as f64)),
        legend = WIDTH - 120,
        legend_text = WIDTH - 94,
    );
    let center = MARGIN + 95;
    let image = graph.input();
    let mut boxes = vec![Boxed {
        name: "image".to_owned(),
        shape: image.to_vec(),
        params: 0,
        trainable: 0,
        parts: String::new(),
        stride: None,
    }];
    boxes.extend((0..stages.len()).map(|index| boxed(graph, index, options.freezing)));
    for (index, stage) in boxes.iter().enumerate() {
        let y = TOP + index * (ROW + GAP);
        draw(
            &mut svg,
            stage,
            y,
            center,
            image.get(1).copied().unwrap_or(1),
        );
        if index + 1 < boxes.len() {
            let _ = writeln!(
                svg,
                r##"<line x1="{center}" y1="{from}" x2="{center}" y2="{to}" stroke="#555" stroke-width="1.5" marker-end="url(#arrow)"/>"##,
                from = y + ROW,
                to = y + ROW + GAP - 1,
            );
        }
    }
    let skips = skips(graph);
    for (lane, [from, to]) in skips.iter().enumerate() {
        let middle = |index: usize| TOP + index * (ROW + GAP) + ROW / 2;
        let x = MARGIN as f64 * (1.0 - (lane + 1) as f64 / (skips.len() + 1) as f64);
        let _ = writeln!(
            svg,
            r##"<path d="M{MARGIN} {from} H{x:.1} V{to} H{MARGIN}" fill="none" stroke="#555" stroke-width="1.5" marker-end="url(#arrow)"/>"##,
            from = middle(*from) + ROW / 6,
            to = middle(*to) - ROW / 6,
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// Pairs of boxes of which the second takes something of the first's and does not follow it. The image is the first
/// box.
fn skips(graph: &Graph) -> BTreeSet<[usize; 2]> {
    let stages = graph.stages();
    let box_of = |value: usize| match value.checked_sub(1) {
        None => Some(0),
        Some(node) => {
            let stage = stages.iter().position(|stage| stage.nodes.contains(&node));
            stage.map(|stage| stage + 1)
        }
    };
    let mut skips = BTreeSet::new();
    for (index, stage) in stages.iter().enumerate() {
        let taken = graph.main_of_stage(stage).flat_map(|node| &node.inputs);
        let from = taken.filter_map(|&value| box_of(value));
        skips.extend(
            from.filter(|from| *from < index)
                .map(|from| [from, index + 1]),
        );
    }
    skips
}

/// One box of the drawing.
struct Boxed {
    name: String,
    shape: Vec<usize>,
    params: usize,
    trainable: usize,
    parts: String,
    stride: Option<usize>,
}

fn boxed(graph: &Graph, index: usize, freezing: &Freezing) -> Boxed {
    let stage = &graph.stages()[index];
    let (mut params, mut trainable) = (0, 0);
    for (layer, spec) in graph.layers().iter().enumerate() {
        if graph.stage_of_layer(LayerId(layer)) == index {
            params += spec.parameter_count();
            trainable += freezing.trainable(spec);
        }
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut order: Vec<&str> = Vec::new();
    for node in graph.main_of_stage(stage) {
        let name = node.op.name();
        let count = counts.entry(name).or_default();
        if *count == 0 {
            order.push(name);
        }
        *count += 1;
    }
    let parts: Vec<String> = order
        .iter()
        .map(|name| match counts[name] {
            1 => (*name).to_owned(),
            n => format!("{n} {name}"),
        })
        .collect();
    Boxed {
        name: stage.name.clone(),
        shape: stage.shape.clone(),
        params,
        trainable,
        parts: parts.join(", "),
        stride: stage.stride,
    }
}

fn draw(svg: &mut String, stage: &Boxed, y: usize, center: usize, image_side: usize) {
    let (fill, stroke) = match (stage.params, stage.trainable) {
        (0, _) => ("#f1f1f1", "#777"),
        (_, 0) => ("url(#frozen)", "#3b6ea5"),
        _ => ("#ffd9b0", "#c8640a"),
    };
    let _ = writeln!(
        svg,
        r##"<rect x="{MARGIN}" y="{y}" width="{width}" height="{ROW}" rx="8" fill="#fafafa" stroke="#ddd"/>"##,
        width = WIDTH - 2 * MARGIN,
    );
    // The slab: as wide as the channels say, as high as the maps, both on a scale the eye can follow.
    let (channels, rows) = match stage.shape[..] {
        [channels, rows, _] => (channels, rows),
        [tokens, width] => (width, (tokens as f64).sqrt() as usize),
        [width] => (width, 1),
        _ => (1, 1),
    };
    let slab_width = (12.0 + 16.0 * (channels as f64).log2()).clamp(12.0, 180.0);
    let share = (rows as f64 / image_side as f64).sqrt().min(1.0);
    let slab_height = (8.0 + 56.0 * share).round();
    let _ = writeln!(
        svg,
        r##"<rect x="{x:.0}" y="{top:.0}" width="{slab_width:.0}" height="{slab_height}" rx="3" fill="{fill}" stroke="{stroke}" stroke-width="1.5"/>"##,
        x = center as f64 - slab_width / 2.0,
        top = y as f64 + (ROW as f64 - slab_height) / 2.0,
    );
    let shape = stage
        .shape
        .iter()
        .map(usize::to_string)
        .collect::<Vec<_>>()
        .join(" × ");
    let stride = match stage.stride {
        Some(stride) if stride > 1 => format!(" · stride {stride}"),
        _ => String::new(),
    };
    let _ = writeln!(
        svg,
        r##"<text x="{TEXT}" y="{line}" font-size="16" font-weight="600" fill="#1a1a1a">{name}</text><text x="{right}" y="{line}" font-size="14" text-anchor="end" fill="#1a1a1a">{shape}{stride}</text>"##,
        line = y + 27,
        name = escape(&stage.name),
        right = WIDTH - MARGIN - 16,
    );
    if stage.params == 0 {
        return;
    }
    let state = match stage.trainable {
        0 => "frozen".to_owned(),
        n if n == stage.params => "trains".to_owned(),
        n => format!("{} of them train", grouped(n)),
    };
    let beside = (WIDTH - MARGIN - 16 - TEXT) as f64;
    let _ = writeln!(
        svg,
        r##"<text x="{TEXT}" y="{line}" font-size="13" fill="#333">{params} parameters, {state}</text><text x="{TEXT}" y="{below}" font-size="{PARTS}" fill="#666">{parts}</text>"##,
        line = y + 49,
        params = grouped(stage.params),
        below = y + 69,
        parts = escape(&shortened(
            &stage.parts,
            (beside / (LETTER * PARTS)) as usize
        )),
    );
}

/// As much of a list as fits.
fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most).collect();
    let end = kept.rfind(", ").unwrap_or(kept.len());
    format!("{}, …", &kept[..end])
}

/// Text as it stands inside SVG or HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::find;

    fn drawn(name: &str) -> (usize, String) {
        let graph = find(name).unwrap().published_whole_graph();
        let freezing = Freezing::none(&graph);
        let title = format!("{name} · 520×520 pixels · 21 classes");
        let options = Diagram {
            title: &title,
            freezing: &freezing,
        };
        (graph.stages().len(), diagram(&graph, &options))
    }

    /// torchvision's LR-ASPP joins the maps of `c2` with the last; FCN's classifier sees the last alone.
    #[test]
    fn a_stage_that_takes_an_earlier_ones_maps_has_an_arrow_from_there() {
        for (name, skips) in [("lraspp_mobilenet_v3_large", 1), ("fcn_resnet50", 0)] {
            let (stages, svg) = drawn(name);
            let arrows = svg.matches("marker-end").count();
            assert_eq!(arrows, stages + skips, "{name}");
            assert_eq!(svg.matches(" fill=\"none\"").count(), skips, "{name}");
        }
    }

    #[test]
    fn a_long_title_ends_before_the_legend() {
        let (_, svg) = drawn("deeplabv3_mobilenet_v3_large");
        let size = svg.split("y=\"38\" font-size=\"").nth(1).unwrap();
        let size: f64 = size.split('"').next().unwrap().parse().unwrap();
        assert!(size < TITLE && size > 18.0, "{size}");
        let (_, short) = drawn("vgg11");
        assert!(short.contains("font-size=\"22.0\""));
    }
}
