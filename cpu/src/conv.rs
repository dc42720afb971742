//! Convolutions and linear layers: which algorithm computes which.

use crate::activation::Activation;
use crate::dense::Dense;
use crate::depthwise::Depthwise;
use crate::geometry::{ConvGeometry, Filters, Weights};
use crate::simd::Level;
use crate::strips;
use crate::view::{View, ViewMut};
use crate::winograd::Winograd;

/// A convolution's weights, packed for the algorithm that suits its shape.
#[derive(Debug)]
pub struct Conv {
    geometry: ConvGeometry,
    algorithm: Algorithm,
}

#[derive(Debug)]
enum Algorithm {
    Dense(Dense),
    Depthwise(Depthwise),
    Winograd(Winograd),
}

impl Conv {
    /// Packs weights and a bias `[output]`, or an empty one. `input_size` is the size of the maps that it will see most: it decides the
    /// algorithm, but maps of any size can be run.
    ///
    /// # Panics
    /// If the lengths do not fit the geometry.
    pub fn new(
        geometry: ConvGeometry,
        weights: Weights<'_>,
        bias: &[f32],
        input_size: [usize; 2],
    ) -> Self {
        geometry.check();
        let needed = geometry.output * (geometry.input / geometry.groups) * geometry.taps();
        assert_eq!(weights.numbers.len(), needed, "weights of {geometry:?}");
        assert!(
            weights.factors.is_empty() || weights.factors.len() == geometry.output,
            "{} factors for {} channels",
            weights.factors.len(),
            geometry.output
        );
        let filters = Filters::new(weights, &geometry);
        Self::packed(geometry, &filters, bias, input_size)
    }

    /// Packs weights that have been checked.
    pub(crate) fn packed(
        geometry: ConvGeometry,
        weights: &Filters<'_>,
        bias: &[f32],
        input_size: [usize; 2],
    ) -> Self {
        assert!(
            bias.is_empty() || bias.len() == geometry.output,
            "a bias of {} numbers for {} channels",
            bias.len(),
            geometry.output
        );
        let level = Level::best();
        let algorithm = if Depthwise::suits(&geometry) {
            Algorithm::Depthwise(Depthwise::new(level, geometry, weights, bias))
        } else if Winograd::suits(&geometry, input_size) {
            let winograd = Winograd::new(level, geometry, weights, bias, input_size);
            Algorithm::Winograd(winograd)
        } else {
            Algorithm::Dense(Dense::new(level, geometry, weights, bias))
        };
        Self {
            geometry,
            algorithm,
        }
    }

    /// Whether weights of this geometry would be packed as they are here for maps of this size.
    pub fn is_for(&self, geometry: &ConvGeometry, input_size: [usize; 2]) -> bool {
        let is_suited = match &self.algorithm {
            Algorithm::Depthwise(_) => true,
            Algorithm::Winograd(winograd) => winograd.is_for(geometry, input_size),
            Algorithm::Dense(_) => !Winograd::suits(geometry, input_size),
        };
        self.geometry == *geometry && is_suited
    }

    /// The shape.
    pub fn geometry(&self) -> &ConvGeometry {
        &self.geometry
    }

    /// One word for listings.
    pub fn algorithm(&self) -> &'static str {
        match &self.algorithm {
            Algorithm::Dense(dense) => dense.name(),
            Algorithm::Depthwise(_) => "depthwise",
            Algorithm::Winograd(_) => "winograd",
        }
    }

    /// Multiply-adds that are carried out for one image of so many rows and columns whose output has so many. By
    /// Winograd's method they are fewer than the convolution is made of; its transforms, which mostly add,
    /// are not among them. Depthwise kernels leave out the taps beyond the map's edges.
    pub fn multiply_adds(&self, input: [usize; 2], output: [usize; 2]) -> u64 {
        let geometry = &self.geometry;
        match &self.algorithm {
            Algorithm::Dense(_) => {
                let each = geometry.input / geometry.groups * geometry.taps() * geometry.output;
                (output[0] * output[1] * each) as u64
            }
            Algorithm::Depthwise(_) => {
                let inside = |axis: usize| -> usize {
                    let taps = (0..output[axis]).map(|at| {
                        let (first, last, _) = geometry.clip(axis, at, input[axis]);
                        last - first
                    });
                    taps.sum()
                };
                (inside(0) * inside(1) * geometry.output) as u64
            }
            Algorithm::Winograd(winograd) => winograd.multiply_adds(output),
        }
    }

    /// output = activation(conv(input) + bias \[+ residual\]). The output's rows and columns say how
    /// many there are; what a window reads beyond the input is zeros.
    ///
    /// # Panics
    /// If the views' shapes do not fit together.
    pub fn run(
        &self,
        input: View<'_>,
        residual: Option<View<'_>>,
        activation: Activation,
        output: ViewMut<'_>,
    ) {
        input.check();
        output.check();
        assert_eq!(input.channels, self.geometry.input, "channels of the input");
        assert_eq!(
            output.channels, self.geometry.output,
            "channels of the output"
        );
        assert_eq!(input.batch, output.batch, "maps of input and output");
        if let Some(residual) = &residual {
            residual.check();
            assert_eq!(
                [
                    residual.batch,
                    residual.rows,
                    residual.columns,
                    residual.channels
                ],
                [output.batch, output.rows, output.columns, output.channels],
                "the shape of what is added"
            );
        }
        if output.pixels() == 0 || output.channels == 0 {
            return;
        }
        match &self.algorithm {
            Algorithm::Dense(dense) => dense.run(input, residual, activation, output),
            Algorithm::Depthwise(depthwise) => depthwise.run(input, residual, activation, output),
            Algorithm::Winograd(winograd) => winograd.run(input, residual, activation, output),
        }
    }

    /// Whether [`Conv::run_before`] can compute this and a next convolution together.
    pub fn joins(&self, next: &Self) -> bool {
        matches!(
            (&self.algorithm, &next.algorithm),
            (Algorithm::Dense(_), Algorithm::Depthwise(_))
        ) && self.geometry.output == next.geometry.input
    }

    /// output = next(activation(conv(input) + bias)), with the next one's activation, strip by strip, so that the maps in
    /// between, of `size` rows and columns, are nowhere as a whole. The numbers are those of two runs.
    ///
    /// # Panics
    /// If the two do not [join](Conv::joins), or the views' shapes do not fit together.
    pub fn run_before(
        &self,
        activation: Activation,
        next: (&Self, Activation),
        input: View<'_>,
        size: [usize; 2],
        output: ViewMut<'_>,
    ) {
        input.check();
        output.check();
        assert_eq!(input.channels, self.geometry.input, "channels of the input");
        assert_eq!(
            output.channels, next.0.geometry.output,
            "channels of the output"
        );
        assert_eq!(input.batch, output.batch, "maps of input and output");
        assert!(
            self.joins(next.0),
            "{:?} before {:?}",
            self.geometry,
            next.0.geometry
        );
        if let (Algorithm::Dense(first), Algorithm::Depthwise(second)) =
            (&self.algorithm, &next.0.algorithm)
            && output.pixels() > 0
            && size[0] * size[1] > 0
        {
            strips::run((first, activation), (second, next.1), input, size, output);
        }
    }
}

/// A linear layer's weights, packed: y = activation(x Wᵀ + b \[+ residual\]) for every pixel or token.
#[derive(Debug)]
pub struct Linear(Conv);

impl Linear {
    /// Packs weights and a bias `[output]`, or an empty one.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn new(input: usize, output: usize, weights: Weights<'_>, bias: &[f32]) -> Self {
        let geometry = ConvGeometry::pointwise(input, output);
        Self(Conv::new(geometry, weights, bias, [1, 1]))
    }

    /// Numbers of a pixel that come in, and that go out.
    pub fn size(&self) -> [usize; 2] {
        let geometry = self.0.geometry();
        [geometry.input, geometry.output]
    }

    /// Multiplies every pixel.
    ///
    /// # Panics
    /// If the views' shapes do not fit together.
    pub fn run(
        &self,
        input: View<'_>,
        residual: Option<View<'_>>,
        activation: Activation,
        output: ViewMut<'_>,
    ) {
        assert_eq!(
            [input.rows, input.columns],
            [output.rows, output.columns],
            "pixels of input and output"
        );
        self.0.run(input, residual, activation, output);
    }
}
