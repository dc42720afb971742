//! A linear head, solved to the optimum: multinomial logistic regression on pooled features.
//!
//! Minimises, over weights `W [K, F]` and biases `b [K]`,
//!
//! ```text
//! C · Σ_i w(y_i) · -log softmax(W x_i + b)[y_i]  +  ½ Σ_kf s_f² W_kf²
//! ```
//!
//! which is convex. With [`Scaling::None`] (all `s_f = 1`) this is the objective of scikit-learn's
//! `LogisticRegression(C=C, class_weight=w)`: the biases are not penalised. The other scalings are
//! the same regression on features divided by `s_f`, written in terms of the undivided features, so
//! that the solution is always a plain linear layer. (Subtracting the features' mean as well would
//! change nothing: the free biases absorb it.)
//!
//! With two classes scikit-learn keeps one weight vector `v` where the softmax has two. At the
//! optimum `W = [-v/2, v/2]`, whose penalty is `¼‖v‖²`, so that `softmax(C) = ½ · binary(2C)`: two
//! classes at `C` here are scikit-learn's at `2C`.
//!
//! The solver is a truncated Newton method ([`Status`] says how it ended). It seeks the weights among
//! the features, scaled to similar curvature, or, where there are fewer images than features, among
//! the images: the best weights are a mixture of them, and products then run over the images' inner
//! products. Features are centred on their mean. All these are exact changes of variables: they leave
//! the optimum alone.
//!
//! Steps are found with products in f32; values, gradients and how far to go are in f64. On one kind of
//! processor the same call gives the same numbers, whatever the number of its cores; between two kinds
//! they may differ in the last bits.

mod error;
mod exact;
mod loss;
mod newton;
mod options;
mod problem;
mod solution;
mod solver;
mod space;
#[cfg(test)]
mod tests;

pub use error::LogisticError;
pub use newton::Status;
pub use options::{LogisticOptions, Scaling, StopOptions};
pub use problem::LogisticProblem;
pub use solution::LinearSolution;
pub use solver::{LogisticSolver, LogisticState, Progress};
