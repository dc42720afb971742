//! Sizes in bytes, as people write them.

/// The size that a text names: `500MB`, `2.5GB`, `1TiB`, or bytes. The letters may be small, and the B left out.
///
/// # Errors
/// What a size is.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let told = || "it must be a size, as 500MB, 20GB or 1.5TiB; 0 keeps nothing".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text[digits.len()..].to_ascii_lowercase();
    let unit = match unit.strip_suffix('b').unwrap_or(&unit) {
        "" => 1.0,
        "k" => 1e3,
        "m" => 1e6,
        "g" => 1e9,
        "t" => 1e12,
        "ki" => 1024.0,
        "mi" => 1024_f64.powi(2),
        "gi" => 1024_f64.powi(3),
        "ti" => 1024_f64.powi(4),
        _ => return Err(told()),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(told());
    }
    let number: f64 = digits.parse().map_err(|_| told())?;
    let bytes = number * unit;
    match bytes < 2_f64.powi(63) {
        true => Ok(bytes as u64),
        false => Err(told()),
    }
}

/// A size for people, in powers of ten: `1.2 GB`.
pub fn size(bytes: u64) -> String {
    let units = [("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    let bytes = bytes as f64;
    match units.into_iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) if bytes >= 10.0 * unit => format!("{:.0} {name}", bytes / unit),
        Some((name, unit)) => format!("{:.1} {name}", bytes / unit),
        None => format!("{bytes:.0} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_any_usual_unit_and_written_in_powers_of_ten() {
        for (text, bytes) in [
            ("0", 0),
            ("1234", 1234),
            ("500MB", 500_000_000),
            ("500m", 500_000_000),
            ("2.5GB", 2_500_000_000),
            ("1TiB", 1 << 40),
            ("3kib", 3072),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "GB",
            "-1GB",
            "1e999",
            "nan",
            "inf",
            "1 GB x",
            "5XB",
            "999999999TB",
            ".",
            "1.2.3G",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert_eq!(size(999), "999 bytes");
        assert_eq!(size(1_234_567_890), "1.2 GB");
        assert_eq!(size(45_600_000), "46 MB");
    }
}
