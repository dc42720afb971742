//! Products of whole matrices in f32, for solvers: a few rows with one large matrix that stays.

#![allow(unsafe_code)] // Hands pointers to the product.

use crate::activation::Activation;
use crate::gemm::{BLOCK, Packed, Product};
use crate::simd::Level;
use crate::threads::{Output, chunk, chunks, parallel};

/// The right-hand side of products, packed once: `[depth, columns]`.
#[derive(Debug)]
pub struct Matrix(Packed);

impl Matrix {
    /// A matrix of zeros, to be filled row by row.
    pub fn zeros(depth: usize, columns: usize) -> Self {
        Self(Packed::zeros(Level::best(), 1, depth, columns))
    }

    /// The matrix whose columns lie one after the other in `columns`, `depth` elements each.
    ///
    /// # Panics
    /// If the length is no multiple of `depth`.
    pub fn of_columns(depth: usize, columns: &[f32]) -> Self {
        let count = columns.len() / depth.max(1);
        assert_eq!(columns.len(), count * depth, "elements of whole columns");
        let mut matrix = Self::zeros(depth, count);
        let column = |index: usize| (&columns[index * depth..][..depth], 1.0);
        matrix.0.fill_columns(count, column);
        matrix
    }

    /// The symmetric matrix of inner products that centred rows have, over `size`, made of those that
    /// the rows have as they are, or less any one vector. It is worked out in f64.
    ///
    /// # Shapes
    /// `products` is `[N, N]`, of which only what lies on and below the diagonal is read; `shares`,
    /// `[N]`, weighs the rows' mean, and adds up to one.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn of_centred(mut products: Vec<f32>, shares: &[f64], size: f64) -> Self {
        let count = shares.len();
        assert_eq!(products.len(), count * count, "products of all rows");
        Level::best().run(Centre {
            products: &mut products,
            shares,
            size,
        });
        let mut matrix = Self::zeros(count, count);
        for (index, row) in products.chunks_exact(count.max(1)).enumerate() {
            matrix.set_row(index, row);
        }
        matrix
    }

    /// Overwrites a row, of which `row` holds the elements.
    ///
    /// # Panics
    /// If there is no such row, or it has another length.
    pub fn set_row(&mut self, index: usize, row: &[f32]) {
        assert!(index < self.depth(), "row {index} of {}", self.depth());
        assert_eq!(row.len(), self.columns(), "elements of a row");
        self.0.fill_row(index, row);
    }

    /// Rows of the matrix: what is summed over.
    pub fn depth(&self) -> usize {
        self.0.depth()
    }

    /// Columns of the matrix.
    pub fn columns(&self) -> usize {
        self.0.columns()
    }

    /// `output = rows · self`, on all cores, summed in f32 in an order that depends on nothing but
    /// the shape and the processor's instructions.
    ///
    /// # Shapes
    /// `rows` is `[M, depth]`, `output` `[M, columns]`, both row-major.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn multiply(&self, rows: &[f32], output: &mut [f32]) {
        let (depth, columns) = (self.depth(), self.columns());
        let count = rows.len().checked_div(depth).unwrap_or(0);
        assert_eq!(rows.len(), count * depth, "elements of whole rows");
        if depth == 0 {
            return output.fill(0.0);
        }
        assert_eq!(output.len(), count * columns, "elements of the output");
        self.run(rows, output, |_| 0);
    }

    /// Multiplies, in each panel of columns, only the rows from `first` (of the panel's first
    /// column) on.
    fn run(&self, rows: &[f32], output: &mut [f32], first: impl Fn(usize) -> usize + Sync) {
        let (depth, columns) = (self.depth(), self.columns());
        let pointers = Rows(rows.chunks_exact(depth).map(<[f32]>::as_ptr).collect());
        let pointers = &pointers;
        let (count, panels) = (rows.len() / depth, self.0.panels());
        if count == 0 || columns == 0 {
            return;
        }
        let parts = chunks(panels, count * depth * columns);
        let output = Output::new(output);
        parallel(parts, |part| {
            let mine = chunk(panels, 1, part, parts);
            if mine.is_empty() {
                return;
            }
            let start = first(self.0.first_column(mine.start)).min(count);
            let blocks = (count - start).div_ceil(BLOCK);
            for block in 0..blocks {
                let inner = chunk(count - start, 1, block, blocks);
                let from = start + inner.start;
                let product = Product {
                    pointers: &pointers.0[from..][..inner.len()],
                    rows: inner.len(),
                    start: std::ptr::null(),
                    start_pitch: 0,
                    output: output.at(from * columns),
                    output_pitch: columns,
                    activation: Activation::None,
                };
                // SAFETY: the lengths were checked; parts differ in their panels.
                unsafe { self.0.multiply(&product, mine.clone()) };
            }
        });
    }
}

/// Where rows begin.
struct Rows(Vec<*const f32>);

// SAFETY: the pointers are only read through, and their slice outlives the parallel region.
unsafe impl Sync for Rows {}

/// The inner products of rows with one another.
///
/// # Shapes
/// `rows` is `[N, depth]` row-major, the answer `[N, N]`, symmetric.
///
/// # Panics
/// If the length is no multiple of `depth`.
pub fn gram(depth: usize, rows: &[f32]) -> Vec<f32> {
    let matrix = Matrix::of_columns(depth, rows);
    let count = matrix.columns();
    let mut products = vec![0.0; count * count];
    if depth == 0 {
        return products;
    }
    // On and below the diagonal, and what else the panels hold; the rest is its mirror image.
    matrix.run(rows, &mut products, |column| column);
    mirror(&mut products, count);
    products
}

/// Copies what lies below the diagonal to above it, a square at a time: both then stay in the cache.
fn mirror(products: &mut [f32], count: usize) {
    const SQUARE: usize = 32;
    for top in (0..count).step_by(SQUARE) {
        for left in (top..count).step_by(SQUARE) {
            for row in top..count.min(top + SQUARE) {
                for column in left.max(row + 1)..count.min(left + SQUARE) {
                    products[row * count + column] = products[column * count + row];
                }
            }
        }
    }
}

/// Centres the rows that products are of.
struct Centre<'a> {
    products: &'a mut [f32],
    shares: &'a [f64],
    size: f64,
}

impl macerator::WithSimd for Centre<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: macerator::Simd>(self) {
        let count = self.shares.len();
        // Each row's product with the mean.
        let mut of_mean = vec![0.0f64; count];
        for (row, &share) in self.shares.iter().enumerate() {
            let products = &self.products[row * count..][..row + 1];
            let (own, before) = (f64::from(products[row]), &products[..row]);
            let mut sums = [0.0f64; 8];
            let (eights, rest) = before.as_chunks::<8>();
            for (at, products) in eights.iter().enumerate() {
                let range = 8 * at..8 * at + 8;
                let (shares, of_mean) = (&self.shares[range.clone()], &mut of_mean[range]);
                for lane in 0..8 {
                    let product = f64::from(products[lane]);
                    sums[lane] += shares[lane] * product;
                    of_mean[lane] += share * product;
                }
            }
            let mut sum = sums.iter().sum::<f64>();
            for (at, &product) in rest.iter().enumerate() {
                let at = row - rest.len() + at;
                sum += self.shares[at] * f64::from(product);
                of_mean[at] += share * f64::from(product);
            }
            of_mean[row] += sum + share * own;
        }
        let pairs = of_mean.iter().zip(self.shares);
        let of_means: f64 = pairs.map(|(product, share)| share * product).sum();
        for row in 0..count {
            let off = of_means - of_mean[row];
            let products = &mut self.products[row * count..][..row + 1];
            for (product, of_mean) in products.iter_mut().zip(&of_mean) {
                *product = ((f64::from(*product) + off - of_mean) / self.size) as f32;
            }
        }
        mirror(self.products, count);
    }
}

/// The inner products of one row with many: `output[n] = rows[n] · row`, summed in f32 in
/// sixteen or more parts.
///
/// # Shapes
/// `rows` is `[N, row.len()]` row-major, `output` `[N]`.
///
/// # Panics
/// If the lengths do not fit.
pub fn row_products(rows: &[f32], row: &[f32], output: &mut [f32]) {
    assert_eq!(rows.len(), row.len() * output.len(), "elements of the rows");
    let level = Level::best();
    let depth = row.len().max(1);
    for (rows, output) in rows.chunks(4 * depth).zip(output.chunks_mut(4)) {
        level.run(Dots { rows, row, output });
    }
}

/// Up to four inner products.
struct Dots<'a> {
    rows: &'a [f32],
    row: &'a [f32],
    output: &'a mut [f32],
}

impl macerator::WithSimd for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: macerator::Simd>(self) {
        use crate::simd::{load, splat};
        let (lanes, depth) = (S::lanes32(), self.row.len());
        let whole = depth / lanes * lanes;
        for (at, output) in self.output.iter_mut().enumerate() {
            let other = &self.rows[at * depth..][..depth];
            let mut sums = [splat::<S>(0.0); 4];
            let mut k = 0;
            // SAFETY: reads stay below `whole`, which both rows reach.
            unsafe {
                while k + 4 * lanes <= whole {
                    for (part, sum) in sums.iter_mut().enumerate() {
                        let a = load::<S>(other.as_ptr().add(k + part * lanes));
                        let b = load::<S>(self.row.as_ptr().add(k + part * lanes));
                        *sum = a.mul_add(b, *sum);
                    }
                    k += 4 * lanes;
                }
                while k < whole {
                    let a = load::<S>(other.as_ptr().add(k));
                    let b = load::<S>(self.row.as_ptr().add(k));
                    sums[0] = a.mul_add(b, sums[0]);
                    k += lanes;
                }
            }
            let rest: f32 = other[whole..]
                .iter()
                .zip(&self.row[whole..])
                .map(|(a, b)| a * b)
                .sum();
            *output = ((sums[0] + sums[1]) + (sums[2] + sums[3])).reduce_add() + rest;
        }
    }
}
