//! TensorBoard's event files, read by a reader that shares nothing with what writes them.
//!
//! That the bytes are those that PyTorch's `SummaryWriter` writes, a test beside the writer proves.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{Shell, stderr, text};

/// A field of a message in protocol buffers' encoding.
#[derive(Debug, Clone, PartialEq)]
enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

fn varint(bytes: &[u8], at: &mut usize) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[*at];
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn fields(bytes: &[u8]) -> Vec<(u64, Field)> {
    let (mut at, mut all) = (0, Vec::new());
    while at < bytes.len() {
        let key = varint(bytes, &mut at);
        let mut take = |count: usize| {
            at += count;
            bytes[at - count..at].to_vec()
        };
        let field = match key & 7 {
            1 => Field::Number(u64::from_le_bytes(take(8).try_into().unwrap())),
            5 => Field::Number(u64::from(u32::from_le_bytes(take(4).try_into().unwrap()))),
            0 => Field::Number(varint(bytes, &mut at)),
            2 => {
                let length = varint(bytes, &mut at) as usize;
                at += length;
                Field::Bytes(bytes[at - length..at].to_vec())
            }
            other => panic!("wire type {other}"),
        };
        all.push((key >> 3, field));
    }
    all
}

/// The records of a file, each of which must have the right checksums.
fn records(path: &Path) -> Vec<Vec<u8>> {
    // The table of CRC-32C, from its polynomial.
    let table: Vec<u32> = (0..256_u32)
        .map(|byte| (0..8).fold(byte, |crc, _| (crc >> 1) ^ ((crc & 1) * 0x82f6_3b78)))
        .collect();
    let check = |bytes: &[u8], masked: &[u8]| {
        let crc = !bytes.iter().fold(u32::MAX, |crc, byte| {
            table[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8)
        });
        let ours = crc.rotate_right(15).wrapping_add(0xa282_ead8);
        assert_eq!(ours.to_le_bytes(), masked);
    };
    let bytes = fs::read(path).unwrap();
    let (mut rest, mut all) = (&bytes[..], Vec::new());
    while !rest.is_empty() {
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        check(&rest[..8], &rest[8..12]);
        let record = &rest[12..12 + length];
        check(record, &rest[12 + length..16 + length]);
        all.push(record.to_vec());
        rest = &rest[16 + length..];
    }
    all
}

/// What TensorBoard would show of a folder: the points of each curve, by step. A file that begins anew takes back what
/// was told of its step and of those behind it.
fn curves(folder: &Path) -> BTreeMap<String, BTreeMap<u64, f32>> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    let mut curves: BTreeMap<String, BTreeMap<u64, f32>> = BTreeMap::new();
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("events.out.tfevents."), "{name}");
        for (number, record) in records(&file).iter().enumerate() {
            let event: BTreeMap<u64, Field> = fields(record).into_iter().collect();
            let Some(Field::Number(_)) = event.get(&1) else {
                panic!("an event without a time");
            };
            if number == 0 {
                assert_eq!(event[&3], Field::Bytes(b"brain.Event:2".to_vec()));
            }
            let step = match event.get(&2) {
                Some(Field::Number(step)) => *step,
                _ => 0,
            };
            if event.contains_key(&7) {
                curves
                    .values_mut()
                    .for_each(|curve| _ = curve.split_off(&step));
            }
            let Some(Field::Bytes(summary)) = event.get(&5) else {
                continue;
            };
            for (_, value) in fields(summary) {
                let Field::Bytes(value) = value else {
                    panic!("no value");
                };
                let value: BTreeMap<u64, Field> = fields(&value).into_iter().collect();
                let (Field::Bytes(tag), Field::Number(bits)) = (&value[&1], &value[&2]) else {
                    panic!("no scalar");
                };
                let tag = String::from_utf8(tag.clone()).unwrap();
                let curve = curves.entry(tag).or_default();
                assert!(
                    curve.insert(step, f32::from_bits(*bits as u32)).is_none(),
                    "a step is told twice"
                );
            }
        }
    }
    curves
}

fn train<'a>(data: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec![
        "train",
        text(data),
        "--model",
        "squeezenet1_1",
        "--tensorboard",
    ];
    arguments.extend(["--input", "64", "--device", "cpu", "--batch", "4"]);
    arguments.extend(more);
    arguments
}

/// The curves of a run must tell what its metrics tell.
fn compare(shell: &Shell, run: &str) {
    let folder = shell.path("runs").join(run);
    let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let epochs: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line.get("epoch").is_some())
        .collect();
    let curves = curves(&folder.join("tensorboard"));
    for (tag, key) in [
        ("loss/training", "loss"),
        ("loss/held_out", "held_out_loss"),
        ("accuracy/held_out", "accuracy"),
        ("epoch", "epoch"),
    ] {
        let told: Vec<f32> = curves[tag].values().copied().collect();
        let meant = epochs
            .iter()
            .map(|epoch| epoch[key].as_f64().unwrap() as f32);
        assert_eq!(told, meant.collect::<Vec<f32>>(), "{tag}");
    }
    let steps = |tag: &str| curves[tag].keys().copied().collect::<Vec<u64>>();
    for tag in ["accuracy/head", "learning_rate"] {
        assert_eq!(steps(tag), steps("loss/training"));
    }
    // The head alone is a line, and losses between two epochs are told at some of their steps.
    let mut head = curves["accuracy/head"].values();
    let first = head.next().unwrap();
    assert!(head.all(|later| later == first));
    assert!(!curves["loss/step"].is_empty());
}

#[test]
fn curves_tell_what_the_metrics_tell() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 8);
    let more = [
        "--tune", "last:1", "--epochs", "3", "--views", "1", "--name", "run",
    ];
    let output = shell.run(&train(&data, &more));
    assert!(output.status.success(), "{}", stderr(&output));
    compare(&shell, "run");
    let without = ["train", text(&data), "--tensorboard"];
    shell.fails(&without, 2, &["--tensorboard", "--tune"]);
    // Each part of a cross-validation is a run of its own.
    let folds = [
        &more[..6],
        &["--folds", "2", "--keep", "tuned", "--name", "folds"],
    ]
    .concat();
    assert!(shell.run(&train(&data, &folds)).status.success());
    let board = shell.path("runs/folds/tensorboard");
    for part in ["fold-1-of-2-choosing", "fold-1-of-2", "fold-2-of-2", "."] {
        assert!(
            curves(&board.join(part)).contains_key("loss/training"),
            "{part}"
        );
    }
}

#[test]
fn a_training_that_goes_on_takes_back_what_it_tells_again() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 8);
    let more = ["--tune", "full", "--epochs", "4", "--name", "run"];
    let arguments = [&train(&data, &more)[..], &["--checkpoint-every", "1000"]].concat();
    let mut child = shell.command(&arguments).spawn().unwrap();
    let board = shell.path("runs/run/tensorboard");
    let told = || {
        let files = fs::read_dir(&board).into_iter().flatten();
        let lengths = files.map(|file| file.unwrap().metadata().unwrap().len());
        lengths.sum::<u64>()
    };
    // An epoch, and steps behind the checkpoint at its end.
    while told() < 400 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    if !shell.path("runs/run/model.safetensors").exists() {
        // What a killed run told is there, whole.
        assert!(!curves(&board).is_empty());
        let output = shell.run(&["train", "--resume", "runs/run"]);
        assert!(output.status.success(), "{}", stderr(&output));
    }
    compare(&shell, "run");
}
