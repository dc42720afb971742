//! The kernels of a batch, one after the other.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{DType, Device, Int, Shape, Tensor, TensorData};
use burn_cubecl::Cube;
use burn_cubecl::ops::numeric::zeros_client;
use burn_cubecl::tensor::CubeTensor;
use rekindle_shaders::Pictures;

use super::words::{Batch, Work};
use crate::kernels::adapter::{output_of, tier};
use crate::kernels::launch::{launch, made_one};

/// The batch on the device.
pub(super) fn made(batch: Batch, device: &Device) -> Tensor<4> {
    let put = |words: Vec<i32>| {
        let length = words.len();
        Tensor::<1, Int>::from_data(TensorData::new(words, [length]), device).into_dispatch()
    };
    let words = batch.source.len() / size_of::<u32>();
    let source = TensorData::from_bytes_vec(batch.source, [words], DType::I32);
    let source = Tensor::<1, Int>::from_data(source, device).into_dispatch();
    let (records, plan) = (put(batch.records), put(batch.plan));
    let maps = Dispatch::made_views(source, records, plan, batch.work);
    // Channels last in memory, as the kernels after it read them.
    Tensor::<4>::from_dispatch(maps).permute([0, 3, 1, 2])
}

/// The operation. The processor never comes here: its pictures are prepared on the host.
#[backend_extension(Cube, Flex)]
pub(crate) trait AugmentOps: Backend {
    /// # Shapes
    ///
    /// - source, records, plan: see `words.rs`
    /// - returns: `[N, H, W, 3]`
    fn made_views(
        _source: IntTensor<Self>,
        _records: IntTensor<Self>,
        _plan: IntTensor<Self>,
        _work: Work,
    ) -> FloatTensor<Self> {
        unreachable!("the processor's pictures are prepared on the host")
    }
}

impl AugmentOps for Flex {}

impl AugmentOps for Cube {
    fn made_views(
        source: IntTensor<Self>,
        records: IntTensor<Self>,
        plan: IntTensor<Self>,
        work: Work,
    ) -> FloatTensor<Self> {
        let Work { pictures, .. } = work;
        let tier = tier(&source);
        let [batch, height, width] =
            [pictures.batch, pictures.height, pictures.width].map(|side| side as usize);
        let words = |count: usize| output_of(&source, [count], DType::I32);
        let picture = || words(batch * height * width);
        let kernel = |name: &'static str, make: fn(&Pictures, _) -> _| {
            made_one(&(name, pictures), tier, |(_, pictures), tier| {
                make(pictures, tier)
            })
        };

        let between = words(work.between);
        let first = kernel("first pass", |pictures, tier| pictures.resample(true, tier));
        launch(
            &first,
            &[&source, &part(&records, work.pass(0)), &plan, &between],
        );
        let mut pixels = picture();
        let second = kernel("second pass", |pictures, tier| {
            pictures.resample(false, tier)
        });
        launch(
            &second,
            &[&between, &part(&records, work.pass(1)), &plan, &pixels],
        );

        let mut tables = None;
        for (number, round) in work.rounds.iter().enumerate() {
            let records = part(&records, work.round(number));
            let tables = tables.get_or_insert_with(|| words(batch * Pictures::TABLES));
            if round.counts {
                let counts = zeros_client(
                    source.client.clone(),
                    source.device.clone(),
                    Shape::new([batch * Pictures::COUNTS]),
                    DType::I32,
                );
                let histogram = kernel("histogram", Pictures::histogram);
                launch(&histogram, &[&pixels, &records, &counts]);
                let tones = kernel("tones", Pictures::tones);
                launch(&tones, &[&counts, &records, &plan, tables]);
            }
            let made = picture();
            if round.repaints {
                let repaint = kernel("repaint", Pictures::repaint);
                launch(&repaint, &[&pixels, &records, &plan, tables, &made]);
            }
            if round.warps {
                let warp = kernel("warp", Pictures::warp);
                launch(&warp, &[&pixels, &records, &plan, &made]);
            }
            pixels = made;
        }

        let maps = output_of(&source, [batch, height, width, 3], DType::F32);
        let normalise = kernel("normalise", Pictures::normalise);
        launch(&normalise, &[&pixels, &plan, &maps]);
        maps
    }
}

/// So many words from a place on, as a buffer of their own.
fn part(records: &CubeTensor, (first, words): (usize, usize)) -> CubeTensor {
    const WORD: u64 = size_of::<u32>() as u64;
    let mut part = records.clone();
    let behind = records.meta.num_elements() - first - words;
    part.handle = part
        .handle
        .offset_start(first as u64 * WORD)
        .offset_end(behind as u64 * WORD);
    part.meta.shape = Shape::new([words]);
    part
}
