//! Writing a network down: each step is a method of the value that it acts on.
//!
//! A family's file reads like its paper:
//!
//! ```
//! use rekindle_networks::graph::{Conv, Norm, Options, sketch};
//!
//! let graph = sketch([3, 224, 224], &Options::default(), |image| {
//!     image
//!         .conv("conv1", Conv::new(64, 7).stride(2))
//!         .batch_norm("bn1", Norm::TORCH)
//!         .relu()
//!         .stage("stem")
//! })?;
//! assert_eq!(graph.stages()[0].shape, [64, 112, 112]);
//! # Ok::<(), rekindle_networks::graph::GraphError>(())
//! ```
use std::cell::RefCell;
use std::rc::Rc;

use super::sheet::{Options, Sheet};
use super::value::Value;
use super::{Drawn, Graph, GraphError, Output};

/// What a network puts out, by name.
#[derive(Clone)]
pub struct Outputs(Vec<(String, Value)>);

impl Outputs {
    /// These values under these names.
    pub fn named<N: Into<String>>(outputs: impl IntoIterator<Item = (N, Value)>) -> Self {
        let outputs = outputs.into_iter();
        Self(outputs.map(|(name, value)| (name.into(), value)).collect())
    }
}

/// A single output, called `output`.
impl From<Value> for Outputs {
    fn from(value: Value) -> Self {
        Self::named([("output", value)])
    }
}

/// Writes a network down, from a value of this shape to what `describe` returns.
///
/// # Shapes
///
/// - input: without the batch; `[C, H, W]` of an image
///
/// # Errors
///
/// When the input is too small for the network, or of a size that it cannot take, and when the text is wrong: two
/// layers of one name, steps after the last stage.
pub fn sketch<O: Into<Outputs>>(
    input: impl Into<Vec<usize>>,
    options: &Options,
    describe: impl FnOnce(Value) -> O,
) -> Result<Graph, GraphError> {
    let input = input.into();
    let sheet = Rc::new(RefCell::new(Sheet {
        options: *options,
        input: input.clone(),
        ..Sheet::default()
    }));
    let outputs = describe(Value {
        id: 0,
        shape: input.clone(),
        stride: Some(1),
        sheet: Rc::clone(&sheet),
    });
    let Outputs(outputs) = outputs.into();
    let outputs: Vec<Output> = outputs
        .into_iter()
        .map(|(name, value)| Output {
            name,
            value: value.id,
            auxiliary: false,
        })
        .collect();
    let mut sheet = sheet.take();
    if let Some(node) = sheet.nodes.get(sheet.staged) {
        sheet.error.get_or_insert(GraphError {
            step: node.name.clone(),
            op: node.op.name(),
            what: "stands behind the last stage",
            input: node.shape.clone(),
        });
    }
    if let Some(error) = sheet.error {
        return Err(error);
    }
    Ok(Graph::new(Drawn {
        input,
        nodes: sheet.nodes,
        layers: sheet.layers,
        constants: sheet.constants,
        stages: sheet.stages,
        outputs: outputs.into_iter().chain(sheet.auxiliary).collect(),
        taps: sheet
            .taps
            .into_iter()
            .map(|tap| (tap.name, tap.id))
            .collect(),
        backbone_stages: sheet.backbone,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Conv, LayerId, Pool};

    #[test]
    fn a_layer_that_is_written_twice_serves_two_steps_and_is_counted_once() {
        let graph = sketch([3, 8, 8], &Options::default(), |image| {
            let stem = image.conv("stem", Conv::new(4, 1).bias()).stage("stem");
            let head = |x: &Value| x.within("head", |x| x.conv("conv", Conv::new(4, 3).bias()));
            let once = head(&stem);
            let twice = head(&once);
            (once + twice).stage("head")
        })
        .unwrap();
        assert_eq!(graph.layers().len(), 2);
        assert_eq!(graph.parameter_count(), 3 * 4 + 4 + 4 * 4 * 9 + 4);
        let of = |name: &str| {
            graph
                .nodes()
                .iter()
                .filter(|node| node.name == name)
                .count()
        };
        assert_eq!(of("head.conv"), 2);
        // It works twice all the same.
        assert_eq!(graph.macs(), 8 * 8 * (3 * 4 + 2 * 4 * 4 * 9));
        assert_eq!(graph.stage_of_layer(LayerId(1)), 1);
    }

    #[test]
    fn outputs_taps_and_stages_are_found_by_name_and_side_branches_are_left_out() {
        let options = Options {
            auxiliary: Some(7),
            ..Options::default()
        };
        let graph = sketch([3, 8, 8], &options, |image| {
            let stem = image.conv("stem", Conv::new(4, 3)).tap("low").stage("stem");
            stem.auxiliary_output("aux", "aux_classifier", |x, classes| {
                x.conv("0", Conv::new(classes, 1))
            });
            let deep = stem
                .max_pool(Pool::new(2, 2))
                .conv("deep", Conv::new(4, 1))
                .stage("deep");
            let pooled = deep.global_average().flatten().tap("features");
            assert_eq!(pooled.shape(), [4]);
            let low = deep.tapped("low");
            assert_eq!((low.size(), deep.input_size()), ([8, 8], [8, 8]));
            let joined = Value::concat(&[low.max_pool(Pool::new(2, 2)), deep]);
            Outputs::named([("out", joined.stage("head"))])
        })
        .unwrap();
        let names: Vec<_> = graph
            .outputs()
            .iter()
            .map(|o| (o.name.as_str(), o.auxiliary))
            .collect();
        assert_eq!(names, [("out", false), ("aux", true)]);
        assert_eq!(graph.shape_of(graph.value("aux").unwrap()), [7, 8, 8]);
        assert_eq!(graph.shape_of(graph.output()), [8, 4, 4]);
        assert_eq!(graph.shape_of(graph.value("deep").unwrap()), [4, 4, 4]);
        assert_eq!(graph.features(), 4);
        // The auxiliary convolution and the pool for the features are on no way to the output.
        let main: Vec<_> = graph.main().map(|(_, node)| node.op.name()).collect();
        assert_eq!(
            main,
            ["Conv2d", "MaxPool2d", "Conv2d", "MaxPool2d", "Concat"]
        );
        assert_eq!(graph.macs(), 64 * 4 * 27 + 16 * 4 * 4);
        let aux = graph.layer_of("aux_classifier.0.weight").unwrap();
        assert_eq!(graph.stages()[graph.stage_of_layer(aux)].name, "deep");
    }

    #[test]
    fn a_network_may_begin_with_anything() {
        let graph = sketch([16], &Options::default(), |x| {
            x.linear("fc", 3).stage("head")
        });
        assert_eq!(graph.unwrap().shape_of(1), [3]);
    }

    #[test]
    fn a_text_that_is_wrong_is_told_and_not_run() {
        let behind = sketch([3, 8, 8], &Options::default(), |x| {
            x.relu().stage("all").conv("late", Conv::new(4, 1))
        });
        let behind = behind.unwrap_err().to_string();
        assert!(
            behind.contains("'late' stands behind the last stage"),
            "{behind}"
        );
        let missing = sketch([3, 8, 8], &Options::default(), |x| {
            x.relu().tapped("nowhere").stage("all")
        });
        let missing = missing.unwrap_err().to_string();
        assert!(missing.contains("'nowhere'"), "{missing}");
        // Of several mistakes the first is told; the text is read to its end all the same.
        let small = sketch([3, 2, 2], &Options::default(), |x| {
            let pooled = x.max_pool(Pool::new(3, 2));
            pooled
                .conv("wide", Conv::new(8, 5).padding(0))
                .flatten()
                .linear("fc", 2)
                .stage("all")
        });
        assert!(small.unwrap_err().to_string().starts_with("MaxPool2d"));
    }

    #[test]
    fn two_layers_of_one_name_are_an_error() {
        let error = sketch([3, 8, 8], &Options::default(), |image| {
            image
                .conv("a", Conv::new(4, 1))
                .conv("a", Conv::new(4, 1))
                .stage("all")
        })
        .unwrap_err();
        assert!(
            error.to_string().contains("'a' has the name of another"),
            "{error}"
        );
    }
}
