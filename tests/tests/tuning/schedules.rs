//! Rates and momenta over forty steps, as PyTorch's schedulers and fastai's formula set them.

use rekindle_core::tune::{Moment, PlateauState, Setting};
use serde_json::Value;

use crate::golden::{Told, floats, schedule};

/// What each step of a case is taken with, held against the golden's rates and momenta.
pub fn settings(said: &Value, steps: usize, per_epoch: usize, lr: f64) -> Vec<Setting> {
    let (schedule, warmup) = schedule(&said["schedule"], steps);
    schedule.check(warmup).unwrap();
    let metrics = &said["schedule"]["metrics"];
    let mut plateau = PlateauState::default();
    let mut settings = Vec::new();
    for step in 0..steps {
        if step > 0 && step % per_epoch == 0 && metrics.is_array() {
            plateau.observe(&schedule, floats(metrics)[step / per_epoch - 1]);
        }
        let moment = Moment {
            step,
            steps,
            per_epoch,
        };
        settings.push(schedule.at(warmup, moment, &plateau));
    }
    let rates = floats(&said["rates"]);
    assert_eq!(rates.len(), steps);
    for (step, (setting, rate)) in settings.iter().zip(rates).enumerate() {
        let found = setting.factor * lr;
        assert!(
            (found - rate).abs() <= 1e-6 * rate,
            "step {step}: {found}, PyTorch {rate}"
        );
    }
    match &said["momenta"] {
        Value::Null => assert!(settings.iter().all(|setting| setting.momentum.is_none())),
        momenta => {
            for (setting, momentum) in settings.iter().zip(floats(momenta)) {
                let found = setting.momentum.unwrap();
                assert!(
                    (found - momentum).abs() <= 1e-6,
                    "{found}, PyTorch {momentum}"
                );
            }
        }
    }
    settings
}

#[test]
fn rates_over_many_steps_are_pytorchs_and_fastais() {
    let told = Told::read();
    let mut count = 0;
    for (name, said) in told.schedules() {
        let number = |key: &str| said[key].as_u64().unwrap() as usize;
        println!("{name}");
        settings(
            said,
            number("steps"),
            number("per_epoch"),
            said["lr"].as_f64().unwrap(),
        );
        count += 1;
    }
    assert!(count > 10);
}
