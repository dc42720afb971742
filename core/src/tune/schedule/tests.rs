use super::*;
use crate::tune::fixture::fixture;

fn near(ours: f64, theirs: f64) -> bool {
    (ours - theirs).abs() <= 1e-9 * theirs.abs().max(1e-3)
}

#[test]
fn every_step_has_the_rate_and_the_momentum_that_pytorch_and_fastai_give_it() {
    let fixture = fixture();
    assert!(fixture.schedules.len() > 20);
    for case in fixture.schedules {
        let name = &case.name;
        case.schedule.check(case.warmup).unwrap();
        assert_eq!(case.factors.len(), case.steps, "{name}");
        for (step, &theirs) in case.factors.iter().enumerate() {
            let moment = Moment {
                step,
                steps: case.steps,
                per_epoch: case.per_epoch,
            };
            let ours = case
                .schedule
                .at(case.warmup, moment, &PlateauState::default());
            assert!(
                near(ours.factor, theirs),
                "{name}, {step}: {ours:?}, {theirs}"
            );
            let momentum = case.momenta.as_ref().map(|momenta| momenta[step]);
            match (ours.momentum, momentum) {
                (None, None) => {}
                (Some(ours), Some(theirs)) => {
                    assert!(near(ours, theirs), "{name}, {step}: {ours}, {theirs}");
                }
                both => panic!("{name}: {both:?}"),
            }
        }
    }
}

#[test]
fn the_named_cycles_are_those_of_the_golden() {
    let of = |name: &str| {
        let cases = fixture().schedules;
        let case = cases.into_iter().find(|case| case.name == name);
        case.unwrap().schedule
    };
    assert_eq!(Schedule::PYTORCH, of("OneCycleLR 100"));
    assert_eq!(Schedule::FASTAI, of("fit_one_cycle 100"));
    assert_eq!(Schedule::FINE_TUNE, of("fine_tune 100"));
    assert_eq!(Schedule::FINE_TUNE_HEAD, of("fine_tune head 100"));
}

#[test]
fn a_plateau_falls_when_pytorchs_does_also_after_it_was_saved() {
    let fixture = fixture();
    let mut fell = 0;
    for case in fixture.plateaus {
        case.schedule.check(None).unwrap();
        let mut state = PlateauState::default();
        for (epoch, (figure, &theirs)) in case.figures.iter().zip(&case.factors).enumerate() {
            state.observe(&case.schedule, figure.unwrap_or(f64::NAN));
            let text = serde_json::to_string(&state).unwrap();
            state = serde_json::from_str(&text).unwrap();
            let ours = state.factor();
            assert!(
                near(ours, theirs),
                "{:?}, {epoch}: {ours}, {theirs}",
                case.schedule
            );
            let moment = Moment {
                step: 7,
                steps: 20,
                per_epoch: 2,
            };
            assert_eq!(case.schedule.at(None, moment, &state).factor, ours);
            assert_eq!(Schedule::Constant.at(None, moment, &state).factor, 1.0);
        }
        fell += usize::from(state.factor() < 1.0);
    }
    assert!(fell > 5);
}

#[test]
fn every_step_of_a_short_phase_has_a_rate() {
    let schedules = [
        Schedule::Constant,
        Schedule::Cosine { floor: 0.0 },
        Schedule::PYTORCH,
        Schedule::FASTAI,
        Schedule::FINE_TUNE_HEAD,
        Schedule::Step {
            every: 1,
            gamma: 0.1,
        },
        Schedule::Polynomial { power: 1.0 },
    ];
    for schedule in schedules {
        let text = serde_json::to_string(&schedule).unwrap();
        assert_eq!(serde_json::from_str::<Schedule>(&text).unwrap(), schedule);
        let is_cycle = matches!(schedule, Schedule::OneCycle { .. });
        for share in [0.0, 0.1, 0.5, 1.0] {
            let warmup = (!is_cycle).then_some(Warmup { share, start: 0.1 });
            for steps in 0..6 {
                for step in 0..steps {
                    let moment = Moment {
                        step,
                        steps,
                        per_epoch: 0,
                    };
                    let setting = schedule.at(warmup, moment, &PlateauState::default());
                    let factor = setting.factor;
                    assert!(
                        factor > 0.0 && factor <= 1.0,
                        "{schedule:?} {step}: {factor}"
                    );
                }
            }
        }
    }
}

#[test]
fn numbers_that_leave_a_step_without_a_rate_are_refused() {
    let warmup = |share, start| Some(Warmup { share, start });
    let one_cycle = |pct_start, div| Schedule::OneCycle {
        pct_start,
        div,
        div_final: 1e4,
        anneal: Anneal::Linear,
        momentum: None,
        style: CycleStyle::Pytorch,
    };
    for (schedule, warmup, word) in [
        (Schedule::PYTORCH, warmup(0.1, 0.0), "pct_start"),
        (Schedule::Constant, warmup(1.5, 0.0), "warm-up share"),
        (Schedule::Constant, warmup(0.5, f64::NAN), "warm-up start"),
        (Schedule::Cosine { floor: -1.0 }, None, "floor"),
        (one_cycle(1.1, 25.0), None, "pct_start"),
        (one_cycle(0.3, 0.0), None, "div"),
        (
            Schedule::Step {
                every: 0,
                gamma: 0.1,
            },
            None,
            "every",
        ),
        (
            Schedule::Polynomial {
                power: f64::INFINITY,
            },
            None,
            "power",
        ),
    ] {
        let told = schedule.check(warmup).unwrap_err().to_string();
        assert!(told.contains(word), "{told}");
    }
}

#[test]
fn what_a_recipe_leaves_out_is_pytorchs_default_and_what_it_misspells_is_an_error() {
    let read = |text: &str| serde_json::from_str::<Schedule>(text);
    let cycle = read(r#"{"kind": "one_cycle", "momentum": [0.85, 0.95]}"#).unwrap();
    assert_eq!(cycle, Schedule::PYTORCH);
    let plateau = Schedule::Plateau {
        factor: 0.1,
        patience: 10,
        threshold: 1e-4,
        cooldown: 0,
        floor: 0.0,
        better: Better::Lower,
    };
    assert_eq!(read(r#"{"kind": "plateau"}"#).unwrap(), plateau);
    assert_eq!(read(r#"{"kind": "constant"}"#).unwrap(), Schedule::Constant);
    let told = read(r#"{"kind": "cosine", "flor": 0.1}"#).unwrap_err();
    assert!(told.to_string().contains("flor"), "{told}");
    assert!(read(r#"{"kind": "step"}"#).is_err());
}
