//! A network as a table of layers, with the columns and totals that users of torchsummary and
//! torchinfo know.

use std::fmt;

use serde::Serialize;

use crate::graph::{Graph, LayerSpec};
use crate::parts::Freezing;

/// One module of the network, in the order of the forward pass.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// PyTorch's name for the kind of module, and its number: `Conv2d-1`.
    pub layer: String,
    /// Where it stands in the network: the module's name in the state_dict, or its surroundings'.
    pub name: String,
    /// The stage it belongs to.
    pub stage: String,
    /// The shape it puts out, the batch first.
    pub output: Vec<usize>,
    /// Its learnable numbers.
    pub params: usize,
    /// How many of them train.
    pub trainable: usize,
    /// Multiply-adds for one image.
    pub macs: u64,
}

/// The whole table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Images a batch.
    pub batch: usize,
    /// The shape of one image, `[C, H, W]`.
    pub input: Vec<usize>,
    /// The modules.
    pub rows: Vec<Row>,
    /// Learnable numbers.
    pub total_params: usize,
    /// Those that train.
    pub trainable_params: usize,
    /// Those that do not.
    pub non_trainable_params: usize,
    /// Multiply-adds for one image.
    pub macs: u64,
    /// Size of a batch of images, in units of 2²⁰ bytes (as all that follow).
    pub input_mb: f64,
    /// Size of all that the modules put out for a batch, and of its gradients.
    pub pass_mb: f64,
    /// Size of the parameters.
    pub params_mb: f64,
    /// All of it.
    pub total_mb: f64,
}

const BYTES: f64 = 4.0;
const MEGABYTE: f64 = (1 << 20) as f64;

impl Summary {
    /// Reads the table off a graph.
    pub fn new(graph: &Graph, freezing: &Freezing, batch: usize) -> Self {
        let mut rows: Vec<Row> = Vec::new();
        let mut outputs = 0;
        for stage in graph.stages() {
            for node in graph.main_of_stage(stage) {
                let Some(module) = node.op.torch_module() else {
                    continue;
                };
                let layers = node.op.layers();
                let specs = || layers.iter().map(|layer| &graph.layers()[layer.0]);
                let mut output = vec![batch];
                output.extend(&node.shape);
                outputs += output.iter().product::<usize>();
                rows.push(Row {
                    layer: format!("{module}-{}", rows.len() + 1),
                    name: node.name.clone(),
                    stage: stage.name.clone(),
                    output,
                    params: specs().map(LayerSpec::parameter_count).sum(),
                    trainable: specs().map(|layer| freezing.trainable(layer)).sum(),
                    macs: graph.node_macs(node),
                });
            }
        }
        let layers = graph.layers().iter();
        let trainable_params = layers.map(|layer| freezing.trainable(layer)).sum();
        let total_params = graph.parameter_count();
        let input = graph.input().to_vec();
        let input_mb = (input.iter().product::<usize>() * batch) as f64 * BYTES / MEGABYTE;
        let pass_mb = 2.0 * outputs as f64 * BYTES / MEGABYTE;
        let params_mb = total_params as f64 * BYTES / MEGABYTE;
        Self {
            batch,
            input,
            rows,
            total_params,
            trainable_params,
            non_trainable_params: total_params - trainable_params,
            macs: graph.macs(),
            input_mb,
            pass_mb,
            params_mb,
            total_mb: input_mb + pass_mb + params_mb,
        }
    }
}

/// Digits in groups of three: `4,652,008`.
pub fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// torchsummary's layout, to the letter.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let thin = "-".repeat(64);
        let thick = "=".repeat(64);
        writeln!(f, "{thin}")?;
        writeln!(
            f,
            "{:>20}  {:>25} {:>15}",
            "Layer (type)", "Output Shape", "Param #"
        )?;
        writeln!(f, "{thick}")?;
        for row in &self.rows {
            let shape = format!("{:?}", row.output);
            let params = grouped(row.params);
            writeln!(f, "{:>20}  {shape:>25} {params:>15}", row.layer)?;
        }
        writeln!(f, "{thick}")?;
        writeln!(f, "Total params: {}", grouped(self.total_params))?;
        writeln!(f, "Trainable params: {}", grouped(self.trainable_params))?;
        writeln!(
            f,
            "Non-trainable params: {}",
            grouped(self.non_trainable_params)
        )?;
        writeln!(f, "{thin}")?;
        writeln!(f, "Input size (MB): {:.2}", self.input_mb)?;
        writeln!(f, "Forward/backward pass size (MB): {:.2}", self.pass_mb)?;
        writeln!(f, "Params size (MB): {:.2}", self.params_mb)?;
        writeln!(f, "Estimated Total Size (MB): {:.2}", self.total_mb)?;
        write!(f, "{thin}")
    }
}
