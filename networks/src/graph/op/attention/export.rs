//! Attention as ONNX operators.

use super::parts::{Attention, Neighbourhood, Packing};
use super::positions::shift_mask;
use crate::graph::layer::LayerId;
use crate::graph::op::operation::Site;
use crate::onnx::Attribute::Int;
use crate::onnx::{Name, OnnxError, Writer};

/// Writes attention over tokens `[T, C]` or maps `[H, W, C]`.
pub(super) fn attention(
    parts: &Attention,
    site: &Site,
    x: &str,
    writer: &mut Writer,
) -> Result<Name, OnnxError> {
    let mut export = Export {
        parts,
        site,
        writer,
    };
    match *site.inputs[0] {
        [tokens, width] => export.attend(x, tokens, width, None),
        [height, width, channels] => export.in_windows(x, [height, width, channels]),
        _ => Ok(x.to_owned()),
    }
}

struct Export<'a, 'w> {
    parts: &'a Attention,
    site: &'a Site<'a>,
    writer: &'a mut Writer<'w>,
}

impl Export<'_, '_> {
    /// Attention within each sequence of `t` tokens of this width; `mask` is `[windows, t, t]`.
    fn attend(
        &mut self,
        x: &str,
        t: usize,
        width: usize,
        mask: Option<(usize, Vec<f32>)>,
    ) -> Result<Name, OnnxError> {
        let parts = self.parts;
        let (heads, depth) = (parts.heads, width / parts.heads);
        let qkv = self.project(x, parts.qkv, parts.logit_scale.map(|_| width))?;
        let packed = match parts.packing {
            Packing::Projection => {
                let split = self.writer.reshape(&qkv, &[t, 3, heads, depth]);
                self.writer.transpose(&split, &[2, 0, 3, 1, 4])
            }
            Packing::Head => {
                let split = self.writer.reshape(&qkv, &[t, heads, 3, depth]);
                self.writer.transpose(&split, &[3, 0, 2, 1, 4])
            }
        };
        let [q, k, v] = [0, 1, 2].map(|part| {
            let index = self.writer.scalar("part", part);
            self.writer
                .op("Gather", &[&packed, &index], &[Int("axis", 0)])
        });
        let [q, k] = match parts.logit_scale {
            Some(_) => [self.writer.unit(&q), self.writer.unit(&k)],
            None => [q, k],
        };
        let scale = match parts.logit_scale {
            Some(layer) => {
                let (_, values) = self.writer.values(&self.site.layers[layer.0].name)?;
                let most = 100.0_f32.ln();
                let values: Vec<f32> = values.iter().map(|v| v.min(most).exp()).collect();
                self.writer
                    .floats("logit_scale", &[1, heads, 1, 1], &values)
            }
            None => self
                .writer
                .floats("attention_scale", &[], &[parts.scale as f32]),
        };
        let k = self.writer.transpose(&k, &[0, 1, 3, 2]);
        let q = match parts.logit_scale {
            Some(_) => q,
            None => self.writer.op("Mul", &[&q, &scale], &[]),
        };
        let mut scores = self.writer.op("MatMul", &[&q, &k], &[]);
        if parts.logit_scale.is_some() {
            scores = self.writer.op("Mul", &[&scores, &scale], &[]);
        }
        let number = |name: &str| self.writer.values(name).map(|(_, values)| values);
        if let Some(bias) = parts.position_bias(self.site.layers, t, number)? {
            let bias = self
                .writer
                .floats("position_bias", &[1, heads, t, t], &bias);
            scores = self.writer.op("Add", &[&scores, &bias], &[]);
        }
        if let Some((windows, mask)) = mask {
            let mask = self
                .writer
                .floats("shift_mask", &[1, windows, 1, t, t], &mask);
            let split = self.writer.reshape(&scores, &[windows, heads, t, t]);
            let masked = self.writer.op("Add", &[&split, &mask], &[]);
            scores = self.writer.reshape(&masked, &[heads, t, t]);
        }
        let shares = self.writer.op("Softmax", &[&scores], &[Int("axis", -1)]);
        let mixed = self.writer.op("MatMul", &[&shares, &v], &[]);
        let mixed = self.writer.transpose(&mixed, &[0, 2, 1, 3]);
        let mixed = self.writer.reshape(&mixed, &[t, width]);
        self.project(&mixed, parts.output, None)
    }

    /// A projection; `keyless` is the width of a packed one whose keys get no bias.
    fn project(
        &mut self,
        x: &str,
        layer: LayerId,
        keyless: Option<usize>,
    ) -> Result<Name, OnnxError> {
        let name = self.site.parameter(layer, 0);
        let (_, weight) = self.writer.values(&name)?;
        let mut bias = self
            .writer
            .values(&self.site.parameter(layer, 1))?
            .1
            .to_vec();
        if let Some(width) = keyless {
            bias[width..2 * width].fill(0.0);
        }
        self.writer.projected(x, &name, weight, Some(&bias))
    }

    /// Cuts maps `[H, W, C]` into windows, attends in each, and puts them together again.
    fn in_windows(
        &mut self,
        x: &str,
        [height, width, channels]: [usize; 3],
    ) -> Result<Name, OnnxError> {
        match self.parts.neighbourhood {
            Neighbourhood::All => {
                let t = height * width;
                let tokens = self.writer.reshape(x, &[t, channels]);
                let mixed = self.attend(&tokens, t, channels, None)?;
                Ok(self.writer.reshape(&mixed, self.site.output))
            }
            Neighbourhood::Block { side } => self.tiled(x, [height, width], side, channels, None),
            Neighbourhood::Grid { side } => {
                let (rows, columns) = (height / side, width / side);
                let t = side * side;
                let split = self
                    .writer
                    .reshape(x, &[side, rows, side, columns, channels]);
                let grids = self.writer.transpose(&split, &[0, 2, 4, 1, 3, 5]);
                let grids = self.writer.reshape(&grids, &[t, channels]);
                let mixed = self.attend(&grids, t, channels, None)?;
                let mixed = self
                    .writer
                    .reshape(&mixed, &[rows, columns, side, side, channels]);
                let mixed = self.writer.transpose(&mixed, &[0, 3, 1, 4, 2, 5]);
                Ok(self.writer.reshape(&mixed, &[height, width, channels]))
            }
            Neighbourhood::Window { side, shift } => {
                let full = [height, width].map(|length| length.next_multiple_of(side));
                let shifts = full.map(|length| if side >= length { 0 } else { shift });
                let mut x = self.writer.pad_maps(x, full[0] - height, full[1] - width);
                x = self.writer.rolled(&x, 1, shifts[0], full[0]);
                x = self.writer.rolled(&x, 2, shifts[1], full[1]);
                let windows = full[0] / side * (full[1] / side);
                let mask = (shifts != [0, 0]).then(|| (windows, shift_mask(full, side, shifts)));
                x = self.tiled(&x, full, side, channels, mask)?;
                x = self
                    .writer
                    .rolled(&x, 1, (full[0] - shifts[0]) % full[0], full[0]);
                x = self
                    .writer
                    .rolled(&x, 2, (full[1] - shifts[1]) % full[1], full[1]);
                if full[0] > height {
                    x = self.writer.slice(&x, 1, 0, height);
                }
                if full[1] > width {
                    x = self.writer.slice(&x, 2, 0, width);
                }
                Ok(x)
            }
        }
    }

    /// Attention in the windows that tile a map.
    fn tiled(
        &mut self,
        x: &str,
        [height, width]: [usize; 2],
        side: usize,
        channels: usize,
        mask: Option<(usize, Vec<f32>)>,
    ) -> Result<Name, OnnxError> {
        let (rows, columns, t) = (height / side, width / side, side * side);
        let split = self
            .writer
            .reshape(x, &[rows, side, columns, side, channels]);
        let windows = self.writer.transpose(&split, &[0, 1, 3, 2, 4, 5]);
        let windows = self.writer.reshape(&windows, &[t, channels]);
        let mixed = self.attend(&windows, t, channels, mask)?;
        let mixed = self
            .writer
            .reshape(&mixed, &[rows, columns, side, side, channels]);
        let mixed = self.writer.transpose(&mixed, &[0, 1, 3, 2, 4, 5]);
        Ok(self.writer.reshape(&mixed, &[height, width, channels]))
    }
}
