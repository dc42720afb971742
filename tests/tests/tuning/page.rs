//! What the page's own test trains by (`tests/browser/training.test.mjs`): a network and a case of the golden, in a form
//! that JavaScript reads.

use std::collections::BTreeMap;
use std::path::Path;

use rekindle_core::backbone::find;
use rekindle_core::head::HeadKind;
use rekindle_core::model::{Contents, ModelCard};
use rekindle_core::weights::{
    Generated, Numbers, StateDict, StorageDtype, Tensors, write_safetensors,
};
use serde_json::{Value, json};

use crate::golden::{Case, Told, floats};
use crate::trainer::{SEED, asked};

/// The case: the last stages of a small network, frozen statistics, AdamW with decay where recipes have it.
const CASE: &str = "last_mobilenet_spared";

/// The network of a case as a model file.
fn model(case: &Case<'_>) -> Vec<u8> {
    let architecture = find(case.network()).unwrap();
    let mut card = ModelCard::published(architecture, architecture.weights.first().unwrap());
    card.preset = card.preset.with_size(case.side as u32).unwrap();
    card.head = HeadKind::Linear { lift: 0.0 };
    card.classes = (0..case.classes)
        .map(|class| format!("class {class}"))
        .collect();
    let contents = Contents::ported(architecture, card, &Generated).unwrap();
    contents.save().unwrap()
}

/// Of each tensor: the places that are compared, what stood there, and what stands there at the end.
fn rows(told: &Told, case: &Case<'_>, start: &Tensors) -> Vec<Value> {
    let rows = told.rows(case, false).into_iter();
    let row = rows.map(|(name, row)| {
        let before = &start[name].1;
        let places = row.places(name, before.len()).into_iter();
        let places = places.map(|(place, value)| json!([place, before[place], value]));
        json!({
            "name": name,
            "largest": row.largest,
            "norm": row.norm,
            "moved": row.moved,
            "places": places.collect::<Vec<_>>(),
        })
    });
    row.collect()
}

#[test]
fn the_case_that_the_page_trains_by_is_written_for_it() {
    let told = Told::read();
    let case = told.case(CASE);
    let (recipe, labels) = asked(&case);
    let (_, start) = case.graph();
    let mut recipe = serde_json::to_value(&recipe).unwrap();
    // Generated networks are trained without what PyTorch would draw.
    recipe["dropout"] = json!(0.0);
    recipe["stochastic_depth"] = json!(0.0);
    let rows = rows(&told, &case, &start);
    assert!(rows.len() > 100 && rows.iter().any(|row| row["moved"] != 0.0));
    let said = json!({
        "recipe": recipe,
        "seed": SEED,
        "labels": labels,
        "losses": floats(case.get("losses")),
        "rows": rows,
    });
    let images: Tensors = (0..case.steps)
        .map(|step| {
            let shape = vec![case.batch(), 3, case.side, case.side];
            (
                format!("images.{step}"),
                (shape, Numbers::from(case.images(step))),
            )
        })
        .collect();
    let model = model(&case);
    let Some(folder) = std::env::var_os("REKINDLE_TUNING") else {
        return;
    };
    let mut tensors = StateDict::new();
    for (name, (shape, values)) in &images {
        tensors.insert(name, (shape, values));
    }
    let metadata = BTreeMap::from([("golden".to_owned(), said.to_string())]);
    let case = write_safetensors(&tensors, &metadata, StorageDtype::F32).unwrap();
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("model.safetensors"), model).unwrap();
    std::fs::write(folder.join("case.safetensors"), case).unwrap();
}
