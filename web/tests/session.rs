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

/// A noisy picture of one colour with some dark squares, elsewhere in each: no two belong together.
fn picture(colour: [u8; 3], seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let squares: Vec<[usize; 3]> = (0..1 + random.below(6))
        .map(|_| [random.below(80), random.below(80), 8 + random.below(50)])
        .collect();
    let is_dark = |index: u32| {
        let at = [(index / SIDE) as usize, (index % SIDE) as usize];
        squares.iter().any(|&[top, left, side]| {
            (top..top + side).contains(&at[0]) && (left..left + side).contains(&at[1])
        })
    };
    (0..SIDE * SIDE)
        .flat_map(|index| {
            let colour = if is_dark(index) { [0; 3] } else { colour };
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

/// Two classes, four pictures each, a head. The classes' ids come with it.
async fn taught(device: &str) -> (Session, [u32; 2]) {
    let mut session = session(device).await;
    let ids = [("red", RED), ("blue", BLUE)].map(|(name, colour)| {
        let class = session.add_class(name.into()).unwrap();
        (class, colour)
    });
    for (class, colour) in ids {
        for seed in 0..4 {
            session
                .add_example(class, picture(colour, seed), SIDE, SIDE)
                .await
                .unwrap();
        }
    }
    let report = fit(&mut session).unwrap();
    assert_eq!(number(&report, "trainAccuracy"), 1.0);
    let ids = ids.map(|(class, _)| class);
    (session, ids)
}

/// Fits to the end, as the worker does in pieces.
fn fit(session: &mut Session) -> Result<JsValue, JsValue> {
    session.start_fit(Object::new().into())?;
    while !field(&session.step_fit()?, "done").is_truthy() {}
    session.finish_fit()
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
async fn two_classes_are_taught_told_apart_measured_saved_and_opened_again() {
    let (mut session, [id, _]) = taught("cpu").await;
    let red = best(&session, RED, 100).await;
    assert_eq!(text(&red, "class"), "red");
    assert_eq!(number(&red, "id"), f64::from(id));
    assert_eq!(text(&best(&session, BLUE, 100).await, "class"), "blue");

    session.start_folds().unwrap();
    let mut step = session.step_folds().unwrap();
    assert!(field(&step, "of").is_undefined());
    while !field(&step, "done").is_truthy() {
        step = session.step_folds().unwrap();
    }
    assert_eq!(number(&step, "of"), 4.0);
    let measured = session.finish_folds().unwrap();
    assert_eq!(number(&measured, "folds"), 4.0);
    assert_eq!(number(&measured, "accuracy"), 1.0);

    let file = session.save_model().await.unwrap().to_vec();
    let mut other = Session::open("cpu".into(), false, String::new())
        .await
        .unwrap();
    let info = other.load(file.clone()).await.unwrap();
    assert_eq!(text(&info, "head"), "linear");
    assert_eq!(Array::from(&field(&info, "trainable")).length(), 2);
    let again = best(&other, RED, 100).await;
    assert!(field(&again, "id").is_null());
    assert!((number(&again, "probability") - number(&red, "probability")).abs() < 1e-6);
    assert!(
        other.save_model().await.unwrap().to_vec() == file,
        "the same model, the same bytes"
    );
}

#[wasm_bindgen_test]
async fn classes_and_examples_can_be_taken_back() {
    let (mut session, [red, blue]) = taught("cpu").await;
    let id = session
        .add_example(red, picture(RED, 50), SIDE, SIDE)
        .await
        .unwrap();
    session.remove_example(id).unwrap();
    assert!(session.remove_example(id).is_err());
    session.rename_class(blue, "sea".into()).unwrap();
    assert_eq!(text(&best(&session, BLUE, 100).await, "class"), "sea");
    session.remove_class(red).unwrap();
    let classes = Array::from(&session.classes().unwrap());
    assert_eq!(
        (classes.length(), number(&classes.get(0), "examples")),
        (1, 4.0)
    );
    let error = fit(&mut session).unwrap_err();
    assert_eq!(text(&error, "kind"), "train");
    session.reset();
    assert_eq!(text(&session.info().unwrap(), "head"), "original");
}

#[wasm_bindgen_test]
async fn a_head_goes_with_the_first_of_its_classes_and_no_class_takes_its_place() {
    let (mut session, [red, blue]) = taught("cpu").await;
    let revision = number(&session.info().unwrap(), "revision");
    session.remove_class(red).unwrap();
    let info = session.info().unwrap();
    assert_eq!(text(&info, "head"), "original");
    assert!(field(&info, "classIds").is_null());
    assert!(number(&info, "revision") > revision);
    let green = session.add_class("green".into()).unwrap();
    assert!(![red, blue].contains(&green));
    session.rename_class(green, "lawn".into()).unwrap();
    let answer = best(&session, BLUE, 100).await;
    assert!(!["red", "blue", "lawn"].contains(&&text(&answer, "class")[..]));
    // Nothing of it is saved either.
    let mut other = Session::open("cpu".into(), false, String::new())
        .await
        .unwrap();
    let file = session.save_model().await.unwrap().to_vec();
    assert_eq!(text(&other.load(file).await.unwrap(), "head"), "original");
}

#[wasm_bindgen_test]
async fn another_session_learns_the_same_from_names_and_features() {
    let (first, classes) = taught("cpu").await;
    let mut second = session("cpu").await;
    for (class, name) in classes.into_iter().zip(["red", "blue"]) {
        second.restore_class(class, name.into()).unwrap();
    }
    for id in 1..=8 {
        let features = first.features(id).unwrap().to_vec();
        let class = classes[usize::from(id > 4)];
        second.restore_example(id, class, features).unwrap();
    }
    fit(&mut second).unwrap();
    let (one, other) = (best(&first, RED, 100).await, best(&second, RED, 100).await);
    assert_eq!(number(&one, "id"), number(&other, "id"));
    assert!((number(&one, "logit") - number(&other, "logit")).abs() < 1e-4);
}

#[wasm_bindgen_test]
async fn what_is_under_way_does_not_outlive_a_change() {
    let (mut session, [red, _]) = taught("cpu").await;
    session.start_folds().unwrap();
    session.start_fit(JsValue::UNDEFINED).unwrap();
    let example = session.add_example(red, picture(RED, 50), SIDE, SIDE);
    example.await.unwrap();
    assert!(session.step_fit().is_err() && session.finish_fit().is_err());
    assert!(session.step_folds().is_err() && session.finish_folds().is_err());
    assert_eq!(text(&best(&session, RED, 100).await, "class"), "red");
}

#[wasm_bindgen_test]
async fn bad_input_is_an_error_with_advice_and_loses_nothing() {
    let (mut session, [red, _]) = taught("cpu").await;
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
    for name in ["", " ", "red", " red"] {
        let error = session.add_class(name.into()).unwrap_err();
        assert_eq!(text(&error, "kind"), "usage", "{name:?}");
    }
    assert!(session.rename_class(red, "blue".into()).is_err());
    let options = Object::new();
    Reflect::set(&options, &"classWeights".into(), &"some".into()).unwrap();
    assert!(session.start_fit(options.into()).is_err());
    assert_eq!(Array::from(&session.classes().unwrap()).length(), 2);
}
