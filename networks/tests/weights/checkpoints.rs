//! Checkpoints as training scripts leave them: the weights are found among everything else, whatever classes
//! that is made of.
//!
//! The files were written by `torch.save`; the values are what `state_dict()` gave there.

use std::collections::BTreeMap;

use rekindle_networks::weights::{WeightFile, WeightsError};

use crate::hostile::{legacy, zip_pickle};
use crate::read::expected;

macro_rules! fixture {
    ($name:literal) => {
        &include_bytes!(concat!("../fixtures/weights/", $name))[..]
    };
}

/// Whether a file's tensors are the small network's, behind this prefix, times `scale`.
fn holds_the_network(file: &WeightFile<'_>, prefix: &str, scale: f32) {
    let truth = expected("net");
    let read: BTreeMap<_, _> = file
        .tensors()
        .iter()
        .filter_map(|(name, view)| Some((name.strip_prefix(prefix)?, view)))
        .collect();
    assert!(read.keys().eq(truth.keys()), "{:?}", file.tensors().keys());
    for (name, truth) in &truth {
        let view = read[name.as_str()];
        assert_eq!(view.shape(), truth.shape, "{name}");
        let values: Vec<f32> = truth.values.iter().map(|value| scale * value).collect();
        let found = view.to_f32().unwrap();
        let equal = found.iter().zip(&values).all(|(a, b)| (a - b).abs() < 1e-3);
        assert!(
            equal && found.len() == values.len(),
            "{name}: {found:?} {values:?}"
        );
    }
}

fn keys<'f>(file: &'f WeightFile<'_>) -> Vec<(&'f str, bool)> {
    let parts = file.parts().iter();
    parts
        .map(|part| (part.key.as_str(), part.averaged))
        .collect()
}

#[test]
fn a_lightning_checkpoint_is_read_whatever_its_hyper_parameters_are_made_of() {
    for bytes in [
        fixture!("lightning_zip.ckpt"),
        fixture!("lightning_legacy.ckpt"),
        fixture!("lightning_new_zip.ckpt"),
    ] {
        let file = WeightFile::parse(bytes).unwrap();
        assert_eq!(file.part(), "state_dict");
        holds_the_network(&file, "model.", 1.0);
        assert!(file.get("criterion.weight").is_some());
        for key in ["ema_model", "state_dict.ema_model"] {
            let averages = WeightFile::parse_part(bytes, key).unwrap();
            assert_eq!(averages.part(), key);
            holds_the_network(&averages, "module.", 0.0);
        }
        // The kinds that are not read are no reason to refuse the rest, and are named when they are wanted.
        let error = WeightFile::parse_part(bytes, "hyper_parameters").unwrap_err();
        assert!(matches!(error, WeightsError::Unsupported { .. }), "{error}");
    }
}

#[test]
fn averages_are_told_of_and_taken_when_asked_for() {
    let bytes = fixture!("timm_legacy.pth");
    let file = WeightFile::parse(bytes).unwrap();
    assert_eq!(
        keys(&file),
        [("state_dict", false), ("state_dict_ema", true)]
    );
    holds_the_network(&file, "", 1.0);
    let averages = WeightFile::parse_part(bytes, "state_dict_ema").unwrap();
    assert_eq!(averages.part(), "state_dict_ema");
    holds_the_network(&averages, "", 0.0);

    let file = WeightFile::parse(fixture!("averaged_legacy.pth")).unwrap();
    assert_eq!(keys(&file), [("", true)]);
    holds_the_network(&file, "module.", 1.0);
}

#[test]
fn a_key_that_leads_nowhere_is_answered_with_those_there_are() {
    for key in [
        "ema",
        "state_dict.x",
        "",
        "optimizer",
        "state_dic",
        "state_dict_ema.",
    ] {
        let error = WeightFile::parse_part(fixture!("timm_legacy.pth"), key).unwrap_err();
        assert!(
            matches!(error, WeightsError::NoPart { .. }),
            "{key}: {error}"
        );
        let told = error.to_string();
        assert!(told.contains("`state_dict`, `state_dict_ema`"), "{told}");
    }
}

#[test]
fn a_pickled_module_is_read_as_its_state_dict() {
    for bytes in [fixture!("module_zip.pth"), fixture!("module_legacy.pth")] {
        let file = WeightFile::parse(bytes).unwrap();
        holds_the_network(&file, "", 1.0);
    }
    let bytes = fixture!("modules_legacy.pt");
    let file = WeightFile::parse(bytes).unwrap();
    assert_eq!(keys(&file), [("model", false), ("ema", true)]);
    holds_the_network(&file, "", 1.0);
    holds_the_network(&WeightFile::parse_part(bytes, "ema").unwrap(), "", 1.0);
}

#[test]
fn fastais_saved_models_are_read_and_its_exports_are_refused_in_plain_words() {
    holds_the_network(
        &WeightFile::parse(fixture!("fastai_legacy.pth")).unwrap(),
        "",
        1.0,
    );
    let error = WeightFile::parse(fixture!("learner_legacy.pkl")).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("a whole pickled `__main__.Learner`"),
        "{error}"
    );
    assert!(
        error.help().contains("learn.model.state_dict()"),
        "{}",
        error.help()
    );
}

/// The legacy pickle of a dictionary: `tensor` is the storage and the rest of one tensor's.
fn nested(keys: &[&str], beside: &[u8]) -> Vec<u8> {
    around(|mut value| {
        for key in keys.iter().rev() {
            let key = [&[b'U', key.len() as u8], key.as_bytes()].concat();
            value = [b"}", &key[..], &value, b"s", beside].concat();
        }
        value
    })
}

/// The legacy pickle of what is made of the dictionary `{"w": tensor}`.
fn around(make: impl Fn(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
    let whole = zip_pickle("0");
    // Without `PROTO 2` and `STOP`.
    let value = make(whole[2..whole.len() - 1].to_vec());
    let storage = [4i64.to_le_bytes().as_slice(), &[0; 16]].concat();
    legacy(
        &[b"\x80\x02", value.as_slice(), b"."].concat(),
        b"\x80\x02]U\x010a.",
        &storage,
    )
}

#[test]
fn weights_are_found_under_any_key() {
    for keys in [
        &["state_dict"][..],
        &["model"],
        &["model_state_dict"],
        &["net"],
        &["network"],
        &["ema"],
        &["model_ema"],
        &["state_dict_ema"],
        &["anything"],
        &["checkpoint", "model"],
        &["a", "b", "c"],
    ] {
        let bytes = nested(keys, b"");
        let file = WeightFile::parse(&bytes).unwrap();
        assert_eq!(file.part(), keys.join("."));
        assert!(file.get("w").is_some());
        assert_eq!(
            file.parts()[0].averaged,
            keys[0].contains("ema"),
            "{keys:?}"
        );
    }
}

#[test]
fn a_dictionary_in_a_list_or_tuple_is_found() {
    type Make = fn(Vec<u8>) -> Vec<u8>;
    let cases: [(Make, &str); 4] = [
        (|value| [b"]", &value[..], b"a"].concat(), "0"),
        // `(state_dict, {"epoch": 1})`, `(1, state_dict)`, `{"models": [state_dict]}`.
        (|value| [&value[..], b"}U\x05epochK\x01s\x86"].concat(), "0"),
        (|value| [b"K\x01", &value[..], b"\x86"].concat(), "1"),
        (
            |value| [b"}U\x06models]", &value[..], b"as"].concat(),
            "models.0",
        ),
    ];
    for (make, key) in cases {
        let bytes = around(make);
        let file = WeightFile::parse(&bytes).unwrap();
        assert_eq!((file.part(), file.parts().len()), (key, 1));
        assert!(file.get("w").is_some());
        WeightFile::parse_part(&bytes, key).unwrap();
    }
    for (code, words) in [
        (&b"]K\x01a"[..], "a list of other things"),
        (b"K\x01", "a number"),
        (b"}U\x05epochK\x01s", "a dictionary of other things"),
    ] {
        let bytes = legacy(&[b"\x80\x02", code, b"."].concat(), b"\x80\x02].", b"");
        let told = WeightFile::parse(&bytes).unwrap_err().to_string();
        assert!(told.contains(words), "{told}");
    }
}

#[test]
fn a_file_that_was_cut_is_said_to_end_where_it_ends() {
    let whole = fixture!("module_zip.pth");
    let half = &whole[..whole.len() / 2];
    let told = WeightFile::parse(half).unwrap_err().to_string();
    let words = format!("it ends after {} bytes, without the directory", half.len());
    assert!(told.contains(&words), "{told}");
    let whole = fixture!("module_legacy.pth");
    for missing in [1, 9] {
        let part = &whole[..whole.len() - missing];
        let told = WeightFile::parse(part).unwrap_err().to_string();
        let words = format!(
            "should be at byte {}, but the file has {} bytes",
            whole.len(),
            part.len()
        );
        assert!(told.contains(&words), "{told}");
    }
}

#[test]
fn objects_beside_the_weights_are_passed_over_however_they_are_made() {
    for beside in [
        // An object of an unknown class with attributes, and one called in turn.
        &b"U\x01acmmcv.utils\nConfig\n)\x81}U\x01xK\x01sbs"[..],
        b"U\x01ac__builtin__\ngetattr\ncm\nC\nU\x01x\x86R)Rs",
        // A class by itself, an enumeration, a dictionary, list and set of other kinds.
        b"U\x01acm\nC\ns",
        b"U\x01acm\nMode\nK\x01\x85Rs",
        b"U\x01acm\nDict\n)\x81U\x01bK\x01ss",
        b"U\x01acm\nList\n)\x81K\x01as",
        b"U\x01ac__builtin__\nset\n]K\x01a\x85Rs",
        b"U\x01accopy_reg\n_reconstructor\ncm\nC\nc__builtin__\nobject\nN\x87Rs",
        // A tensor that is made by other means.
        b"U\x01actorch._utils\n_rebuild_sparse_tensor\nK\x01\x85Rs",
        // A name that is no UTF-8.
        b"U\x01aX\x01\0\0\0\x80s",
    ] {
        let bytes = nested(&["model"], beside);
        let file = WeightFile::parse(&bytes).unwrap_or_else(|e| panic!("{beside:?}: {e}"));
        assert_eq!(file.part(), "model");
    }
}

#[test]
fn modules_that_hold_themselves_are_refused() {
    // An object whose `_modules` hold the object.
    let code = b"cm\nC\n)\x81q\0}(U\x0B_parameters}U\x08_modules}U\x01mh\0sub";
    let file = legacy(&[b"\x80\x02", &code[..], b"."].concat(), b"\x80\x02].", b"");
    let error = WeightFile::parse(&file).unwrap_err();
    assert!(error.to_string().contains("nesting of modules"), "{error}");
    // A tower of modules, each of which holds the one below twice: 2^40 in all.
    let mut code = b"cm\nC\n)\x81}(U\x0B_parameters}U\x08_modules}ub0cm\nC\nq\0)\x81}(U\x0B_parameters}U\x08_modules}ub".to_vec();
    for _ in 0..40 {
        code.extend(b"q\x01h\0)\x81}(U\x0B_parameters}U\x08_modules}(U\x01ah\x01U\x01bh\x01uub");
    }
    let file = legacy(&[b"\x80\x02", &code[..], b"."].concat(), b"\x80\x02].", b"");
    let error = WeightFile::parse(&file).unwrap_err();
    assert!(error.to_string().contains("nesting of modules"), "{error}");
}
