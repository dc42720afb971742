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
