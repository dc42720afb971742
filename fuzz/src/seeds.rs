//! Where fuzzing starts: the fixtures of the workspace's tests, in the form that each target takes.

use std::fs;
use std::path::{Path, PathBuf};

use rekindle_networks::backbone::find;
use rekindle_networks::head::{HeadKind, MlpConfig};
use rekindle_networks::model::{Channels, ModelCard};
use rekindle_photos::SNIFF_BYTES;

use crate::weights::{LEGACY_HEAD, ZIP_HEAD};

/// The checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The files in a folder, sorted by name; none if there is no such folder.
fn files(folder: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
        .iter()
        .filter_map(|path| fs::read(path).ok())
        .collect()
}

/// What once broke a target. Every finding becomes a file here when it is mended.
pub fn findings(target: &str) -> Vec<Vec<u8>> {
    let folder = root().join("fuzz/findings").join(target);
    files(&folder)
}

/// Sound and unsound inputs of a target, made from the fixtures.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let pictures = || files(&root().join("photos/tests/fixtures")).into_iter();
    let weights = || files(&root().join("networks/tests/fixtures/weights")).into_iter();
    match target {
        "weights" => weights().collect(),
        "safetensors" => {
            let made = [
                &b"{}"[..],
                b"{\"w\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]}}\0\0\0\x80?\0\0\0@",
                b"{\"__metadata__\":{\"rekindle\":\"{}\"},\"a\":{\"dtype\":\"BOOL\",\"shape\":[],\"data_offsets\":[0,1]},\
                  \"b\":{\"dtype\":\"F16\",\"shape\":[0,3],\"data_offsets\":[1,1]}}\0\x01",
            ];
            let found = weights().filter_map(|file| header_and_data(&file));
            found.chain(made.map(<[u8]>::to_vec)).collect()
        }
        "zip" => behind(weights(), ZIP_HEAD),
        "legacy" => behind(weights(), LEGACY_HEAD),
        "pickle" => {
            let systems = behind(weights(), LEGACY_HEAD).into_iter();
            systems
                .filter_map(|system| second_pickle(&system))
                .collect()
        }
        "card" => cards(),
        "network" => {
            let card = |n: u8| vec![n, n / 3, n / 2, n, 224 - n / 2, 0, 8, 0, 0, 0, 0, 0, 0, 0];
            let named = [&b"\xffresnet18"[..], b"\xffresnet"];
            let named = named.into_iter().map(<[u8]>::to_vec);
            (0..u8::MAX).map(card).chain(named).collect()
        }
        "content" => pictures()
            .map(|file| file[..file.len().min(SNIFF_BYTES)].to_vec())
            .collect(),
        "exif" => pictures().filter_map(|file| exif_block(&file)).collect(),
        "jpeg" => like(pictures(), &[b"\xff\xd8\xff"]),
        "png" => like(pictures(), &[b"\x89PNG"]),
        "mask" => {
            let masks = files(&root().join("photos/tests/fixtures/masks"));
            like(masks.into_iter().chain(pictures()), &[b"\x89PNG"])
        }
        "webp" => like(pictures(), &[b"RIFF"]),
        "gif" => like(pictures(), &[b"GIF8"]),
        "bmp" => like(pictures(), &[b"BM"]),
        "tiff" => like(pictures(), &[b"II", b"MM"]),
        "pnm" => like(pictures(), &[b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"]),
        _ => Vec::new(),
    }
}

/// Of those files that begin so, what follows.
fn behind(files: impl Iterator<Item = Vec<u8>>, head: &[u8]) -> Vec<Vec<u8>> {
    files
        .filter_map(|file| file.strip_prefix(head).map(<[u8]>::to_vec))
        .collect()
}

/// Those files that begin like one of these.
fn like(files: impl Iterator<Item = Vec<u8>>, marks: &[&[u8]]) -> Vec<Vec<u8>> {
    files
        .filter(|file| marks.iter().any(|mark| file.starts_with(mark)))
        .collect()
}

/// The EXIF block of a JPEG, or a TIFF as a whole, which is made like one.
fn exif_block(file: &[u8]) -> Option<Vec<u8>> {
    const MARK: &[u8] = b"Exif\0\0";
    if file.starts_with(b"II") || file.starts_with(b"MM") {
        return Some(file.to_vec());
    }
    let start = file.windows(MARK.len()).position(|at| at == MARK)?;
    Some(file[start..file.len().min(start + 200)].to_vec())
}

/// A safetensors file as its target takes it.
fn header_and_data(file: &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = file.split_first_chunk()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (header, data) = rest.split_at_checked(length)?;
    header
        .starts_with(b"{")
        .then(|| [header, &[0], data].concat())
}

/// What follows the first of several pickles of protocol 2, if that holds nothing that looks like a beginning.
fn second_pickle(bytes: &[u8]) -> Option<Vec<u8>> {
    let begins = |at: &usize| bytes[*at..].starts_with(b"\x80\x02");
    let start = (1..bytes.len()).find(begins)?;
    Some(bytes[start..].to_vec())
}

/// Cards of every kind of head and channels.
fn cards() -> Vec<Vec<u8>> {
    let mlp = |hidden, dropout| HeadKind::Mlp(MlpConfig { hidden, dropout });
    let heads = [
        (
            "efficientnet_lite0",
            HeadKind::Linear { lift: 0.0 },
            Channels::Rgb,
        ),
        (
            "squeezenet1_1",
            HeadKind::Linear { lift: 20.0 },
            Channels::GreyMean,
        ),
        ("squeezenet1_1", mlp(8, 0.5), Channels::Rgb),
        ("vit_tiny_patch16_224", mlp(8, 0.0), Channels::GreyConvolved),
        ("alexnet", HeadKind::Original, Channels::GreyLuminance),
        ("maxvit_t", HeadKind::Original, Channels::Rgb),
    ];
    let cards = heads.into_iter().filter_map(|(name, head, channels)| {
        let architecture = find(name).ok()?;
        let card = ModelCard {
            classes: vec!["cat".to_owned(), "dog".to_owned()],
            head,
            channels,
            small_stem: channels == Channels::GreyMean,
            bare: head == HeadKind::Original,
            ..ModelCard::published(architecture, architecture.weights.first()?)
        };
        serde_json::to_vec(&card).ok()
    });
    cards.collect()
}
