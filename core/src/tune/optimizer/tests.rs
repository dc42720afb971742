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

#[cfg(feature = "burn")]
mod written {
    //! Rules as adapters follow them, against the processor's pass over memory.

    use burn::tensor::{Device, Tensor, TensorData};
    use pollster::block_on;

    use super::super::*;
    use crate::device::{Preference, open};

    /// Optimisers in all their forms.
    fn forms() -> Vec<Optimizer> {
        let named = Optimizer::NAMES.iter().map(|name| Optimizer::named(name));
        let sgd = |momentum, nesterov| Optimizer::Sgd {
            momentum,
            nesterov,
            weight_decay: 0.0,
        };
        let centered = Optimizer::RmsProp {
            alpha: 0.9,
            eps: 1e-4,
            momentum: 0.5,
            centered: true,
            weight_decay: 0.0,
        };
        let others = [sgd(0.0, false), sgd(0.9, true), centered];
        named.map(Option::unwrap).chain(others).collect()
    }

    /// The pace of a step, as schedules change it.
    fn pace(step: u64, decay: f64, changing: bool) -> Pace {
        Pace {
            rate: 1e-2 / (1.0 + step as f64),
            decay,
            step,
            momentum: changing.then_some(0.8 + 0.01 * step as f64),
        }
    }

    /// The processor, whose tensors take a rule in Burn's operations, and the software adapter.
    fn devices() -> Vec<Device> {
        let mut devices = vec![Device::flex()];
        match block_on(open(Preference::Software)) {
            Ok(adapter) => devices.push(adapter.device),
            Err(error) if std::env::var_os("REKINDLE_NO_SOFTWARE_GPU").is_some() => {
                println!("skipped, as asked: {error}");
            }
            Err(error) => panic!("{error}: set REKINDLE_NO_SOFTWARE_GPU=1 to go without"),
        }
        devices
    }

    fn put(values: &[f32], device: &Device) -> Tensor<1> {
        Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
    }

    fn near(what: &str, found: &Tensor<1>, truth: &[f32]) {
        let found = block_on(found.clone().into_data_async()).unwrap();
        let found: Vec<f32> = found.iter::<f32>().collect();
        assert_eq!(found.len(), truth.len(), "{what}");
        for (index, (found, truth)) in found.iter().zip(truth).enumerate() {
            // Written so that what is not a number fails.
            let is_near = (found - truth).abs() <= 1e-5 * (1e-2 + truth.abs());
            assert!(is_near, "{what}: {index} is {found}, should be {truth}");
        }
    }

    /// A parameter, followed on a device and by the processor's pass.
    struct Followed<'a> {
        optimizer: Optimizer,
        device: &'a Device,
        values: Vec<f32>,
        kept: Vec<Vec<f32>>,
        tensor: Tensor<1>,
        slots: Vec<Tensor<1>>,
    }

    impl<'a> Followed<'a> {
        fn new(optimizer: Optimizer, device: &'a Device, count: usize) -> Self {
            let values: Vec<f32> = (0..count).map(|i| (i % 101) as f32 * 0.02 - 1.0).collect();
            let kept = vec![vec![0.0_f32; count]; optimizer.slots().len()];
            Self {
                tensor: put(&values, device),
                slots: kept.iter().map(|slot| put(slot, device)).collect(),
                optimizer,
                device,
                values,
                kept,
            }
        }

        /// A step along gradients that are scaled first, if at all.
        fn step(mut self, pace: Pace, scale: Option<f32>) -> Self {
            let (device, count) = (self.device, self.values.len());
            let step = pace.step;
            let what = format!("{:?} of {count} on {device:?}, step {step}", self.optimizer);
            let gradients: Vec<f32> = (0..count)
                .map(|i| (i as f32 * 0.37 + step as f32).sin() + 0.2)
                .collect();
            let start = self.values.clone();
            let mut kept: Vec<&mut [f32]> = self.kept.iter_mut().map(Vec::as_mut_slice).collect();
            let scaled: Vec<f32> = gradients.iter().map(|x| x * scale.unwrap_or(1.0)).collect();
            self.optimizer
                .sweep(pace, &mut self.values, &scaled, &mut kept);

            // What somebody else holds is not changed in place.
            let held = (step % 2 == 1).then(|| self.tensor.clone());
            let mut tensors = vec![self.tensor, put(&gradients, device)];
            tensors.append(&mut self.slots);
            tensors.extend(scale.map(|scale| put(&[scale], device)));
            let written = self.optimizer.written(pace, scale.is_some());
            let mut made = written.apply(tensors).into_iter();
            if let Some(held) = held {
                near("what is held", &held, &start);
            }
            self.tensor = made.next().unwrap();
            let direction = made.next().unwrap();
            self.slots = made.take(self.kept.len()).collect();
            if self.optimizer.measures_parameters() {
                near(&what, &direction, &self.values);
                let square = |values: &[f32]| values.iter().map(|x| x * x).sum::<f32>();
                let lengths = [&start, &self.values].map(|values| square(values));
                let lengths = (pace.decay != 0.0).then_some(lengths);
                let moved = start.iter().zip(&self.values);
                let moved = moved.map(|(&from, &to)| lamb::moved(from, to, pace, lengths));
                self.values = moved.collect();
                let mut tensors = vec![self.tensor, direction];
                tensors.extend(lengths.iter().flatten().map(|&x| put(&[x], device)));
                let along = Optimizer::written_along(pace).apply(tensors);
                self.tensor = along.into_iter().next().unwrap();
            }
            near(&what, &self.tensor, &self.values);
            for (slot, kept) in self.slots.iter().zip(&self.kept) {
                near(&what, slot, kept);
            }
            self
        }
    }

    #[test]
    fn every_rule_moves_numbers_as_the_processor_does() {
        for device in &devices() {
            for optimizer in forms() {
                for (count, decay, changing, scale) in [
                    (331, 0.1, false, None),
                    (1028, 0.0, true, Some(0.25)),
                    (4, 0.05, true, Some(1.0)),
                ] {
                    let mut followed = Followed::new(optimizer, device, count);
                    for step in 1..=6 {
                        followed = followed.step(pace(step, decay, changing), scale);
                    }
                }
            }
        }
    }

    #[test]
    fn a_rule_is_one_kernel_whatever_its_pace() {
        let written = |optimizer: &Optimizer, step, decay, changing| {
            optimizer.written(pace(step, decay, changing), true)
        };
        for optimizer in forms() {
            for decay in [0.0, 0.1] {
                let first = written(&optimizer, 1, decay, false);
                let later = written(&optimizer, 700, decay, true);
                assert!(first.is_one_kernel_with(&later), "{optimizer:?}");
            }
        }
        let [adamw, adam, ..] = &forms()[..] else {
            panic!("there are more")
        };
        let [adamw, adam] = [adamw, adam].map(|optimizer| written(optimizer, 1, 0.1, true));
        assert!(!adamw.is_one_kernel_with(&adam));
    }

    #[test]
    fn moving_averages_and_clipping_are_what_they_say() {
        for device in &devices() {
            let (average, now) = (vec![1.0, -2.0, 0.5], vec![3.0, 4.0, 0.5]);
            let tensors = vec![put(&average, device), put(&now, device)];
            let made = written_average(0.9).apply(tensors);
            near("the average", &made[0], &[1.2, -1.4, 0.5]);
            near("the numbers", &made[1], &now);
            for (square, factor) in [(25.0, 0.4), (4.0, 1.0), (1.0, 1.0), (0.0, 1.0)] {
                let made = written_clip(2.0).apply(vec![put(&[square], device)]);
                near("the factor", &made[0], &[factor]);
            }
        }
    }
}
