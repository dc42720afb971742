//! Folders that divide a data set, by the names that people give them.

use crate::dataset::split::Split;

/// What a folder's name says it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Photos to learn from or to measure on.
    Split(Split),
    /// Photos that nobody has sorted, as competitions hand them out.
    Unlabelled,
}

/// A folder's name, understood as that of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartName {
    pub part: Part,
    /// What else is in the name: nothing in `train` and `Training_Set`, `seg` in `seg_train`. A name with
    /// something else may well be a class's (`bullet_train`), unless its neighbours are named alike.
    pub rest: String,
}

/// Words that say nothing of their own beside the name of a part.
const FILLERS: [&str; 19] = [
    "set", "data", "dataset", "split", "part", "folder", "dir", "image", "images", "img", "imgs",
    "photo", "photos", "picture", "pictures", "pics", "jpg", "jpeg", "png",
];

fn part_of_word(word: &str) -> Option<Part> {
    Some(match word {
        "train" | "training" | "trn" => Part::Split(Split::Train),
        "val" | "valid" | "validate" | "validation" | "dev" => Part::Split(Split::Val),
        "test" | "tests" | "testing" | "tst" | "eval" | "evaluation" | "holdout" => {
            Part::Split(Split::Test)
        }
        "pred" | "predict" | "prediction" | "predictions" | "unlabeled" | "unlabelled"
        | "inference" | "submission" => Part::Unlabelled,
        _ => return None,
    })
}

/// Understands a folder's name: `train`, `Validation`, `test_set`, `train2017`, `trainImages`,
/// `seg_train`. Nothing if it names no part, or two.
pub fn part_of(name: &str) -> Option<PartName> {
    let words: Vec<String> = words(name);
    let words: Vec<&str> = words.iter().map(|word| unfilled(word)).collect();
    let words: Vec<&str> = words
        .into_iter()
        .filter(|word| !word.is_empty() && !FILLERS.contains(word))
        .collect();
    let (first, last) = (words.first()?, words.last()?);
    let (part, rest) = match (part_of_word(first), part_of_word(last)) {
        (Some(part), _) if words.len() == 1 => (part, &words[..0]),
        (Some(_), Some(_)) => return None,
        (Some(part), None) => (part, &words[1..]),
        (None, Some(part)) => (part, &words[..words.len() - 1]),
        (None, None) => return None,
    };
    Some(PartName {
        part,
        rest: rest.join(" "),
    })
}

/// Whether a folder of this name may hold photos of all classes mixed: a part's name, a filler, or a
/// word for what nobody knows.
pub fn is_generic(name: &str) -> bool {
    let words = words(name);
    let known = |word: &String| {
        let word = unfilled(word);
        let unknown = [
            "unknown",
            "all",
            "none",
            "other",
            "unclassified",
            "unsorted",
        ];
        word.is_empty() || FILLERS.contains(&word) || unknown.contains(&word)
    };
    part_of(name).is_some() || words.iter().all(known)
}

/// The words of a name in lowercase, without numbers: `Train_Set2017` is `train`, `set`; so is
/// `TrainSet`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for letter in name.chars() {
        if !letter.is_alphabetic() || (before.is_lowercase() && letter.is_uppercase()) {
            words.push(String::new());
        }
        if letter.is_alphabetic()
            && let Some(word) = words.last_mut()
        {
            word.extend(letter.to_lowercase());
        }
        before = letter;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// `train` of `trainset`; other words as they are.
fn unfilled(word: &str) -> &str {
    FILLERS
        .iter()
        .filter_map(|filler| word.strip_suffix(filler))
        .find(|stem| part_of_word(stem).is_some())
        .unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_known_by_their_usual_names() {
        let cases: [(Part, &[&str]); 4] = [
            (
                Part::Split(Split::Train),
                &[
                    "train",
                    "Train",
                    "TRAIN",
                    "training",
                    "train_set",
                    "Training Set",
                    "trainset",
                    "TrainImages",
                    "train-images",
                    "images_train",
                    "train2017",
                    "training_data",
                    "trn",
                ],
            ),
            (
                Part::Split(Split::Val),
                &[
                    "val",
                    "Valid",
                    "validation",
                    "val2017",
                    "dev",
                    "ValSet",
                    "validation_set",
                ],
            ),
            (
                Part::Split(Split::Test),
                &[
                    "test",
                    "Testing",
                    "tests",
                    "test1",
                    "test_images",
                    "evaluation",
                    "testset",
                ],
            ),
            (Part::Unlabelled, &["pred", "unlabelled"]),
        ];
        for (part, names) in cases {
            for name in names {
                let rest = String::new();
                assert_eq!(part_of(name), Some(PartName { part, rest }), "{name}");
            }
        }
        for (name, part, rest) in [
            ("seg_train", Part::Split(Split::Train), "seg"),
            ("seg_pred", Part::Unlabelled, "seg"),
            (
                "asl_alphabet_test",
                Part::Split(Split::Test),
                "asl alphabet",
            ),
            ("ILSVRC2012_img_val", Part::Split(Split::Val), "ilsvrc"),
            ("train_cropped", Part::Split(Split::Train), "cropped"),
        ] {
            let rest = rest.to_owned();
            assert_eq!(part_of(name), Some(PartName { part, rest }), "{name}");
        }
        for class in [
            "cat",
            "trainer",
            "testament",
            "valley",
            "device",
            "trains",
            "protest",
            "train_test",
            "images",
            "2019",
            "",
            "Ünïcödé",
        ] {
            assert_eq!(part_of(class), None, "{class}");
        }
        assert!(
            is_generic("images") && is_generic("unknown") && is_generic("test1") && is_generic("1")
        );
        assert!(!is_generic("cat"));
    }
}
