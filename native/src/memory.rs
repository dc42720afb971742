//! How much memory this process has taken.

/// The most that this process held at once, in bytes; `None` where the system does not tell.
///
/// Linux tells (`VmHWM` in `/proc/self/status`); memory on a GPU is not counted.
pub fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kibibytes)
}
