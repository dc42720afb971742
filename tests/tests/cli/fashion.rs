//! Fine-tuning works on data: a small Fashion-MNIST (Xiao et al., <https://arxiv.org/abs/1708.07747>), the pictures that
//! are measured on unseen by everything that was chosen. `bench/fashion.py` does it in full, beside PyTorch.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use image::GrayImage;
use serde_json::Value;

use super::{Shell, text};

const CLASSES: [&str; 10] = [
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot",
];
/// Rows and columns of a picture.
const SIDE: usize = 28;

/// The folder that the data set lies in; nothing where the tests were told that there is none.
fn source() -> Option<PathBuf> {
    let usual = "/usr/share/datasets/fashion-mnist".into();
    let folder = std::env::var_os("REKINDLE_FASHION_MNIST").map_or(usual, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(
        std::env::var_os("REKINDLE_NO_FASHION_MNIST").is_some(),
        "no Fashion-MNIST in {folder:?}: install it (Debian: dataset-fashion-mnist), say in REKINDLE_FASHION_MNIST where it \
         is, or set REKINDLE_NO_FASHION_MNIST=1 to leave this test out"
    );
    println!("skipped, as asked: no Fashion-MNIST in {folder:?}");
    None
}

/// What a file of the data set holds behind its header.
fn unpacked(file: &Path, header: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let packed = fs::File::open(file).unwrap();
    GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    bytes.split_off(header)
}

/// Writes as many pictures of each class into each of some parts, the next ones of the file for each part.
fn write(source: &Path, name: &str, parts: &[(PathBuf, usize)]) {
    let pictures = unpacked(&source.join(format!("{name}-images-idx3-ubyte.gz")), 16);
    let classes = unpacked(&source.join(format!("{name}-labels-idx1-ubyte.gz")), 8);
    for (class, word) in CLASSES.iter().enumerate() {
        let mut of_class = classes
            .iter()
            .zip(pictures.chunks_exact(SIDE * SIDE))
            .enumerate()
            .filter(|(_, (found, _))| usize::from(**found) == class);
        for (part, count) in parts {
            let folder = part.join(word);
            fs::create_dir_all(&folder).unwrap();
            for (index, (_, pixels)) in of_class.by_ref().take(*count) {
                GrayImage::from_raw(SIDE as u32, SIDE as u32, pixels.to_vec())
                    .unwrap()
                    .save(folder.join(format!("{index}.png")))
                    .unwrap();
            }
        }
    }
}

/// A data set with so many pictures of each class to learn from, to choose the epoch by, and to measure on.
fn clothes(shell: &Shell, [train, val, test]: [usize; 3]) -> Option<PathBuf> {
    let source = source()?;
    let folder = shell.path("clothes");
    let parts = [(folder.join("train"), train), (folder.join("val"), val)];
    write(&source, "train", &parts);
    write(&source, "t10k", &[(folder.join("test"), test)]);
    Some(folder)
}

/// What `train` says of itself, and the accuracy of what it leaves on the pictures that it did not see.
fn trained(shell: &Shell, data: &Path, options: &[&str]) -> (Value, f64) {
    let train = ["train", text(data), "--device", "cpu", "--json"];
    let report = shell.json(&[&train[..], options].concat()).pop().unwrap();
    let model = report["model"].as_str().unwrap();
    let evaluate = ["evaluate", model, text(data), "--device", "cpu", "--json"];
    let measured = shell.json(&evaluate).pop().unwrap();
    (report, measured["accuracy"].as_f64().unwrap())
}

/// What is tuned as asked, from more than its head, beats the head alone on pictures that nobody saw.
fn gains(tune: &str, sizes: [usize; 3]) {
    let shell = Shell::new();
    let Some(data) = clothes(&shell, sizes) else {
        return;
    };
    let network = ["--model", "efficientnet_lite0", "--input", "64"];
    let (_, head) = trained(&shell, &data, &network);
    let (report, found) = trained(&shell, &data, &[&network[..], &["--tune", tune]].concat());
    assert_eq!(report["kept"], "tuned", "{report}");
    assert!(found > head, "{tune} {found}, the head alone {head}");
}

#[test]
fn tuning_everything_gains_over_the_head_alone() {
    gains("full", [50, 20, 100]);
}

/// Twice as many pictures: of 500 the last stages learn too little to show for certain.
#[test]
fn tuning_the_last_stages_gains_over_the_head_alone() {
    gains("last", [100, 40, 100]);
}

/// Ten classes are a tenth by chance; half is what a few hundred steps come to. ShuffleNet's batch norms follow quickly:
/// those of MobileNetV3 need thousands of steps, in PyTorch too.
#[test]
fn a_network_learns_clothes_from_nothing() {
    let shell = Shell::new();
    let Some(data) = clothes(&shell, [100, 20, 100]) else {
        return;
    };
    let network = [
        "--model",
        "shufflenet_v2_x0_5",
        "--small-stem",
        "--input",
        "32",
    ];
    let recipe = [
        "--tune", "scratch", "--epochs", "3", "--batch", "16", "--lr", "5e-3",
    ];
    let (report, found) = trained(&shell, &data, &[&network[..], &recipe].concat());
    assert_eq!(report["kept"], "tuned", "{report}");
    assert!(found > 0.3, "{found}");
}
