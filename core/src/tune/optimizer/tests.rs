use super::*;

/// A second text of a rule, in f64 and as its paper has it.
type Reference = fn(f64, f64, f64, u64, &mut [f64; 3]) -> f64;

fn follows(optimizer: Optimizer, decay: f64, reference: Reference) {
    let mut values = [0.5_f32, -2.0, 3.0e-3];
    let mut exact = values.map(f64::from);
    let mut kept = vec![vec![0.0_f32; 3]; optimizer.slots().len()];
    let mut exact_kept = [[0.0_f64; 3]; 3];
    for step in 1..=20 {
        let gradients: Vec<f32> = exact
            .iter()
            .map(|&w| (3.0 * w).sin() as f32 + 0.1)
            .collect();
        let pace = Pace {
            rate: 1e-2,
            decay,
            step,
            momentum: None,
        };
        let mut slots: Vec<&mut [f32]> = kept.iter_mut().map(Vec::as_mut_slice).collect();
        optimizer.sweep(pace, &mut values, &gradients, &mut slots);
        for ((value, &gradient), kept) in exact.iter_mut().zip(&gradients).zip(&mut exact_kept) {
            *value = reference(*value, f64::from(gradient), 1e-2, step, kept);
        }
        for (found, expected) in values.iter().zip(exact) {
            let off = (f64::from(*found) - expected).abs();
            assert!(
                off < 2e-6 * (1.0 + expected.abs()),
                "{optimizer:?} step {step}: {found} for {expected}"
            );
        }
    }
}

#[test]
fn adam_with_both_kinds_of_decay_follows_its_papers() {
    fn adam(w: f64, g: f64, rate: f64, t: u64, kept: &mut [f64; 3]) -> f64 {
        kept[0] = 0.9 * kept[0] + 0.1 * g;
        kept[1] = 0.999 * kept[1] + 0.001 * g * g;
        let (m, v) = (
            kept[0] / (1.0 - 0.9_f64.powi(t as i32)),
            kept[1] / (1.0 - 0.999_f64.powi(t as i32)),
        );
        w - rate * m / (v.sqrt() + 1e-8)
    }
    follows(Optimizer::ADAMW, 0.01, |w, g, rate, t, kept| {
        adam(w * (1.0 - rate * 0.01), g, rate, t, kept)
    });
    let l2 = Optimizer::named("adam").unwrap();
    follows(l2, 0.05, |w, g, rate, t, kept| {
        adam(w, g + 0.05 * w, rate, t, kept)
    });
}

#[test]
fn momentum_and_nesterov_follow_sutskever() {
    let sgd = |nesterov| Optimizer::Sgd {
        momentum: 0.9,
        nesterov,
        weight_decay: 0.0,
    };
    follows(sgd(false), 0.1, |w, g, rate, _, kept| {
        kept[0] = 0.9 * kept[0] + g + 0.1 * w;
        w - rate * kept[0]
    });
    follows(sgd(true), 0.0, |w, g, rate, _, kept| {
        kept[0] = 0.9 * kept[0] + g;
        w - rate * (g + 0.9 * kept[0])
    });
    let plain = Optimizer::Sgd {
        momentum: 0.0,
        nesterov: false,
        weight_decay: 0.0,
    };
    assert!(plain.slots().is_empty());
    follows(plain, 0.0, |w, g, rate, _, _| w - rate * g);
}

#[test]
fn every_name_is_an_optimizer_and_comes_back_from_a_recipe() {
    for name in Optimizer::NAMES {
        let optimizer = Optimizer::named(name).unwrap();
        assert_eq!(optimizer.name(), name);
        let text = serde_json::to_string(&optimizer).unwrap();
        assert_eq!(
            serde_json::from_str::<Optimizer>(&text).unwrap(),
            optimizer,
            "{text}"
        );
    }
    let short: Optimizer = serde_json::from_str(r#"{"kind":"adamw"}"#).unwrap();
    assert_eq!(short, Optimizer::ADAMW);
    assert!(serde_json::from_str::<Optimizer>(r#"{"kind":"sgd","beta":0.9}"#).is_err());
}

#[test]
fn cores_and_blocks_change_no_bit() {
    for name in Optimizer::NAMES {
        let optimizer = Optimizer::named(name).unwrap();
        let count = (1 << 17) + 77;
        let start: Vec<f32> = (0..count).map(|i| (i % 1009) as f32 * 1e-3 - 0.5).collect();
        let gradients: Vec<f32> = (0..count).map(|i| (i % 773) as f32 * 1e-3 - 0.4).collect();
        let mut kept = vec![vec![0.0_f32; count]; optimizer.slots().len()];
        let mut values = start.clone();
        let mut alone: Vec<(f32, Vec<f32>)> =
            start.iter().map(|&x| (x, vec![0.0; kept.len()])).collect();
        for step in 1..=2 {
            let pace = Pace {
                rate: 1e-2,
                decay: 0.1,
                step,
                momentum: Some(0.8),
            };
            let mut slots: Vec<&mut [f32]> = kept.iter_mut().map(Vec::as_mut_slice).collect();
            optimizer.sweep(pace, &mut values, &gradients, &mut slots);
            for ((value, slots), &gradient) in alone.iter_mut().zip(&gradients) {
                *value = optimizer.step(pace, *value, gradient, slots);
            }
        }
        for (index, (value, slots)) in alone.iter().enumerate() {
            assert_eq!(value.to_bits(), values[index].to_bits(), "{name} {index}");
            for (slot, kept) in slots.iter().zip(&kept) {
                assert_eq!(slot.to_bits(), kept[index].to_bits(), "{name} {index}");
            }
        }
    }
}

/// Optimisers in all their forms: with the decay that goes with it.
#[cfg(feature = "burn")]
fn forms() -> Vec<Optimizer> {
    let mut forms: Vec<Optimizer> = Optimizer::NAMES
        .iter()
        .map(|name| Optimizer::named(name).unwrap())
        .collect();
    let sgd = |momentum, nesterov| Optimizer::Sgd {
        momentum,
        nesterov,
        weight_decay: 0.0,
    };
    forms.extend([sgd(0.0, false), sgd(0.9, true)]);
    forms.push(Optimizer::RmsProp {
        alpha: 0.9,
        eps: 1e-4,
        momentum: 0.5,
        centered: true,
        weight_decay: 0.0,
    });
    forms
}

/// The pace of a step, as schedules change it.
#[cfg(feature = "burn")]
fn pace(step: u64, decay: f64, changing: bool) -> Pace {
    Pace {
        rate: 1e-2 / (1.0 + step as f64),
        decay,
        step,
        momentum: changing.then(|| 0.8 + 0.01 * step as f64),
    }
}

#[cfg(feature = "burn")]
#[test]
fn every_rule_written_down_is_the_same_rule() {
    use burn::tensor::{Device, Tensor, TensorData};
    use pollster::block_on;

    use crate::device::{Preference, open};

    let mut devices = vec![Device::flex()];
    match block_on(open(Preference::Software)) {
        Ok(adapter) => devices.push(adapter.device),
        Err(error) if std::env::var_os("REKINDLE_NO_SOFTWARE_GPU").is_some() => {
            println!("skipped, as asked: {error}");
        }
        Err(error) => panic!("{error}: set REKINDLE_NO_SOFTWARE_GPU=1 to go without"),
    }
    let read = |tensor: &Tensor<1>| -> Vec<f32> {
        let data = block_on(tensor.clone().into_data_async()).unwrap();
        data.iter::<f32>().collect()
    };
    for device in &devices {
        for optimizer in forms() {
            for (count, decay, changing, scale) in [
                (331, 0.1, false, None),
                (1028, 0.0, true, Some(0.25_f32)),
                (4, 0.05, true, Some(1.0)),
            ] {
                let put = |values: Vec<f32>| {
                    Tensor::<1>::from_data(TensorData::new(values, [count]), device)
                };
                let mut values: Vec<f32> =
                    (0..count).map(|i| (i % 101) as f32 * 0.02 - 1.0).collect();
                let mut kept = vec![vec![0.0_f32; count]; optimizer.slots().len()];
                let mut value = put(values.clone());
                let mut slots: Vec<Tensor<1>> = kept.iter().cloned().map(put).collect();
                for step in 1..=6 {
                    let pace = pace(step, decay, changing);
                    let gradients: Vec<f32> = (0..count)
                        .map(|i| ((i as f32) * 0.37 + step as f32).sin() + 0.2)
                        .collect();
                    let scaled = scale.map_or(gradients.clone(), |scale| {
                        gradients.iter().map(|x| x * scale).collect()
                    });
                    let start = values.clone();
                    let mut rest: Vec<&mut [f32]> =
                        kept.iter_mut().map(Vec::as_mut_slice).collect();
                    optimizer.sweep(pace, &mut values, &scaled, &mut rest);
                    let mut tensors = vec![value.clone(), put(gradients)];
                    tensors.append(&mut slots);
                    tensors.extend(
                        scale.map(|scale| {
                            Tensor::from_data(TensorData::new(vec![scale], [1]), device)
                        }),
                    );
                    let held = value;
                    let made = optimizer.written(pace, scale.is_some()).apply(tensors);
                    assert_eq!(read(&held).len(), count);
                    if step == 1 {
                        assert_eq!(read(&held), start, "what somebody else holds stays");
                    }
                    let measures = optimizer.measures_parameters();
                    let what = format!("{optimizer:?} {device:?} {count} step {step}");
                    if measures {
                        near(&what, &read(&made[1]), &values);
                        let lengths = (decay != 0.0).then(|| {
                            let square = |values: &[f32]| values.iter().map(|x| x * x).sum::<f32>();
                            [square(&start), square(&values)]
                        });
                        let moved = start.iter().zip(&values);
                        values = moved
                            .map(|(&start, &to)| lamb::moved(start, to, pace, lengths))
                            .collect();
                        let lengths = lengths.into_iter().flatten();
                        let single = |x| Tensor::from_data(TensorData::new(vec![x], [1]), device);
                        let tensors = made[..2].iter().cloned().chain(lengths.map(single));
                        let along = Optimizer::written_along(pace);
                        value = along.apply(tensors.collect()).swap_remove(0);
                    } else {
                        value = made[0].clone();
                    }
                    slots = made[2..2 + kept.len()].to_vec();
                    near(&what, &read(&value), &values);
                    for (slot, kept) in slots.iter().zip(&kept) {
                        near(&what, &read(slot), kept);
                    }
                }
            }
        }
    }
}

#[cfg(feature = "burn")]
fn near(what: &str, found: &[f32], truth: &[f32]) {
    assert_eq!(found.len(), truth.len(), "{what}");
    for (index, (found, truth)) in found.iter().zip(truth).enumerate() {
        // Written so that what is not a number fails.
        let is_near = (found - truth).abs() <= 1e-5 * (1e-2 + truth.abs());
        assert!(
            is_near,
            "{what}: number {index} is {found}, should be {truth}"
        );
    }
}

#[cfg(feature = "burn")]
#[test]
fn a_rule_is_one_formula_whatever_its_pace() {
    for optimizer in forms() {
        for decay in [0.0, 0.1] {
            let written = |step, momentum| {
                let pace = pace(step, decay, momentum);
                optimizer.written(pace, true)
            };
            let (first, later) = (written(1, false), written(700, true));
            assert!(first.is_one_kernel_with(&later), "{optimizer:?}");
        }
    }
    assert!(
        !forms()[0]
            .written(pace(1, 0.0, true), true)
            .is_one_kernel_with(&forms()[1].written(pace(1, 0.1, true), true))
    );
}
