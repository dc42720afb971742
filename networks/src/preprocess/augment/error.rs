//! Why numbers do not make an augmentation, and the checks that say so.

/// Why an augmentation is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AugmentError {
    /// No augmentation has this name.
    #[error("there is no augmentation `{found}`; there are {}", .known.join(", "))]
    Unknown {
        /// The name asked for.
        found: String,
        /// The names that there are.
        known: &'static [&'static str],
    },
    /// A number or a range that means nothing.
    #[error("`{field}` is {found}; it must be {needed}")]
    Value {
        /// Where it stands: `erasing.scale`, for example.
        field: &'static str,
        /// What stands there.
        found: String,
        /// What may stand there.
        needed: &'static str,
    },
}

/// Refuses what is not as `needed` says.
pub(super) fn check(
    holds: bool,
    field: &'static str,
    found: impl FnOnce() -> String,
    needed: &'static str,
) -> Result<(), AugmentError> {
    match holds {
        true => Ok(()),
        false => Err(AugmentError::Value {
            field,
            found: found(),
            needed,
        }),
    }
}

/// A probability, from 0 to 1.
pub(super) fn probability(field: &'static str, value: f64) -> Result<(), AugmentError> {
    let holds = (0.0..=1.0).contains(&value);
    check(
        holds,
        field,
        || value.to_string(),
        "a probability from 0 to 1",
    )
}

/// A range of finite numbers above 0, lower end first.
pub(super) fn positive(field: &'static str, [low, high]: [f64; 2]) -> Result<(), AugmentError> {
    let holds = 0.0 < low && low <= high && high.is_finite();
    let found = || format!("{low} to {high}");
    check(
        holds,
        field,
        found,
        "two finite numbers above 0, the lower first",
    )
}
