//! What files are that hold no weights, or weights in a form that is not read here: told by their content,
//! with what to do about it.

use super::error::WeightsError;

/// What a file is, and what to do with it.
type Known = (&'static str, &'static str);

const AGAIN: &str = "give a .safetensors file, or a .pth file written by torch.save; if it was downloaded, \
     delete it and download it again";
const PICTURE: &str =
    "the model comes first, then the photos: give a .safetensors or .pth file here";
const UNPACK: &str = "unpack it, and give the .pth or .safetensors file in it";
const TORCHSCRIPT: &str = "load it in PyTorch and save its weights alone: \
     torch.save(torch.jit.load(FILE, map_location=\"cpu\").state_dict(), \"weights.pth\")";
const EXPORTED: &str = "load it in PyTorch and save its weights alone: \
     torch.save(torch.export.load(FILE).state_dict, \"weights.pth\")";
const NEVER_TENSORFLOW: &str = "TensorFlow and Keras name and order weights in their own way: take the same network's \
     PyTorch weights (.pth or .safetensors; `rekindle models` lists those that are published)";
const COMPILED: &str = "it was made from trained weights to be run elsewhere: give the .pth or .safetensors file \
     that it was exported from";
const GGUF: &str = "GGUF holds language models, mostly in a few bits a number: give an image network's .pth or \
     .safetensors file";
const ARRAYS: &str = "load it in Python and save it by the network's names: \
     torch.save({name: torch.from_numpy(array) for …}, \"weights.pth\")";

/// The error for what is no weight file that can be read.
pub(super) fn refuse(bytes: &[u8]) -> WeightsError {
    let (found, help) = recognise(bytes);
    WeightsError::NotAWeightFile { found, help }
}

/// The error for a pickle that is no PyTorch file.
pub(super) fn refuse_pickle() -> WeightsError {
    WeightsError::NotAWeightFile {
        found: "a pickle that torch.save did not write",
        help: ARRAYS,
    }
}

/// The error for a zip archive of these entries that is no PyTorch file, if it is none.
pub(super) fn refuse_zip<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<WeightsError> {
    let has = |end: &str| {
        names
            .clone()
            .any(|name| name == end || name.strip_suffix(end).is_some_and(|s| s.ends_with('/')))
    };
    let any = |test: &dyn Fn(&str) -> bool| names.clone().any(test);
    let ends = |ends: &'static [&'static str]| {
        move |name: &str| {
            let name = name.to_ascii_lowercase();
            ends.iter().any(|end| name.ends_with(end))
        }
    };
    let (found, help) = if has("constants.pkl") {
        ("a TorchScript program", TORCHSCRIPT)
    } else if has("models/model.json") || has("serialized_exported_program.json") {
        ("a program of torch.export", EXPORTED)
    } else if has("data.pkl") {
        return None;
    } else if has("model.weights.h5") {
        ("a Keras model", NEVER_TENSORFLOW)
    } else if has("saved_model.pb") {
        ("a zip archive of a TensorFlow model", NEVER_TENSORFLOW)
    } else if has("model.json") && any(&ends(&[".bin"])) {
        ("a zip archive of a TensorFlow.js model", NEVER_TENSORFLOW)
    } else if any(&ends(&[".npy"])) {
        ("an archive of NumPy arrays", ARRAYS)
    } else if any(&ends(&[".pth", ".pt", ".safetensors", ".ckpt", ".bin"])) {
        ("a zip archive with weights in it", UNPACK)
    } else if any(&ends(&[".h5", ".keras", ".tflite", ".pb"])) {
        (
            "a zip archive of a TensorFlow or Keras model",
            NEVER_TENSORFLOW,
        )
    } else if any(&ends(&[".onnx"])) {
        ("a zip archive of an ONNX model", COMPILED)
    } else {
        (
            "a zip archive that torch.save did not write (it has no `data.pkl`)",
            AGAIN,
        )
    };
    Some(WeightsError::NotAWeightFile { found, help })
}

fn recognise(bytes: &[u8]) -> Known {
    let text = bytes
        .strip_prefix(b"\xEF\xBB\xBF")
        .unwrap_or(bytes)
        .trim_ascii_start();
    let says = |word: &[u8]| {
        let head = &bytes[..bytes.len().min(4096)];
        head.windows(word.len()).any(|found| found == word)
    };
    match text {
        [] => return ("an empty file", AGAIN),
        [b'<', ..] if says(b"<net ") && says(b"<layers>") => {
            return ("an OpenVINO model", COMPILED);
        }
        [b'<', ..] => {
            let page =
                "a web page (HTML): perhaps an error page, or the login page of a public network";
            return (page, AGAIN);
        }
        [b'{', ..] if says(b"modelTopology") || says(b"weightsManifest") => {
            return ("a TensorFlow.js model", NEVER_TENSORFLOW);
        }
        [b'{' | b'[', ..] => return ("a JSON text", AGAIN),
        _ if text.starts_with(b"version https://git-lfs") => {
            let pointer = "a Git LFS pointer: the weights themselves were not fetched";
            return (
                pointer,
                "fetch them with `git lfs pull`, or download the file from the site",
            );
        }
        _ if text.starts_with(b"model_checkpoint_path:") => {
            return (
                "the index of a folder of TensorFlow checkpoints",
                NEVER_TENSORFLOW,
            );
        }
        _ => {}
    }
    match bytes {
        [0x1F, 0x8B, ..] => ("a gzip archive, to be unpacked first", UNPACK),
        [0xFD, b'7', b'z', b'X', b'Z', ..]
        | [b'B', b'Z', b'h', ..]
        | [0x28, 0xB5, 0x2F, 0xFD, ..]
        | [b'7', b'z', 0xBC, 0xAF, ..]
        | [b'R', b'a', b'r', b'!', ..] => ("a compressed archive, to be unpacked first", UNPACK),
        [b'P', b'K', ..] => ("an empty or split zip archive", AGAIN),
        _ if is_picture(bytes) => ("a picture", PICTURE),
        [b'G', b'G', b'U', b'F', ..] => ("a GGUF file", GGUF),
        [b'l' | b't' | b'f', b'm' | b'j', b'g', b'g', ..] => {
            ("a GGML file, from before GGUF", GGUF)
        }
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => ("a NumPy array", ARRAYS),
        // Its mark stands behind the place of the root table.
        _ if bytes.get(4..8) == Some(b"TFL3") => ("a TensorFlow Lite model", NEVER_TENSORFLOW),
        _ if bytes.get(4..8) == Some(b"ET12") => ("an ExecuTorch program", COMPILED),
        _ if is_hdf5(bytes) => hdf5(bytes),
        // The foot of a LevelDB table, in which TensorFlow keeps checkpoints and their indices.
        _ if bytes.ends_with(&0xDB47_7524_8B80_FB57_u64.to_le_bytes()) => {
            ("a TensorFlow checkpoint", NEVER_TENSORFLOW)
        }
        _ => match protocol_buffer(bytes) {
            Some(known) => known,
            None if bytes.len() < 16 => ("a file too short to hold weights", AGAIN),
            None => ("a file of an unknown kind", AGAIN),
        },
    }
}

/// Whether a file begins as photos do.
fn is_picture(bytes: &[u8]) -> bool {
    match bytes {
        [0xFF, 0xD8, 0xFF, ..]
        | [0x89, b'P', b'N', b'G', ..]
        | [b'G', b'I', b'F', b'8', ..]
        | [b'I', b'I', b'*', 0, ..]
        | [b'M', b'M', 0, b'*', ..]
        | [b'8', b'B', b'P', b'S', ..]
        | [b'P', b'1'..=b'6', b' ' | b'\n' | b'\r' | b'\t', ..] => true,
        // The file's length follows.
        [b'B', b'M', a, b, c, d, ..] => {
            usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])) == Ok(bytes.len())
        }
        [b'R', b'I', b'F', b'F', ..] => bytes.get(8..12) == Some(b"WEBP"),
        // HEIC, AVIF and films.
        _ => bytes.get(4..8) == Some(b"ftyp"),
    }
}

/// HDF5's mark stands at the start, or after a block of the user's own of 512 bytes, 1024, 2048 and so on.
fn is_hdf5(bytes: &[u8]) -> bool {
    let at = |at: usize| bytes.get(at..at + 8) == Some(b"\x89HDF\r\n\x1A\n");
    at(0) || (9..24).any(|power| at(1 << power))
}

fn hdf5(bytes: &[u8]) -> Known {
    /// How much of either end is looked through: names of attributes lie near them.
    const END: usize = 4 << 20;
    let ends = [
        &bytes[..bytes.len().min(END)],
        &bytes[bytes.len().saturating_sub(END)..],
    ];
    let says = |word: &[u8]| {
        ends.iter()
            .any(|end| end.windows(word.len()).any(|at| at == word))
    };
    let words = [
        &b"keras_version"[..],
        b"layer_names",
        b"weight_names",
        b"_layer_checkpoint_dependencies",
    ];
    match words.into_iter().any(says) {
        true => ("a Keras file of weights (HDF5)", NEVER_TENSORFLOW),
        false => ("an HDF5 file, as Keras writes", NEVER_TENSORFLOW),
    }
}

/// ONNX, TensorFlow and Core ML write Protocol Buffers, which have no mark: they are told by which fields
/// the message has, and of which kind. The numbers are from `onnx.proto`, `saved_model.proto`,
/// `meta_graph.proto`, `graph.proto` and `Model.proto`.
fn protocol_buffer(bytes: &[u8]) -> Option<Known> {
    /// Enough to come to ONNX's graph, behind whatever metadata.
    const MOST_FIELDS: usize = 256;
    let (mut first, mut numbers, mut lengths, mut at) = (None, Vec::new(), Vec::new(), 0);
    while at < bytes.len() && numbers.len() < MOST_FIELDS {
        // A file that is cut short still begins as what it is.
        let Some(field) = field(bytes, &mut at) else {
            break;
        };
        first.get_or_insert(field);
        numbers.push((field.number, field.varint.is_some()));
        lengths.push((field.number, field.content.len()));
    }
    let first = first?;
    let longest = |number: u64| {
        let of_number = lengths.iter().filter(|(found, _)| *found == number);
        of_number
            .map(|(_, length)| *length)
            .max()
            .unwrap_or_default()
    };
    let has = |number: u64, is_varint: bool| numbers.contains(&(number, is_varint));
    match (first.number, first.varint) {
        // ModelProto: `ir_version`, then names, `graph` (7), which is most of it, `opset_import` (8).
        (1, Some(_)) if 2 * longest(7) > bytes.len() || has(7, false) && has(8, false) => {
            Some(("an ONNX model", COMPILED))
        }
        // `specificationVersion`, `description`, and one of the kinds of model from 200 on.
        (1, Some(_))
            if numbers
                .iter()
                .any(|&(number, _)| (200..4000).contains(&number)) =>
        {
            Some(("a Core ML model", COMPILED))
        }
        // SavedModel: `saved_model_schema_version` 1, `meta_graphs`.
        (1, Some(1)) if has(2, false) => Some(("a TensorFlow SavedModel", NEVER_TENSORFLOW)),
        // GraphDef: `node`, whose `name` (1) and `op` (2) are texts. MetaGraphDef: `meta_info_def` (1),
        // `graph_def` (2), `saver_def` (3).
        (1, None) => {
            let mut inner = 0;
            let name = field(first.content, &mut inner)?;
            let op = field(first.content, &mut inner);
            let is_text = |field: &Field<'_>| {
                let text = std::str::from_utf8(field.content);
                field.varint.is_none()
                    && text.is_ok_and(|text| {
                        !text.is_empty() && text.chars().all(|letter| letter.is_ascii_graphic())
                    })
            };
            let is_node = name.number == 1
                && is_text(&name)
                && op.is_some_and(|op| op.number == 2 && is_text(&op));
            if is_node {
                return Some(("a frozen TensorFlow graph", NEVER_TENSORFLOW));
            }
            (has(2, false) && (has(3, false) || has(4, false)))
                .then_some(("the graph of a TensorFlow checkpoint", NEVER_TENSORFLOW))
        }
        _ => None,
    }
}

/// A field of a message.
#[derive(Clone, Copy)]
struct Field<'a> {
    number: u64,
    /// Its value, if it is an integer.
    varint: Option<u64>,
    /// Its bytes, as far as they are there, if it is a message or a text.
    content: &'a [u8],
}

/// The field at `at`, which moves behind it.
fn field<'a>(bytes: &'a [u8], at: &mut usize) -> Option<Field<'a>> {
    let key = varint(bytes, at)?;
    let number = key >> 3;
    let mut found = Field {
        number,
        varint: None,
        content: &[],
    };
    match key & 7 {
        _ if number == 0 => return None,
        0 => found.varint = Some(varint(bytes, at)?),
        1 => *at += 8,
        2 => {
            let len = usize::try_from(varint(bytes, at)?).ok()?;
            let rest = bytes.get(*at..)?;
            found.content = &rest[..len.min(rest.len())];
            *at = at.checked_add(len)?;
        }
        5 => *at += 4,
        _ => return None,
    }
    Some(found)
}

/// An integer of seven bits a byte, the lowest first.
fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}
