//! Photos: how large, and of which formats.

use rekindle_tests::{photos, root};

use super::{Shell, text};

#[test]
fn the_number_of_pixels_is_bounded_where_photos_are_read_and_nowhere_else() {
    let shell = Shell::new();
    let photo = photos()[0].clone();
    let predict = ["predict", "squeezenet1_1", text(&photo), "--max-pixels"];
    let words = ["at most 1000 pixels", "--max-pixels"];
    shell.fails(&[&predict[..], &["1000"]].concat(), 3, &words);
    let answers = shell.json(&[&predict[..], &["1M", "--json"]].concat());
    assert!(answers[0]["top"].is_array(), "{answers:?}");
    let data = shell.two_classes("data", 2);
    let train = ["train", text(&data), "--model", "squeezenet1_1"];
    let strict = ["--strict", "--max-pixels", "1000"];
    shell.fails(&[&train[..], &strict].concat(), 3, &["at most 1000 pixels"]);
    // No photo is left: the error itself says which limit that was.
    let words = [
        "no usable photo in data: the picture of",
        "at most 10 pixels are allowed (4 files, such as fish/",
        "--max-pixels",
    ];
    let data = [
        "train",
        "data",
        "--model",
        "squeezenet1_1",
        "--max-pixels",
        "10",
    ];
    shell.fails(&data, 3, &words);
    shell.fails(
        &["summary", "resnet18", "--max-pixels", "9"],
        2,
        &["--max-pixels"],
    );
    for nonsense in ["0", "many", "1.5", "99999999999999999999"] {
        shell.fails(&[&predict[..], &[nonsense]].concat(), 2, &["pixels"]);
    }
    // 60 000 × 60 000 pixels from a header: refused by the memory they would take, and named.
    let bomb = root().join("photos/tests/fixtures/bomb.ppm");
    let words = ["60000×60000", "GiB of memory", "--max-pixels"];
    shell.fails(&["predict", "squeezenet1_1", text(&bomb)], 3, &words);
    // Allowed, it is found to be too short before that memory is taken.
    let allowed = [
        "predict",
        "squeezenet1_1",
        text(&bomb),
        "--max-pixels",
        "3600M",
    ];
    shell.fails(&allowed, 3, &["cut off"]);
}

#[test]
fn a_class_of_a_phones_pictures_is_told_that_they_are_heic_and_what_to_do() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 2);
    std::fs::create_dir(data.join("phone")).unwrap();
    for name in ["IMG_1.HEIC", "IMG_2.heic"] {
        let heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic";
        std::fs::write(data.join("phone").join(name), heic).unwrap();
    }
    let words = [
        "no usable photo in class `phone`",
        "a HEIC picture is not supported (2 files, such as phone/IMG_1.HEIC)",
        "help: convert it to JPEG first (`heif-convert",
    ];
    shell.fails(&["train", "data", "--model", "squeezenet1_1"], 3, &words);
    for class in ["fish", "windmill"] {
        std::fs::remove_dir_all(data.join(class)).unwrap();
    }
    std::fs::rename(data.join("phone"), data.join("goldfish")).unwrap();
    let words = ["no usable photo", "HEIC", "heif-convert"];
    shell.fails(&["evaluate", "squeezenet1_1", "data"], 3, &words);
}

#[test]
fn a_giant_is_too_large_in_one_wording_whatever_its_format_and_side() {
    let shell = Shell::new();
    let fixture = |name: &str| root().join("photos/tests/fixtures").join(name);
    let giants = [
        "bomb.png",
        "png_giant_width.png",
        "png_giant_height.png",
        "bomb.bmp",
        "bomb.jpg",
        "tiff_bomb.tif",
    ];
    let paths: Vec<_> = giants.iter().map(|name| fixture(name)).collect();
    let photo = photos()[0].clone();
    let mut arguments = vec!["predict", "squeezenet1_1", "--json", text(&photo)];
    arguments.extend(paths.iter().map(|path| text(path)));
    let answers = shell.json(&arguments);
    assert!(answers[0]["top"].is_array(), "{answers:?}");
    for (name, answer) in giants.iter().zip(&answers[1..]) {
        assert_eq!(answer["skipped"]["kind"], "too_large", "{name}: {answer}");
        let reason = answer["skipped"]["reason"].as_str().unwrap();
        assert!(reason.contains("2 GiB are allowed"), "{name}: {reason}");
    }
    // A small file that goes over a large picture again and again.
    let scans = fixture("jpeg_60_scans.jpg");
    let words = ["60 scans", "at most 37", "jpegtran"];
    shell.fails(&["predict", "squeezenet1_1", text(&scans)], 3, &words);
}

#[test]
fn pictures_that_are_not_read_are_named_with_what_to_do() {
    let shell = Shell::new();
    let kinds: [(&str, &[u8], &str, &str); 6] = [
        (
            "a.jpg",
            b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
            "HEIC",
            "heif-convert",
        ),
        (
            "b.jpg",
            b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf",
            "AVIF",
            "avifdec",
        ),
        ("c.jpg", b"8BPS\0\x01\0\0\0\0\0\0", "Photoshop", "export"),
        (
            "d.jpg",
            b"\0\0\0\x14ftypqt  \0\0\0\0qt  ",
            "video",
            "ffmpeg",
        ),
        ("e.jpg", b"%PDF-1.7\n", "PDF", "pdftoppm"),
        (
            "f.jpg",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
            "a Git LFS pointer",
            "git lfs pull",
        ),
    ];
    for (name, content, kind, help) in kinds {
        std::fs::write(shell.path(name), content).unwrap();
        let arguments = ["predict", "squeezenet1_1", name];
        shell.fails(&arguments, 3, &[kind, help]);
    }
}
