//! Numbers that run over on the way to an answer.

use super::*;
use crate::backbone::find;
use crate::device::DeviceError;
use crate::head::HeadKind;
use crate::image::RgbImage;
use crate::weights::{Generated, Tensors};

/// How many bytes of a safetensors file there are from a tensor's first number on.
fn rest_behind(tensor: &str, bytes: &[u8]) -> usize {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let start = header[tensor]["data_offsets"][0].as_u64().unwrap() as usize;
    bytes.len() - 8 - length - start
}

#[test]
fn what_runs_over_is_an_error_and_no_answer() {
    let architecture = find("shufflenet_v2_x0_5").unwrap();
    let device = crate::device::cpu().device;
    let weights = &architecture.weights[0];
    let model = Model::pretrained(architecture, weights, &Generated, &device).unwrap();
    let side = model.card.preset.side();
    let crop = |shade: u8| {
        let pixels = (0..3 * side * side).map(|at| (at % 251) as u8 / 2 + shade);
        RgbImage::new(side, side, pixels.collect()).unwrap()
    };
    let crops = [crop(0), crop(100)];
    let runs_over = |error: DeviceError| match error {
        DeviceError::NotFinite { image, .. } => image,
        error => panic!("{error}"),
    };
    // Weights that are numbers, in the last layer and in the first.
    let width = model.graph().features();
    let head = Tensors::from([
        (
            "fc.weight".to_owned(),
            (vec![2, width], vec![3e38; 2 * width].into()),
        ),
        ("fc.bias".to_owned(), (vec![2], vec![0.0; 2].into())),
    ]);
    let classes = vec!["a".to_owned(), "b".to_owned()];
    let large = model.with_head(HeadKind::Linear { lift: 0.0 }, head, classes);
    pollster::block_on(large.read_features(&crops)).unwrap();
    assert_eq!(
        runs_over(pollster::block_on(large.logits(&crops)).unwrap_err()),
        0
    );
    assert_eq!(
        runs_over(pollster::block_on(large.predict(&crops, 1)).unwrap_err()),
        0
    );
    let mut bytes = model.save().unwrap();
    let first = bytes.len() - rest_behind("conv1.0.weight", &bytes);
    bytes[first..][..4].copy_from_slice(&3e38_f32.to_le_bytes());
    let large = Model::open(bytes, &device).unwrap();
    runs_over(pollster::block_on(large.read_features(&crops)).unwrap_err());
    runs_over(pollster::block_on(large.logits(&crops)).unwrap_err());

    // Whose answer it would have been.
    let said = |values: &[f32]| ready::numbers(values.to_vec(), 3).map_err(runs_over);
    assert_eq!(said(&[1.0; 6]), Ok(vec![1.0; 6]));
    assert_eq!(said(&[1.0, 1.0, 1.0, f32::NAN, 1.0, 1.0]), Err(1));
    assert_eq!(
        said(&[1.0, 1.0, 1.0, 1.0, f32::NEG_INFINITY, f32::NAN]),
        Err(2)
    );
    assert_eq!(said(&[]), Ok(Vec::new()));
}
