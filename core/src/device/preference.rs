//! Which device a person asks for, as it is typed.

use std::fmt;
use std::str::FromStr;

use super::error::DeviceError;

/// Which device a person asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preference {
    /// A real GPU if there is one, otherwise the processor.
    #[default]
    Auto,
    /// The processor, with SIMD and threads.
    Cpu,
    /// A real GPU, by its number among them; the first when none is given.
    Gpu(Option<usize>),
    /// A software adapter (lavapipe, WARP, SwiftShader): slow, for tests.
    Software,
}

impl FromStr for Preference {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "gpu" => Ok(Self::Gpu(None)),
            "software" => Ok(Self::Software),
            other => other
                .strip_prefix("gpu:")
                .and_then(|n| n.parse().ok())
                .map(|n| Self::Gpu(Some(n)))
                .ok_or_else(|| DeviceError::UnknownPreference(other.to_owned())),
        }
    }
}

/// As it is typed.
impl fmt::Display for Preference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Gpu(None) => f.write_str("gpu"),
            Self::Gpu(Some(number)) => write!(f, "gpu:{number}"),
            Self::Software => f.write_str("software"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_are_read_as_people_write_them() {
        assert_eq!(
            "gpu:1".parse::<Preference>().unwrap(),
            Preference::Gpu(Some(1))
        );
        assert_eq!("gpu".parse::<Preference>().unwrap(), Preference::Gpu(None));
        assert_eq!(
            "software".parse::<Preference>().unwrap(),
            Preference::Software
        );
        for wrong in ["", "cuda", "gpu:", "gpu:x", "gpu:-1"] {
            assert!(wrong.parse::<Preference>().is_err(), "{wrong}");
        }
    }
}
