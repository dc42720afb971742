use super::line_search::ROUNDING;
use super::*;

/// Rosenbrock's valley, chained over `n` variables: minimum 0 at (1, …, 1).
fn rosenbrock(x: &[f64], gradient: &mut [f64]) -> f64 {
    gradient.fill(0.0);
    let mut value = 0.0;
    for i in 0..x.len() - 1 {
        let (a, b) = (x[i + 1] - x[i] * x[i], 1.0 - x[i]);
        value += 100.0 * a * a + b * b;
        gradient[i] -= 400.0 * a * x[i] + 2.0 * b;
        gradient[i + 1] += 200.0 * a;
    }
    value
}

fn run(solver: &mut Lbfgs, mut f: impl FnMut(&[f64], &mut [f64]) -> f64) -> Status {
    while !solver.step(&mut f).unwrap().is_done() {}
    solver.status()
}

#[test]
fn rosenbrocks_valley_is_walked_to_its_end() {
    for n in [2, 10, 50] {
        let mut solver = Lbfgs::new(vec![-1.2; n], LbfgsOptions::default());
        assert_eq!(run(&mut solver, rosenbrock), Status::Converged);
        assert!(
            solver.iteration() < 400,
            "{} iterations",
            solver.iteration()
        );
        // Chained, the valley has a second, local minimum near (-1, 1, …, 1).
        let mut gradient = vec![0.0; n];
        rosenbrock(solver.point(), &mut gradient);
        assert!(norm_inf(&gradient) < 1e-7);
        if n == 2 {
            assert!(solver.point().iter().all(|x| (x - 1.0).abs() < 1e-7));
        }
    }
}

#[test]
fn an_ill_conditioned_quadratic_reaches_its_known_minimum() {
    // Eigenvalues from 1 to 1e4, minimum at i / 10.
    let eigenvalue = |i: usize| 10f64.powf(i as f64 * 4.0 / 19.0);
    let quadratic = |x: &[f64], gradient: &mut [f64]| {
        let mut value = 0.0;
        for i in 0..x.len() {
            let off = x[i] - i as f64 / 10.0;
            gradient[i] = eigenvalue(i) * off;
            value += 0.5 * eigenvalue(i) * off * off;
        }
        value
    };
    // Curved this much, the last gains are smaller than the default takes for progress.
    let options = LbfgsOptions {
        value_tolerance: 0.0,
        ..Default::default()
    };
    let mut solver = Lbfgs::new(vec![5.0; 20], options);
    assert_eq!(run(&mut solver, quadratic), Status::Converged);
    for (i, x) in solver.point().iter().enumerate() {
        assert!((x - i as f64 / 10.0).abs() < 1e-7);
    }
}

#[test]
fn the_objective_never_rises() {
    let mut solver = Lbfgs::new(vec![-1.2, 1.0, 3.0], LbfgsOptions::default());
    let mut last = f64::INFINITY;
    while !solver.step(rosenbrock).unwrap().is_done() {
        let value = solver.value().unwrap();
        assert!(value <= last * (1.0 + ROUNDING));
        last = value;
    }
}

#[test]
fn an_interrupted_solve_equals_an_uninterrupted_one_bit_for_bit() {
    let options = LbfgsOptions {
        memory: 4,
        ..Default::default()
    };
    let mut whole = Lbfgs::new(vec![-1.2; 7], options);
    run(&mut whole, rosenbrock);
    let mut parts = Lbfgs::new(vec![-1.2; 7], options);
    loop {
        let text = serde_json::to_string(&parts.state()).unwrap();
        parts = Lbfgs::restore(serde_json::from_str(&text).unwrap(), options).unwrap();
        if parts.step(rosenbrock).unwrap().is_done() {
            break;
        }
    }
    assert_eq!(whole.state(), parts.state());
    let bits = |s: &Lbfgs| s.point().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&whole), bits(&parts));
}

#[test]
fn a_step_over_the_edge_of_the_computable_turns_back() {
    // x - ln x is infinite from zero downwards, and the first step lands there.
    let barrier = |x: &[f64], gradient: &mut [f64]| {
        gradient[0] = 50.0 * (1.0 - 1.0 / x[0]);
        if x[0] > 0.0 {
            50.0 * (x[0] - x[0].ln())
        } else {
            f64::NAN
        }
    };
    let mut solver = Lbfgs::new(vec![1.5], LbfgsOptions::default());
    assert_eq!(run(&mut solver, barrier), Status::Converged);
    assert!((solver.point()[0] - 1.0).abs() < 1e-7);
    let mut solver = Lbfgs::new(vec![0.2], LbfgsOptions::default());
    assert_eq!(run(&mut solver, barrier), Status::Converged);
}

#[test]
fn an_objective_that_is_not_finite_is_a_typed_error() {
    let mut solver = Lbfgs::new(vec![1.0], LbfgsOptions::default());
    let error = Err(LbfgsError::NonFinite { iteration: 0 });
    assert_eq!(solver.step(|_, _| f64::NAN), error);
    assert_eq!(
        solver.step(|_, gradient| {
            gradient[0] = f64::INFINITY;
            1.0
        }),
        error
    );
    // Finite at the start only.
    let island = |x: &[f64], gradient: &mut [f64]| {
        gradient[0] = 1.0;
        if x[0] == 1.0 { 1.0 } else { f64::NAN }
    };
    assert_eq!(solver.step(island), error);
    assert_eq!(solver.point(), [1.0]);
}

#[test]
fn every_way_to_stop_is_told() {
    let mut solver = Lbfgs::new(vec![1.0; 3], LbfgsOptions::default());
    assert_eq!(run(&mut solver, rosenbrock), Status::Converged);
    assert_eq!((solver.iteration(), solver.evaluations()), (0, 1));

    let options = LbfgsOptions {
        max_iterations: 3,
        ..Default::default()
    };
    let mut solver = Lbfgs::new(vec![-1.0; 3], options);
    assert_eq!(run(&mut solver, rosenbrock), Status::IterationLimit);
    assert_eq!(solver.iteration(), 3);
    assert_eq!(solver.step(rosenbrock), Ok(Status::IterationLimit));

    // A gradient that lies about the way down.
    let liar = |x: &[f64], gradient: &mut [f64]| {
        gradient[0] = -1.0;
        x[0]
    };
    let mut solver = Lbfgs::new(vec![0.0], LbfgsOptions::default());
    assert_eq!(run(&mut solver, liar), Status::NoProgress);
    assert_eq!(solver.point(), [0.0]);
}

#[test]
fn a_damaged_state_is_refused() {
    let options = LbfgsOptions::default();
    let mut solver = Lbfgs::new(vec![-1.2; 3], options);
    solver.step(rosenbrock).unwrap();
    let good = solver.state();
    let mut short = good.clone();
    short.point.pop();
    let mut infinite = good.clone();
    infinite.point[0] = f64::INFINITY;
    let mut history = good.clone();
    history.pairs[0].curvature = -1.0;
    for bad in [short, infinite, history] {
        assert!(matches!(
            Lbfgs::restore(bad, options),
            Err(LbfgsError::State(_))
        ));
    }
    let text = serde_json::to_string(&good).unwrap();
    let cut = text.replacen("\"point\":\"", "\"point\":\"é", 1);
    assert!(serde_json::from_str::<LbfgsState>(&cut).is_err());
}
