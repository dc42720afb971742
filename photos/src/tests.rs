//! What holds for every format: pictures look as Pillow sees them, and bad files are refused for the right reason.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::{Limits, PhotoProblem, decode_bytes, decode_file};

/// One entry of the file that `tests/parity/make_photo_fixtures.py` writes.
#[derive(serde::Deserialize)]
struct Expected {
    file: String,
    kind: Option<String>,
    #[serde(default)]
    width: u32,
    #[serde(default)]
    height: u32,
    #[serde(default)]
    tolerance: u8,
    #[serde(default)]
    rgb: String,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn expected() -> Vec<Expected> {
    let text = fs::read_to_string(fixtures().join("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    digits
        .map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap())
        .collect()
}

fn greatest_difference(a: &[u8], b: &[u8]) -> u8 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| a.abs_diff(*b))
        .max()
        .unwrap_or(0)
}

#[test]
fn every_odd_picture_looks_as_pillow_sees_it() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for entry in expected().iter().filter(|e| e.kind.is_none()) {
        seen += 1;
        let name = &entry.file;
        match decode_file(&fixtures().join(name), &Limits::default()) {
            Err(error) => wrong.push(error.to_string()),
            Ok(image) if (image.width(), image.height()) != (entry.width, entry.height) => {
                wrong.push(format!("{name}: {image:?}"));
            }
            Ok(_) if entry.rgb.is_empty() => {}
            Ok(image) => {
                let difference = greatest_difference(image.pixels(), &unhex(&entry.rgb));
                if difference > entry.tolerance {
                    wrong.push(format!(
                        "{name}: off by {difference}, allowed {}",
                        entry.tolerance
                    ));
                }
            }
        }
    }
    assert!(seen > 250, "only {seen} pictures");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_bad_file_is_refused_for_the_right_reason() {
    let mut wrong = Vec::new();
    for entry in expected() {
        let Some(kind) = entry.kind else { continue };
        // Beginnings without a picture: damaged, to who can read the rest.
        if cfg!(feature = "heif") && entry.file.starts_with("photo.") {
            continue;
        }
        match decode_file(&fixtures().join(&entry.file), &Limits::default()) {
            Ok(image) => wrong.push(format!("{}: read as {image:?}", entry.file)),
            Err(error) if error.kind() != kind => wrong.push(format!("{error} is no {kind}")),
            Err(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_file_cut_at_any_byte_is_whole_or_refused() {
    let mut wrong = Vec::new();
    for entry in expected()
        .iter()
        .filter(|e| e.kind.is_none() && !e.rgb.is_empty())
    {
        let bytes = fs::read(fixtures().join(&entry.file)).unwrap();
        let whole = decode_bytes(&bytes, &Limits::default()).unwrap();
        // Of a number in text nothing tells that digits are missing at its end.
        let certain = match bytes[..2] {
            [b'P', b'2' | b'3'] => bytes.len() - 5,
            _ => bytes.len(),
        };
        for len in 0..certain {
            if decode_bytes(&bytes[..len], &Limits::default()).is_ok_and(|image| image != whole) {
                wrong.push(format!(
                    "{} cut to {len} of {} bytes",
                    entry.file,
                    bytes.len()
                ));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn flipped_bits_never_panic() {
    for entry in expected() {
        let bytes = fs::read(fixtures().join(&entry.file)).unwrap();
        for at in (0..bytes.len().min(300)).step_by(5) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            let result = decode_bytes(&damaged, &Limits::default());
            let gave_up =
                matches!(&result, Err(PhotoProblem::Corrupt(why)) if why.contains("gave up"));
            assert!(
                !gave_up,
                "{}: a decoder panicked at a flip in byte {at}",
                entry.file
            );
        }
    }
}

#[test]
fn what_is_not_a_readable_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let kind = |name: &str| {
        decode_file(&path(name), &Limits::default())
            .unwrap_err()
            .kind()
    };
    assert_eq!(kind("missing.jpg"), "not_found");
    fs::create_dir(path("folder.jpg")).unwrap();
    assert_eq!(kind("folder.jpg"), "directory");
    fs::write(path("raw.NEF"), b"II*\0").unwrap();
    assert_eq!(kind("raw.NEF"), "unsupported_format");
    let limits = Limits {
        max_file_bytes: 3,
        ..Limits::default()
    };
    let error = decode_file(&fixtures().join("rgb.png"), &limits).unwrap_err();
    assert_eq!(error.kind(), "file_too_large");
}

#[cfg(unix)]
#[test]
fn links_pipes_locked_files_and_odd_names_are_survived() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let kind = |name: &str| {
        decode_file(&path(name), &Limits::default())
            .unwrap_err()
            .kind()
    };
    symlink(path("b.jpg"), path("a.jpg")).unwrap();
    symlink(path("a.jpg"), path("b.jpg")).unwrap();
    assert_eq!(kind("a.jpg"), "bad_link");
    symlink(path("gone.jpg"), path("dangling.jpg")).unwrap();
    assert_eq!(kind("dangling.jpg"), "bad_link");
    let _socket = std::os::unix::net::UnixListener::bind(path("socket.jpg")).unwrap();
    assert_eq!(kind("socket.jpg"), "not_a_file");

    let picture = fs::read(fixtures().join("rgb.png")).unwrap();
    let odd = folder.path().join(OsStr::from_bytes(b"caf\xe9 \xff.png"));
    fs::write(&odd, &picture).unwrap();
    assert!(decode_file(&odd, &Limits::default()).is_ok());

    fs::write(path("locked.png"), &picture).unwrap();
    fs::set_permissions(path("locked.png"), fs::Permissions::from_mode(0o000)).unwrap();
    // The superuser reads everything.
    if File::open(path("locked.png")).is_err() {
        assert_eq!(kind("locked.png"), "permission_denied");
    }
}

/// A grey TIFF whose strips, a row each, share one strip's data in this compression.
fn strips_that_share(width: u32, rows: u32, compression: u32, data: &[u8]) -> Vec<u8> {
    let (table, lists) = (8_u32, 8 + 2 + 9 * 12 + 4);
    let at = lists + 8 * rows;
    let entries = [
        (256, 4, 1, width),
        (257, 4, 1, rows),
        (258, 3, 1, 8),
        (259, 3, 1, compression),
        (262, 3, 1, 1),
        (273, 4, rows, lists),
        (277, 3, 1, 1),
        (278, 4, 1, 1),
        (279, 4, rows, lists + 4 * rows),
    ];
    let mut file = b"II*\0".to_vec();
    file.extend(table.to_le_bytes());
    file.extend(9_u16.to_le_bytes());
    for (tag, kind, count, value) in entries {
        file.extend(u16::to_le_bytes(tag));
        file.extend(u16::to_le_bytes(kind));
        file.extend(u32::to_le_bytes(count));
        file.extend(u32::to_le_bytes(value));
    }
    file.extend([0; 4]);
    (0..rows).for_each(|_| file.extend(at.to_le_bytes()));
    (0..rows).for_each(|_| file.extend((data.len() as u32).to_le_bytes()));
    file.extend(data);
    file
}

#[test]
fn strips_that_are_nearly_all_nothing_are_not_read_again_and_again() {
    // What PackBits makes of so many bytes of nothing and ten pixels.
    let decoded = |nothing| {
        let data = [&vec![0x80; nothing][..], &[9], &[7; 10]].concat();
        decode_bytes(
            &strips_that_share(10, 50, 32_773, &data),
            &Limits::default(),
        )
    };
    let image = decoded(100).unwrap();
    assert_eq!((image.width(), image.height()), (10, 50));
    assert!(image.pixels().iter().all(|&level| level == 7));
    // Read whole for each of very many strips, such data would take minutes.
    assert!(decoded(1 << 16).is_err());
}

#[test]
fn scans_count_for_the_whole_picture_where_strips_share_their_jpeg() {
    let mut jpeg = b"\xff\xd8\xff\xc2\0\x0b\x08\0\x01\x13\x88\x01\x01\x11\0".to_vec();
    for _ in 0..30 {
        jpeg.extend(b"\xff\xda\0\x08\x01\x01\0\0\0\0\0");
    }
    jpeg.extend(b"\xff\xd9");
    let decoded = |rows| {
        let file = strips_that_share(5000, rows, 7, &jpeg);
        decode_bytes(&file, &Limits::default()).unwrap_err()
    };
    let told = decoded(40_000);
    assert_eq!(told.kind(), "too_large", "{told}");
    assert!(told.to_string().contains("30 scans"), "{told}");
    assert_ne!(decoded(1).kind(), "too_large");
}

#[test]
fn the_scans_of_an_ordinary_large_photo_are_allowed_and_sixty_are_not() {
    let told = |name: &str| decode_file(&fixtures().join(name), &Limits::default()).unwrap_err();
    let many = told("jpeg_60_scans.jpg");
    assert!(
        many.to_string()
            .contains("12000×9000 pixels is stored in 60 scans, and at that size at most 37"),
        "{many}"
    );
    assert!(many.help().unwrap().contains("jpegtran"));
    assert_eq!(told("jpeg_15_scans.jpg").kind(), "truncated");
}

/// The beginning of a file of every format that claims these sides.
fn claims(width: u32, height: u32) -> Vec<(&'static str, Vec<u8>)> {
    let (be_w, be_h) = (width.to_be_bytes(), height.to_be_bytes());
    let (le_w, le_h) = (width.to_le_bytes(), height.to_le_bytes());
    let png = |bits: u8, kind: u8| {
        let sides = [&b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"[..], &be_w, &be_h].concat();
        let header = [&sides[..], &[bits, kind, 0, 0, 0]].concat();
        let mut crc = flate2::Crc::new();
        crc.update(&header[12..]);
        [&header[..], &crc.sum().to_be_bytes()].concat()
    };
    let mut tiff = strips_that_share(width, 1, 1, &[0; 16]);
    tiff[8 + 2 + 12 + 8..][..4].copy_from_slice(&le_h);
    let header = [&b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0"[..], &le_w, &le_h].concat();
    let mut files = vec![
        ("png", png(8, 2)),
        ("png of 16 bits", png(16, 6)),
        ("png of one bit", png(1, 0)),
        ("bmp", [&header[..], b"\x01\0\x18\0", &[0; 24]].concat()),
        ("tiff", tiff),
        ("ppm", format!("P6 {width} {height} 255\n").into_bytes()),
    ];
    if let (Ok(width), Ok(height)) = (u16::try_from(width), u16::try_from(height)) {
        let sides = [width.to_le_bytes(), height.to_le_bytes()].concat();
        let image = [&b",\0\0\0\0"[..], &sides, b"\0\x06\x01\0\0;"].concat();
        let gif = [&b"GIF89a"[..], &sides, &[0; 3], &image].concat();
        files.push(("gif", gif));
        let sides = [height.to_be_bytes(), width.to_be_bytes()].concat();
        let scan = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0\0\xff\xd9";
        let frame = [
            &b"\xff\xd8\xff\xc2\0\x0b\x08"[..],
            &sides,
            b"\x01\x01\x11\0",
        ]
        .concat();
        files.push(("jpeg", [&frame[..], scan].concat()));
    }
    files
}

#[test]
fn a_giant_is_too_large_whatever_its_format_and_names_the_limit() {
    let sides = [
        (60_000, 60_000),
        (i32::MAX as u32, 1),
        (1, i32::MAX as u32),
        (i32::MAX as u32, i32::MAX as u32),
    ];
    for (width, height) in sides {
        for (name, file) in claims(width, height) {
            let told = decode_bytes(&file, &Limits::default()).unwrap_err();
            assert_eq!(told.kind(), "too_large", "{name} {width}×{height}: {told}");
            let text = told.to_string();
            assert!(
                text.contains(&format!("{width}×{height}")) && text.contains("2 GiB are allowed"),
                "{name}: {text}"
            );
            assert!(told.help().unwrap().contains("--max-pixels"), "{name}");
            // Where the user names a bound, it is named.
            let limits = Limits::with_max_pixels(Some(1_000_000));
            let told = decode_bytes(&file, &limits).unwrap_err();
            assert!(
                told.to_string().contains("at most 1000000 pixels"),
                "{name}: {told}"
            );
        }
    }
}

/// Words of other people's decoders, and of Rust's, that no user is to read.
const FOREIGN_WORDS: [&str; 14] = [
    "error",
    "invalid",
    "unexpected",
    "failed",
    "Huffman",
    "IDAT chunk",
    "CRC",
    "None",
    "Some(",
    "stream",
    "buffer",
    "signature",
    "bitfield",
    "decoder:",
];

#[test]
fn whatever_is_wrong_with_a_file_is_said_in_our_words() {
    let mut told = std::collections::BTreeSet::new();
    for entry in expected() {
        let bytes = fs::read(fixtures().join(&entry.file)).unwrap();
        let step = bytes.len().div_ceil(40).max(1);
        for at in (0..bytes.len()).step_by(step) {
            for change in [0x01, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= change;
                if let Err(problem) = decode_bytes(&damaged, &Limits::default()) {
                    assert!(problem.help().is_some(), "{problem}");
                    told.insert(problem.to_string());
                }
            }
        }
    }
    assert!(told.len() > 50, "only {} ways to be damaged", told.len());
    let foreign = |text: &&String| FOREIGN_WORDS.iter().any(|word| text.contains(word));
    let wrong: Vec<_> = told.iter().filter(foreign).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
