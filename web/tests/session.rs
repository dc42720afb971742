//! The web crate in a real browser: part of `cargo xtask test`.

#![allow(clippy::unwrap_used)] // helpers of tests, where a panic is the report
#![cfg(target_family = "wasm")]

use js_sys::{Array, Object, Reflect};
use rekindle_core::random::Random;
use rekindle_web::Session;
use wasm_bindgen::JsValue;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

const WEIGHTS: &[u8] = include_bytes!("../../assets/weights/squeezenet1_1.safetensors");
const SIDE: u32 = 96;

/// A noisy picture of one colour.
fn picture(colour: [u8; 3], seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..SIDE * SIDE)
        .flat_map(|_| {
            let noise = random.below(60) as u8;
            [
                colour[0].saturating_add(noise),
                colour[1].saturating_add(noise),
                colour[2],
                255,
            ]
        })
        .collect()
}

const RED: [u8; 3] = [180, 20, 30];
const BLUE: [u8; 3] = [20, 40, 200];

fn field(value: &JsValue, name: &str) -> JsValue {
    Reflect::get(value, &name.into()).unwrap()
}

fn number(value: &JsValue, name: &str) -> f64 {
    field(value, name).as_f64().unwrap()
}

fn text(value: &JsValue, name: &str) -> String {
    field(value, name).as_string().unwrap()
}

async fn session(device: &str) -> Session {
    let mut session = Session::open(device.into(), false, "a test".into())
        .await
        .unwrap();
    session.load(WEIGHTS.to_vec()).await.unwrap();
    session
}

async fn best(session: &Session, colour: [u8; 3], seed: u64) -> JsValue {
    let answers = session
        .classify(picture(colour, seed), SIDE, SIDE, 2)
        .await
        .unwrap();
    Array::from(&answers).get(0)
}

/// Two classes, four pictures each, a head.
async fn taught(device: &str) -> Session {
    let mut session = session(device).await;
    for (name, colour) in [("red", RED), ("blue", BLUE)] {
        let class = session.add_class(name.into());
        for seed in 0..4 {
            session
                .add_example(class, picture(colour, seed), SIDE, SIDE)
                .await
                .unwrap();
        }
    }
    let report = session.fit(Object::new().into()).await.unwrap();
    assert_eq!(number(&report, "trainAccuracy"), 1.0);
    assert_eq!(number(&report, "folds"), 4.0);
    assert_eq!(number(&report, "crossValidation"), 1.0);
    session
}

#[wasm_bindgen_test]
async fn a_network_says_what_it_is_and_answers_with_its_own_classes() {
    let session = session("cpu").await;
    assert_eq!(text(&session.device().unwrap(), "kind"), "cpu");
    let info = session.info().unwrap();
    assert_eq!(text(&info, "architecture"), "squeezenet1_1");
    assert_eq!(text(&info, "head"), "original");
    assert_eq!(number(&info, "parameters"), 1_235_496.0);
    assert!(field(&info, "trainable").is_null());
    assert_eq!(Array::from(&field(&info, "classes")).length(), 1000);
    assert!(number(&best(&session, RED, 9).await, "probability") > 0.0);
}

#[wasm_bindgen_test]
async fn two_classes_are_taught_told_apart_saved_and_opened_again() {
    let session = taught("cpu").await;
    let red = best(&session, RED, 100).await;
    assert_eq!(text(&red, "class"), "red");
    assert_eq!(text(&best(&session, BLUE, 100).await, "class"), "blue");

    let file = session.save_model().await.unwrap().to_vec();
    let mut other = Session::open("cpu".into(), false, String::new())
        .await
        .unwrap();
    let info = other.load(file.clone()).await.unwrap();
    assert_eq!(text(&info, "head"), "linear");
    assert_eq!(Array::from(&field(&info, "trainable")).length(), 2);
    let again = best(&other, RED, 100).await;
    assert!((number(&again, "probability") - number(&red, "probability")).abs() < 1e-6);
    assert!(
        other.save_model().await.unwrap().to_vec() == file,
        "the same model, the same bytes"
    );
}

#[wasm_bindgen_test]
async fn classes_and_examples_can_be_taken_back() {
    let mut session = taught("cpu").await;
    let id = session
        .add_example(0, picture(RED, 50), SIDE, SIDE)
        .await
        .unwrap();
    session.remove_example(id).unwrap();
    assert!(session.remove_example(id).is_err());
    session.rename_class(1, "sea".into()).unwrap();
    assert_eq!(text(&best(&session, BLUE, 100).await, "class"), "sea");
    session.remove_class(0).unwrap();
    let classes = Array::from(&session.classes().unwrap());
    assert_eq!(
        (classes.length(), number(&classes.get(0), "examples")),
        (1, 4.0)
    );
    let error = session.fit(JsValue::UNDEFINED).await.unwrap_err();
    assert_eq!(text(&error, "kind"), "train");
    session.reset();
    assert_eq!(text(&session.info().unwrap(), "head"), "original");
}

#[wasm_bindgen_test]
async fn bad_input_is_an_error_with_advice_and_loses_nothing() {
    let mut session = taught("cpu").await;
    let error = session.load(b"<html>".to_vec()).await.unwrap_err();
    assert_eq!(text(&error, "kind"), "model");
    assert!(!text(&error, "help").is_empty());
    assert_eq!(text(&best(&session, RED, 100).await, "class"), "red");
    assert!(session.classify(vec![0; 10], SIDE, SIDE, 1).await.is_err());
    assert!(
        session
            .add_example(7, picture(RED, 0), SIDE, SIDE)
            .await
            .is_err()
    );
}
