//! Files made by hand to lie: about lengths, shapes, places and names.

use rekindle_networks::weights::{WeightFile, WeightsError};

use crate::read_all;

/// The error a file must give; a text of it, so that the test can look for what it names.
fn error(bytes: &[u8]) -> String {
    read_all(bytes).unwrap_err().to_string()
}

// --- Pickles, in the legacy layout, where nothing else stands in the way. ---

/// A legacy file: magic number, version, system, then the pickles and storages given.
pub fn legacy(object: &[u8], keys: &[u8], storages: &[u8]) -> Vec<u8> {
    let mut file = b"\x80\x02\x8A\x0A\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19.".to_vec();
    file.extend_from_slice(b"\x80\x02M\xE9\x03.");
    file.extend_from_slice(b"\x80\x02}.");
    for part in [object, keys, storages] {
        file.extend_from_slice(part);
    }
    file
}

/// A legacy file whose object is this pickle, and that has no storages.
fn object(instructions: &[u8]) -> Vec<u8> {
    legacy(
        &[b"\x80\x02", instructions, b"."].concat(),
        b"\x80\x02].",
        b"",
    )
}

fn int(value: i64) -> Vec<u8> {
    [b"\x8A\x08".as_slice(), &value.to_le_bytes()].concat()
}

fn ints(values: &[i64]) -> Vec<u8> {
    let mut tuple = b"(".to_vec();
    tuple.extend(values.iter().flat_map(|&value| int(value)));
    tuple.push(b't');
    tuple
}

/// A legacy file of one `f32` tensor `w` over four elements, described as told.
fn tensor(announced: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let pickle = [
        b"\x80\x02}U\x01wctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpu",
        int(announced).as_slice(),
        b"NtQ",
        &int(offset),
        &ints(shape),
        &ints(strides),
        b"\x89}tRs.",
    ]
    .concat();
    let content = [1.0f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat();
    let storage = [announced.to_le_bytes().as_slice(), &content].concat();
    legacy(&pickle, b"\x80\x02]U\x010a.", &storage)
}

#[test]
fn the_forger_can_forge_a_sound_file() {
    let file = tensor(4, 1, &[3], &[1]);
    let read = WeightFile::parse(&file).unwrap();
    assert_eq!(read.get("w").unwrap().to_f32().unwrap(), [2.0, 3.0, 4.0]);
}

#[test]
fn a_view_outside_its_storage_is_refused() {
    let big = i64::MAX;
    for (offset, shape, strides) in [
        (4, vec![1], vec![1]),
        (0, vec![5], vec![1]),
        (1, vec![2, 2], vec![2, 1]),
        (0, vec![2], vec![big]),
        (big, vec![2], vec![big]),
        (-1, vec![1], vec![1]),
        (0, vec![-1], vec![1]),
        (0, vec![2], vec![-1]),
        (0, vec![big, big], vec![0, 0]),
        (0, vec![1 << 40], vec![0]),
        (0, vec![2, 2], vec![1]),
        (0, vec![1; 9], vec![1; 9]),
    ] {
        let told = error(&tensor(4, offset, &shape, &strides));
        assert!(
            told.contains("damaged"),
            "{offset} {shape:?} {strides:?}: {told}"
        );
    }
}

#[test]
fn strides_that_are_never_taken_may_be_anything() {
    for shape in [vec![1, 4], vec![0, 4]] {
        assert!(
            read_all(&tensor(4, 0, &shape, &[i64::MAX, 1])).is_ok(),
            "{shape:?}"
        );
    }
}

#[test]
fn a_storage_longer_than_the_file_is_refused() {
    for announced in [5, 1 << 40, i64::MAX] {
        let told = error(&tensor(announced, 0, &[4], &[1]));
        assert!(told.contains("cut short"), "{told}");
    }
    assert!(error(&tensor(-1, 0, &[4], &[1])).contains("persistent id"));
}

#[test]
fn names_that_run_code_are_refused_even_if_never_called() {
    for name in [
        "os\nsystem",
        "posix\nsystem",
        "nt\nsystem",
        "subprocess\nPopen",
        "builtins\neval",
        "builtins\nexec",
        "__builtin__\n__import__",
        "runpy\n_run_code",
        "torch\nload",
        "torch.hub\nload",
        "torch._dynamo\nexplain",
        "webbrowser\nopen",
        "os.path\njoin",
        "pickle\nloads",
        "importlib\nimport_module",
        "torch.utils.cpp_extension\nload",
    ] {
        let told = error(&object(&[b"c", name.as_bytes(), b"\n"].concat()));
        let shown = format!("`{}`", name.replace('\n', "."));
        assert!(told.contains(&shown) && told.contains("refused"), "{told}");
    }
    // The same through the instruction that takes the names from the stack.
    assert!(error(&object(b"\x8C\x02os\x8C\x06system\x93")).contains("`os.system`"));
    // Beside weights that could be read, too.
    let beside = [
        b"}U\x01m".as_slice(),
        b"}",
        b"sU\x01xcos\nsystem\nU\x02ls\x85Rs",
    ]
    .concat();
    assert!(error(&object(&beside)).contains("`os.system`"));
}

#[test]
fn objects_of_other_classes_are_data_and_no_weights() {
    for (code, class) in [
        (&b"cm.n\nC\n)\x81"[..], "`m.n.C`"),
        (b"cm.n\nC\n)R}b", "`m.n.C`"),
        (b"cm.n\nC\n)}\x92", "`m.n.C`"),
        (b"c\nC\x1B]0;x\x07\n)\x81", "\\u{1b}"),
    ] {
        let told = error(&object(code));
        assert!(
            told.contains("a whole pickled") && told.contains(class),
            "{told}"
        );
    }
    // The class itself, and what a call of an unknown function gave.
    for code in [&b"cm.n\nC\n"[..], b"c__builtin__\ngetattr\n)R)R"] {
        assert!(error(&object(code)).contains("no dictionary of named tensors"));
    }
}

#[test]
fn a_name_cannot_write_to_the_terminal() {
    let told = error(&object(b"c\x1B]0;pwned\x07\nx\n)\x81"));
    assert!(!told.contains('\x1B') && told.contains("\\u{1b}"), "{told}");
    let long = [b"c".as_slice(), &[b'a'; 100_000], b"\nx\n)\x81"].concat();
    assert!(error(&object(&long)).len() < 300);
}

#[test]
fn instructions_that_build_objects_are_refused() {
    for (code, name) in [
        (&b"(ios\nsystem\n"[..], "0x69"),
        (b"(o", "0x6F"),
        (b")}}\x92", "0x92"),
        (b"\x82\x01", "0x82"),
    ] {
        let file = object(code);
        assert!(
            matches!(WeightFile::parse(&file), Err(WeightsError::Refused { .. })),
            "{name}"
        );
        assert!(error(&file).contains(name));
    }
}

#[test]
fn a_call_of_data_is_refused() {
    for code in [
        &b"U\x06system)R"[..],
        b"})R",
        b"))\x81",
        b"ccollections\nOrderedDict\nNR",
    ] {
        assert!(error(&object(code)).contains("damaged"), "{code:?}");
    }
}

#[test]
fn lengths_beyond_the_file_are_refused() {
    for code in [
        &b"X\xFF\xFF\xFF\xFF"[..],
        b"T\xFF\xFF\xFF\x7F",
        b"\x8B\xFF\xFF\xFF\x7F",
        b"\x8D\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
        b"\x8E\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F",
        b"\x96\0\0\0\0\0\0\0\x80",
        b"\x8A\xFF",
        b"cos",
    ] {
        assert!(error(&object(code)).contains("cut short"), "{code:?}");
    }
}

#[test]
fn a_stack_that_runs_out_is_an_error() {
    for code in [
        &b"0"[..],
        b"1",
        b"t",
        b"u",
        b"e",
        b"s",
        b"a",
        b"R",
        b"b",
        b"Q",
        b"\x85",
        b"\x87",
        b"\x93",
        b"h\x00",
        b"j\xFF\xFF\xFF\xFF",
        b"q\x00",
        b"\x94",
        b"(0",
        b"N(R",
        b"}(Nu",
        b"N(\x86",
        b"",
    ] {
        assert!(error(&object(code)).contains("damaged"), "{code:?}");
    }
}

#[test]
fn values_that_hold_themselves_are_harmless() {
    // A list in itself, a dictionary in itself, and a dictionary under its own `state_dict`.
    for code in [&b"]q\0h\0a"[..], b"}q\0h\0h\0s", b"}q\0U\x0Astate_dicth\0s"] {
        assert!(
            error(&object(code)).contains("no dictionary of named tensors"),
            "{code:?}"
        );
    }
}

#[test]
fn nesting_and_length_are_capped() {
    assert!(error(&object(&b"(".repeat(300))).contains("nesting"));
    assert!(error(&object(&b"]".repeat(3 << 20))).contains("number of instructions"));
    // Ten thousand copies of a list of ten thousand pairs.
    let mut copies = b"]q\0(".to_vec();
    copies.extend(b"NN\x86".repeat(10_000));
    copies.extend(b"e");
    copies.extend(b"ccollections\nOrderedDict\nh\0\x85R0".repeat(10_000));
    assert!(error(&object(&copies)).contains("number of instructions"));
    // A list deeper than any stack, one level each instruction: fine, for nothing recurses.
    let deep = [b"]".as_slice(), &b"\x85".repeat(100_000)].concat();
    assert!(error(&object(&deep)).contains("no dictionary"));
}

#[test]
fn plain_numbers_cost_what_it_takes_to_read_past_them() {
    // As Python writes long lists: a thousand items at a time.
    let float = [&b"G"[..], &0.5f64.to_be_bytes()].concat();
    let kinds = [
        float.clone(),
        b"N".to_vec(),
        b"\x88".to_vec(),
        b"K\x07".to_vec(),
        b"M\x07\x01".to_vec(),
        b"J\x07\x01\x01\0".to_vec(),
        int(1 << 40),
    ];
    for number in kinds {
        let batch = [b"(".as_slice(), &number.repeat(1000), b"e"].concat();
        let list = [b"]".as_slice(), &batch.repeat(3000)].concat();
        assert!(
            error(&object(&list)).contains("no dictionary"),
            "{number:?}"
        );
    }
    let pairs = [&int(1 << 40)[..], &float].concat();
    let batch = [b"(".as_slice(), &pairs.repeat(1000), b"u"].concat();
    let dictionary = [b"}".as_slice(), &batch.repeat(2000)].concat();
    assert!(error(&object(&dictionary)).contains("no dictionary"));
    // A number that is named before it goes into a list is still there behind it.
    let named = [b"](", &int(1 << 40).repeat(20)[..], b"q\x07e0h\x07"].concat();
    assert!(error(&object(&named)).contains("no dictionary"));
    let shape = [
        b"](".as_slice(),
        &int(1 << 40).repeat(20),
        b"q\x07e",
        &int(1 << 41),
        b"ah\x07\x85R",
    ]
    .concat();
    assert!(error(&object(&shape)).contains("a call of what is not a function"));
}

#[test]
fn flags_that_many_tensors_share_are_charged_to_each() {
    // A dictionary of ten thousand flags, all off, in memo 0; a storage in memo 1.
    let mut shared = b"}q\0(".to_vec();
    shared.extend(b"NN".repeat(10_000));
    shared.extend(b"u0(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x04tQq\x01");
    let call = b"ctorch._utils\n_rebuild_tensor_v2\n(h\x01K\0))\x89Nh\0tR0";
    shared.extend(call.repeat(100));
    assert!(error(&object(&shared)).contains("number of instructions"));
}

#[test]
fn what_a_checkpoint_says_many_times_over_is_read_a_limited_number_of_times() {
    let tensor = b"ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x04tQ\
        K\0K\x04\x85K\x01\x85\x89}tRq\x000";
    let short = |text: &str| [&[b'U', text.len() as u8][..], text.as_bytes()].concat();
    // In memo 1 a dictionary of ten thousand tensors, all the same one.
    let mut shared = tensor.to_vec();
    shared.extend(b"}(");
    for number in 0..10_000 {
        shared.extend([&short(&number.to_string())[..], b"h\0"].concat());
    }
    shared.extend(b"uq\x010");
    // Modules that have all of them as parameters, or as buffers, or hold one more such module.
    for part in ["_parameters", "_buffers"] {
        let mut modules = shared.clone();
        modules.extend(
            [
                b"}(U\x08_modules}",
                &short(part)[..],
                b"h\x01uq\x020cmine\nNet\nq\x030}(",
            ]
            .concat(),
        );
        for number in 0..1000 {
            let name = short(&format!("net{number}"));
            modules.extend([&name[..], b"h\x03)\x81h\x02b"].concat());
        }
        modules.push(b'u');
        assert!(
            error(&object(&modules)).contains("number of entries"),
            "{part}"
        );
    }
    // A module that is made of itself, a thousand times.
    let mut made = b"cmine\nNet\nq\x010]q\x020}(".to_vec();
    for number in 0..1000 {
        let name = short(&format!("net{number}"));
        made.extend([&name[..], b"h\x01h\x02\x85R"].concat());
    }
    made.push(b'u');
    assert!(read_all(&object(&made)).is_err());
    // One long name, as often as there are instructions.
    let mut names = [
        tensor.as_slice(),
        b"X\0\x04\0\0",
        &[b'n'; 1024],
        b"q\x010}(",
    ]
    .concat();
    names.extend(b"h\x01h\0".repeat(62_000));
    names.push(b'u');
    assert!(error(&object(&names)).contains("number of entries"));
}

#[test]
fn names_longer_than_any_networks_are_refused() {
    let name = "n".repeat(2000);
    let in_pickle = [b"X\xD0\x07\0\0", name.as_bytes()].concat();
    let tensor = |named: &[u8], key: &[u8]| {
        let tensor = b"ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\n";
        let rest = b"U\x03cpuK\x04tQK\0K\x04\x85K\x01\x85\x89}tRs.";
        let pickle = [b"\x80\x02}", named, tensor, key, rest].concat();
        let storage = [&4u64.to_le_bytes()[..], &[0; 16]].concat();
        legacy(&pickle, &[b"\x80\x02]", key, b"a."].concat(), &storage)
    };
    assert!(read_all(&tensor(b"U\x01w", b"U\x010")).is_ok());
    let entry = r#"{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#;
    for file in [
        tensor(&in_pickle, b"U\x010"),
        tensor(b"U\x01w", &in_pickle),
        zip(
            &[
                stored("a/data.pkl", &zip_pickle("0")),
                stored(name.leak(), b""),
            ],
            None,
        ),
        safetensors(&format!(r#"{{"{}":{entry}}}"#, "n".repeat(2000)), b""),
    ] {
        let told = error(&file);
        assert!(told.contains("length of the name `nnn"), "{told}");
        assert!(told.len() < 300);
    }
}

// --- Zip archives. ---

pub struct ZipEntry {
    name: &'static str,
    content: Vec<u8>,
    method: u16,
}

pub fn stored(name: &'static str, content: &[u8]) -> ZipEntry {
    ZipEntry {
        name,
        content: content.to_vec(),
        method: 0,
    }
}

/// A zip archive of entries without checksum; the directory claims `count` entries if told to.
pub fn zip(entries: &[ZipEntry], count: Option<u16>) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let start = file.len() as u32;
        let size = (entry.content.len() as u32).to_le_bytes();
        let name_len = (entry.name.len() as u16).to_le_bytes();
        let common = [
            &[0x14, 0, 0, 0][..],
            &entry.method.to_le_bytes(),
            &[0; 8],
            &size,
            &size,
            &name_len,
            &[0, 0],
        ]
        .concat();
        let central = [
            b"PK\x01\x02\x14\0",
            common.as_slice(),
            &[0; 10],
            &start.to_le_bytes(),
        ];
        directory.extend(central.concat());
        directory.extend(entry.name.as_bytes());
        file.extend([b"PK\x03\x04", common.as_slice(), entry.name.as_bytes()].concat());
        file.extend(&entry.content);
    }
    let count = count.unwrap_or(entries.len() as u16).to_le_bytes();
    let (start, size) = (file.len() as u32, directory.len() as u32);
    file.extend(directory);
    file.extend([b"PK\x05\x06\0\0\0\0".as_slice(), &count, &count].concat());
    file.extend([&size.to_le_bytes()[..], &start.to_le_bytes(), &[0, 0]].concat());
    file
}

/// The pickle of one tensor of four `f32` over the storage `key`.
pub fn zip_pickle(key: &str) -> Vec<u8> {
    let head =
        b"\x80\x02}U\x01wctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU";
    let tail = b"U\x03cpuK\x04tQK\0K\x04\x85K\x01\x85\x89}tRs.";
    [&head[..], &[key.len() as u8], key.as_bytes(), tail].concat()
}

#[test]
fn the_forger_can_forge_a_sound_zip() {
    let file = zip(
        &[
            stored("a/data.pkl", &zip_pickle("0")),
            stored("a/data/0", &[0; 16]),
        ],
        None,
    );
    assert!(read_all(&file).is_ok());
}

#[test]
fn zip_directories_that_lie_are_refused() {
    let pickle = stored("a/data.pkl", &zip_pickle("0"));
    let sound = zip(&[pickle, stored("a/data/0", &[0; 16])], None);
    let claims_more = zip(&[stored("a/data.pkl", &zip_pickle("0"))], Some(u16::MAX));
    assert!(error(&claims_more).contains("directory lacks an entry"));

    // A zip64 end record that claims 2^60 entries, and one that lies nowhere.
    let zip64 = |entries: u64, record_at: u64| {
        let end = sound.len() - 22;
        let record = [
            &b"PK\x06\x06"[..],
            &[0; 28],
            &entries.to_le_bytes(),
            &[0; 16],
        ]
        .concat();
        let locator = [
            &b"PK\x06\x07\0\0\0\0"[..],
            &record_at.to_le_bytes(),
            &[0; 4],
        ]
        .concat();
        [&sound[..end], &record, &locator, &sound[end..]].concat()
    };
    assert!(error(&zip64(1 << 60, sound.len() as u64 - 22)).contains("number of entries"));
    assert!(error(&zip64(1, u64::MAX)).contains("zip64"));

    // The first entry's size in the directory: past the end, and overlapping all others.
    let directory = sound
        .windows(4)
        .position(|four| four == b"PK\x01\x02")
        .unwrap();
    for size in [u32::MAX - 1, sound.len() as u32 - 10] {
        let mut file = sound.clone();
        file[directory + 20..directory + 24].copy_from_slice(&size.to_le_bytes());
        file[directory + 24..directory + 28].copy_from_slice(&size.to_le_bytes());
        assert!(read_all(&file).is_err());
    }
}

#[test]
fn a_zip_bomb_of_overlapping_entries_is_refused() {
    let big = stored("a/data.pkl", &[0; 10_000]);
    let mut file = zip(&[big], None);
    let end = file.len() - 22;
    let directory = file
        .windows(4)
        .position(|four| four == b"PK\x01\x02")
        .unwrap();
    let header = file[directory..end].to_vec();
    // A hundred more directory entries for the same ten thousand bytes.
    file.splice(end..end, header.repeat(100));
    let end = file.len() - 22;
    file[end + 10..end + 12].copy_from_slice(&101u16.to_le_bytes());
    assert!(error(&file).contains("overlaps"));
}

#[test]
fn zip_entries_with_trouble_are_named() {
    let pickle = |key| stored("a/data.pkl", &zip_pickle(key));
    let storage = || stored("a/data/0", &[0; 16]);
    let path = zip(&[pickle("../../etc/passwd"), storage()], None);
    assert!(error(&path).contains("`../../etc/passwd` is missing"));
    let twice = zip(&[pickle("0"), storage(), storage()], None);
    assert!(error(&twice).contains("twice"));
    let short = zip(&[pickle("0"), stored("a/data/0", &[0; 15])], None);
    assert!(error(&short).contains("shorter than announced"));
    let deflated = ZipEntry {
        name: "a/data/0",
        content: vec![3, 0],
        method: 8,
    };
    assert!(error(&zip(&[pickle("0"), deflated], None)).contains("compressed"));
    let big_endian = zip(
        &[pickle("0"), storage(), stored("a/byteorder", b"big")],
        None,
    );
    assert!(error(&big_endian).contains("big-endian"));
    let script = zip(
        &[
            pickle("0"),
            storage(),
            stored("a/constants.pkl", b"\x80\x02)."),
        ],
        None,
    );
    assert!(error(&script).contains("TorchScript"));
    assert!(error(&zip(&[stored("word/document.xml", b"<a/>")], None)).contains("data.pkl"));
}

// --- Safetensors. ---

fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [
        &(header.len() as u64).to_le_bytes()[..],
        header.as_bytes(),
        data,
    ]
    .concat()
}

#[test]
fn safetensors_headers_that_lie_are_refused() {
    let entry = |shape: &str, begin: u64, end: u64| {
        format!(r#"{{"dtype":"F32","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
    };
    let one = |entry: &str| safetensors(&format!(r#"{{"w":{entry}}}"#), &[0; 16]);
    let two = |a: &str, b: &str| safetensors(&format!(r#"{{"a":{a},"b":{b}}}"#), &[0; 16]);
    assert!(read_all(&one(&entry("[2,2]", 0, 16))).is_ok());

    let max = u64::MAX;
    let cases = [
        (one(&entry("[2]", 0, 16)), "disagree"),
        (one(&entry("[2]", 0, 8)), "belong to no tensor"),
        (one(&entry("[3]", 4, 16)), "gap or overlap"),
        (one(&entry("[1]", 16, 12)), "gap or overlap"),
        (one(&entry("[5]", 0, 20)), "cut short"),
        (one(&entry(&format!("[{max},{max}]"), 0, 16)), "disagree"),
        (
            one(&entry(&format!("[{}]", max / 4), 0, max - 3)),
            "cut short",
        ),
        (
            one(&entry("[1,1,1,1,1,1,1,1,4]", 0, 16)),
            "at most 8 dimensions",
        ),
        (one(&entry("[-4]", 0, 16)), "the header says"),
        (one(&entry("[4.0]", 0, 16)), "the header says"),
        (
            two(&entry("[3]", 0, 12), &entry("[2]", 8, 16)),
            "gap or overlap",
        ),
        (
            two(&entry("[4]", 0, 16), &entry("[4]", 0, 16)),
            "gap or overlap",
        ),
        (
            one(&entry("[4]", 0, 16).replace("F32", "F8_E4M3")),
            "F8_E4M3",
        ),
        (one("[]"), "the header says"),
        (one("7"), "the header says"),
        (safetensors(r#"{"w":"#, &[]), "the header says"),
        (
            safetensors(r#"{"__metadata__":{"k":1}}"#, &[]),
            "the header says",
        ),
        (
            safetensors(r#"{"__metadata__":{},"__metadata__":{}}"#, &[]),
            "two entries of metadata",
        ),
        (
            safetensors(&format!("{{{}", r#""a":["#.repeat(100_000)), &[]),
            "the header says",
        ),
    ];
    for (file, words) in &cases {
        let told = error(file);
        assert!(told.contains(words), "{words}: {told}");
    }
}

#[test]
fn a_parser_repeats_little_of_the_file_and_nothing_for_the_terminal() {
    let text = format!(r"\u001b]0;pwned\u0007{}", "x".repeat(1 << 20));
    for header in [
        format!(r#"{{"w":"{text}"}}"#),
        format!(r#"{{"w":{{"dtype":"F32","shape":"{text}","data_offsets":[0,0]}}}}"#),
        format!(r#"{{"w":{{"dtype":"{text}","shape":[0],"data_offsets":[0,0]}}}}"#),
    ] {
        let told = error(&safetensors(&header, b""));
        assert!(told.len() < 400, "{} bytes", told.len());
        assert!(!told.contains(char::is_control), "{told:?}");
    }
}

#[test]
fn two_safetensors_entries_of_one_name_are_refused() {
    let empty = r#"{"dtype":"F32","shape":[0],"data_offsets":[0,0]}"#;
    let told = error(&safetensors(
        &format!(r#"{{"w":{empty},"w":{empty}}}"#),
        &[],
    ));
    assert!(told.contains("two tensors are named `w`"), "{told}");
}

#[test]
fn a_safetensors_header_that_is_too_long_is_refused_unread() {
    for (len, words) in [
        (100_000_001, "limit of 100000000"),
        (u64::MAX, "limit of 100000000"),
        (100_000_000, "cut short"),
        (3, "cut short"),
    ] {
        let file = [&u64::to_le_bytes(len)[..], b"{}"].concat();
        assert!(error(&file).contains(words), "{len}");
    }
}
