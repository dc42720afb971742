//! Which stages of a backbone hold blocks: what `--tune last:N` counts, and where gradual unfreezing cuts.
//!
//! A stage holds blocks where it mixes places (a convolution over neighbours, or attention). It is read off the steps,
//! not off names:
//!
//! - A trailing norm, a trailing 1×1 convolution and hidden linear layers mix no places. They are behind the last
//!   stage that holds blocks, and train with it.
//! - Nor does a downsampling step: each of its windows is seen once (ConvNeXt's 2×2 convolution of stride 2, Swin's
//!   merging of patches, DenseNet's transition). It trains with what stands behind it.
//! - The first stage of a network that branches (residuals, gates, or maps side by side) is its stem, unless it
//!   branches itself. Networks without branches (AlexNet, VGG) are convolutions from the first stage to the last, and
//!   each counts.
//! - Stages that resize maps are pyramids and decoders, not blocks.
//!
//! In a transformer whose layers are stages (ViT) each encoder layer counts; `last` is then the last two of them.

use rekindle_networks::graph::{Convolution, Graph, Node, Op, Stage};
use thiserror::Error;

/// There are not so many stages that hold blocks.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "the last {asked} stages cannot train: {} of this network hold blocks ({}); ask for 1 to {}",
    stages.len(),
    stages.join(", "),
    stages.len()
)]
pub struct TooFew {
    asked: usize,
    stages: Vec<String>,
}

/// The stages of the backbone that hold blocks, first to last.
pub fn holding_blocks(graph: &Graph) -> Vec<usize> {
    let backbone = &graph.stages()[..graph.backbone_stages()];
    let branches = |stage: &Stage| graph.main_of_stage(stage).any(is_branch);
    let has_stem = backbone.iter().any(branches);
    let mut holding = Vec::new();
    let mut is_first = true;
    for (index, stage) in backbone.iter().enumerate() {
        let mixes = graph.main_of_stage(stage).any(mixes_places);
        let resizes = graph
            .main_of_stage(stage)
            .any(|node| matches!(node.op, Op::Resize(_)));
        // What only stands in front, such as a norm of the image, leaves the stem to come.
        let is_stem = is_first && has_stem && !branches(stage);
        let has_layers = graph
            .main_of_stage(stage)
            .any(|node| !node.op.layers().is_empty());
        is_first &= !has_layers;
        if mixes && !resizes && !is_stem {
            holding.push(index);
        }
    }
    holding
}

/// The first of the last `count` stages that hold blocks: what stands before it is frozen when the last `count` train.
///
/// # Errors
///
/// When `count` is 0 or there are fewer.
pub fn last(graph: &Graph, count: usize) -> Result<usize, TooFew> {
    let holding = holding_blocks(graph);
    let first = holding.len().checked_sub(count.max(1));
    match (first, count) {
        (Some(first), 1..) => Ok(holding[first]),
        _ => Err(TooFew {
            asked: count,
            stages: holding
                .iter()
                .map(|&stage| graph.stages()[stage].name.clone())
                .collect(),
        }),
    }
}

/// More stages than this that hold blocks are the layers of a transformer rather than stages of falling resolution.
const MANY: usize = 8;

/// The stages from which on a network trains, phase after phase of gradual unfreezing, behind a first phase of the
/// head alone: those that hold blocks from the last to the first, and 0, the whole network, at the end. Where there
/// are more than eight of them (ViT's layers), a quarter of them thaws in each phase: as many phases as a network of
/// four stages has.
pub fn gradual(graph: &Graph) -> Vec<usize> {
    let holding = holding_blocks(graph);
    let together = match holding.len() {
        many if many > MANY => many.div_ceil(4),
        _ => 1,
    };
    let phases = holding.rchunks(together);
    let mut firsts: Vec<usize> = phases.filter_map(|phase| phase.first().copied()).collect();
    if firsts.last() != Some(&0) {
        firsts.push(0);
    }
    firsts
}

/// Whether a step joins branches.
fn is_branch(node: &Node) -> bool {
    match node.op {
        Op::Add(_) | Op::Multiply(_) | Op::Attention(_) => true,
        Op::Concat(_) => node.inputs.len() > 1,
        _ => false,
    }
}

/// Whether a step lets each place see others, so that neighbouring outputs share what they see: downsampling in
/// windows that do not overlap does not.
pub(super) fn mixes_places(node: &Node) -> bool {
    match &node.op {
        Op::Attention(_) => true,
        Op::Convolution(Convolution { conv, .. }) => {
            (0..2).any(|axis| conv.kernel[axis] > 1 && conv.kernel[axis] > conv.stride[axis])
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use rekindle_networks::backbone::{architectures, find};
    use rekindle_networks::graph::{Conv, Options, Resample, Value, sketch};

    use super::*;

    fn names(graph: &Graph, stages: &[usize]) -> Vec<String> {
        let name = |&stage: &usize| graph.stages()[stage].name.clone();
        stages.iter().map(name).collect()
    }

    /// The stages of an architecture that hold blocks, as people who know the family list them.
    fn expected(family: &str, name: &str) -> Vec<String> {
        let numbered = |stem: &str, range: std::ops::Range<usize>| -> Vec<String> {
            range.map(|number| format!("{stem}{number}")).collect()
        };
        match family {
            "AlexNet" => numbered("block", 1..4),
            "VGG" => numbered("block", 1..6),
            "DenseNet" => numbered("denseblock", 1..5),
            "GoogLeNet" => numbered("inception", 3..6),
            "Inception" => numbered("mixed", 5..8),
            "SqueezeNet" => numbered("stage", 1..4),
            "ShuffleNet" => numbered("stage", 2..5),
            "MobileNetV2" | "EfficientNet" => numbered("stage", 1..8),
            "MobileNetV3 small" => numbered("stage", 1..5),
            "MobileNetV3 large" => numbered("stage", 1..6),
            "MNASNet" | "EfficientNetV2 S" => numbered("stage", 1..7),
            "MobileNetV4" => numbered("blocks.", 0..4),
            "EfficientNet-Lite" => numbered("blocks.", 0..7),
            "RegNet" | "MaxViT" => numbered("block", 1..5),
            "ConvNeXt" | "Swin" => numbered("stage", 1..5),
            "CoAtNet" => numbered("stages.", 0..4),
            "ViT 12" => numbered("encoder_layer_", 0..12),
            "ViT 24" => numbered("encoder_layer_", 0..24),
            "ViT 32" => numbered("encoder_layer_", 0..32),
            "timm ViT" => numbered("blocks.", 0..12),
            "ResNet" => numbered("layer", 1..5),
            _ => panic!("{name}"),
        }
    }

    /// Which of those a name is of.
    const FAMILIES: [(&str, &str); 33] = [
        ("alexnet", "AlexNet"),
        ("vgg", "VGG"),
        ("densenet", "DenseNet"),
        ("googlenet", "GoogLeNet"),
        ("inception_v3", "Inception"),
        ("squeezenet", "SqueezeNet"),
        ("shufflenet", "ShuffleNet"),
        ("mobilenet_v2", "MobileNetV2"),
        ("mobilenet_v3_small", "MobileNetV3 small"),
        ("mobilenet_v3_large", "MobileNetV3 large"),
        ("deeplabv3_mobilenet_v3_large", "MobileNetV3 large"),
        ("lraspp_mobilenet_v3_large", "MobileNetV3 large"),
        ("mnasnet", "MNASNet"),
        ("mobilenetv4", "MobileNetV4"),
        ("efficientnet_lite", "EfficientNet-Lite"),
        ("efficientnet_v2_s", "EfficientNetV2 S"),
        ("efficientnet", "EfficientNet"),
        ("regnet", "RegNet"),
        ("maxvit", "MaxViT"),
        ("convnext", "ConvNeXt"),
        ("swin", "Swin"),
        ("coatnet", "CoAtNet"),
        ("vit_b", "ViT 12"),
        ("vit_l", "ViT 24"),
        ("vit_h", "ViT 32"),
        ("vit_tiny", "timm ViT"),
        ("vit_small", "timm ViT"),
        ("vit_base", "timm ViT"),
        ("resnet", "ResNet"),
        ("resnext", "ResNet"),
        ("wide_resnet", "ResNet"),
        ("fcn_resnet", "ResNet"),
        ("deeplabv3_resnet", "ResNet"),
    ];

    fn family(name: &str) -> &'static str {
        if name.starts_with("vit_base_patch") {
            return "timm ViT";
        }
        let mut families = FAMILIES.iter();
        let found = families.find(|(start, _)| name.starts_with(start));
        found.unwrap_or_else(|| panic!("{name}")).1
    }

    #[test]
    fn the_stages_of_every_network_that_hold_blocks_are_those_that_people_call_so() {
        for architecture in architectures() {
            let (name, graph) = (architecture.name, architecture.published_whole_graph());
            let holding = holding_blocks(&graph);
            let expected = expected(family(name), name);
            assert_eq!(names(&graph, &holding), expected, "{name}");
            let cut = last(&graph, 2).unwrap();
            assert_eq!(cut, holding[holding.len() - 2], "{name}");
            println!("{name}: the last two from {} on", names(&graph, &[cut])[0]);
            assert!(last(&graph, holding.len()).is_ok());
            let told = last(&graph, holding.len() + 1).unwrap_err().to_string();
            assert!(told.contains(&expected[0]), "{told}");
            assert!(last(&graph, 0).is_err());
        }
    }

    #[test]
    fn gradual_unfreezing_goes_stage_by_stage_to_the_image() {
        let stages = |name: &str| {
            let graph = find(name).unwrap().published_whole_graph();
            names(&graph, &gradual(&graph))
        };
        assert_eq!(
            stages("resnet18"),
            ["layer4", "layer3", "layer2", "layer1", "stem"]
        );
        assert_eq!(
            stages("vgg11"),
            ["block5", "block4", "block3", "block2", "block1"]
        );
        assert_eq!(stages("mobilenet_v3_small")[..2], ["stage4", "stage3"]);
        assert_eq!(
            stages("vit_b_16"),
            [
                "encoder_layer_9",
                "encoder_layer_6",
                "encoder_layer_3",
                "encoder_layer_0",
                "patch_embed"
            ]
        );
    }

    #[test]
    fn a_downsampling_stage_and_a_pyramid_hold_no_blocks() {
        let graph = sketch([3, 64, 64], &Options::default(), |image| {
            let block =
                |x: &Value, name: &str| x.conv(name, Conv::new(x.channels(), 3)) + x.clone();
            let stem = image.conv("stem", Conv::new(4, 3)).stage("stem");
            let one = block(&stem, "one").stage("one");
            let halved = one
                .conv("halve", Conv::new(8, 2).stride(2).padding(0))
                .stage("halved");
            let two = block(&halved, "two").stage("two");
            let last = two.conv("last", Conv::new(16, 1)).stage("last");
            let fine = last.resize([64, 64], Resample::Nearest);
            let joined = fine.conv("lateral", Conv::new(4, 3)) + one;
            joined.stage("pyramid")
        })
        .unwrap();
        assert_eq!(names(&graph, &holding_blocks(&graph)), ["one", "two"]);
        assert_eq!(names(&graph, &gradual(&graph)), ["two", "one", "stem"]);
        assert_eq!(names(&graph, &[last(&graph, 1).unwrap()]), ["two"]);
    }
}
