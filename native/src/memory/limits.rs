//! What the system lets this process have: of the machine's memory, of a container's, and by limits of its own.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes that this process can still take without anybody being ended for it; `None` where the system does not
/// tell. Linux tells.
pub fn free_bytes() -> Option<u64> {
    let allowed = match ALLOWED.load(Ordering::Relaxed) {
        u64::MAX => None,
        allowed => Some(allowed.saturating_sub(resident_bytes().unwrap_or(0))),
    };
    let limits = [Linux::new(Path::new("/")).free(), allowed];
    limits.into_iter().flatten().min()
}

/// What somebody allowed this process to hold.
static ALLOWED: AtomicU64 = AtomicU64::new(u64::MAX);

/// Allows this process no more than so many bytes, whatever the system would give.
pub fn allow(bytes: u64) {
    ALLOWED.store(bytes, Ordering::Relaxed);
}

/// The bytes of memory that this process holds now; `None` where the system does not tell.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    kibibytes(&status, "VmRSS:")
}

/// The most that it held at once.
pub fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    kibibytes(&status, "VmHWM:")
}

/// A line `name:   123 kB`, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kibibytes)
}

/// What Linux tells in its files.
struct Linux<'a> {
    /// Where they lie: `/`, but for tests.
    root: &'a Path,
}

impl<'a> Linux<'a> {
    fn new(root: &'a Path) -> Self {
        Self { root }
    }

    fn read(&self, file: impl AsRef<Path>) -> Option<String> {
        let file = file.as_ref();
        let file = file.strip_prefix("/").unwrap_or(file);
        std::fs::read_to_string(self.root.join(file)).ok()
    }

    /// The least of what the machine, the container and the process's own limits leave.
    fn free(&self) -> Option<u64> {
        let machine = self.read("proc/meminfo");
        let machine = machine.and_then(|text| kibibytes(&text, "MemAvailable:"));
        let limits = [machine, self.of_groups(), self.of_process()];
        limits.into_iter().flatten().min()
    }

    /// What is left of `RLIMIT_AS` and `RLIMIT_DATA`.
    fn of_process(&self) -> Option<u64> {
        let limits = self.read("proc/self/limits")?;
        let status = self.read("proc/self/status")?;
        let left = |limit: &str, taken: &str| -> Option<u64> {
            let line = limits.lines().find_map(|line| line.strip_prefix(limit))?;
            // `unlimited` is no number.
            let limit: u64 = line.split_whitespace().next()?.parse().ok()?;
            Some(limit.saturating_sub(kibibytes(&status, taken)?))
        };
        let space = left("Max address space", "VmSize:");
        let data = left("Max data size", "VmData:");
        [space, data].into_iter().flatten().min()
    }

    /// What is left of the memory of the control groups that this process is in, and of those above them.
    fn of_groups(&self) -> Option<u64> {
        let groups = self.read("proc/self/cgroup")?;
        let mounts = self.read("proc/self/mountinfo")?;
        let mut least: Option<u64> = None;
        for line in groups.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else {
                continue;
            };
            let version = match controllers {
                "" => Version::Two,
                all if all.split(',').any(|one| one == "memory") => Version::One,
                _ => continue,
            };
            for folder in folders(&mounts, version, group) {
                let left = self.of_group(&folder, version);
                least = [least, left].into_iter().flatten().min();
            }
        }
        least
    }

    /// What is left of one group's memory. Pages of files that were not used lately are given back when they are needed.
    fn of_group(&self, folder: &Path, version: Version) -> Option<u64> {
        let [limit, taken, idle] = match version {
            Version::One => [
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "total_inactive_file ",
            ],
            Version::Two => ["memory.max", "memory.current", "inactive_file "],
        };
        // `max` is no number.
        let limit: u64 = self.read(folder.join(limit))?.trim().parse().ok()?;
        let taken: u64 = self.read(folder.join(taken))?.trim().parse().ok()?;
        let idle = self.read(folder.join("memory.stat")).and_then(|text| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(idle)?.trim().parse().ok())
        });
        Some(limit.saturating_sub(taken.saturating_sub(idle.unwrap_or(0))))
    }
}

/// The two kinds of control groups.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// The folders of a group and of those above it, as far as they are to be seen from here.
fn folders(mounts: &str, version: Version, group: &str) -> Vec<PathBuf> {
    // 36 35 98:0 /root /mount/point options… - type source options
    let mount = mounts.lines().find_map(|line| {
        let (place, what) = line.split_once(" - ")?;
        let mut what = what.split(' ');
        let kind = what.next()?;
        let options = what.nth(1).unwrap_or_default();
        let is_it = match version {
            Version::Two => kind == "cgroup2",
            Version::One => kind == "cgroup" && options.split(',').any(|option| option == "memory"),
        };
        let mut place = place.split(' ').skip(3);
        let (root, point) = (place.next()?, place.next()?);
        is_it.then_some((root, point))
    });
    let Some((root, point)) = mount else {
        return Vec::new();
    };
    // In a container the group's own folder may be what is mounted.
    let below = match root {
        "/" => group,
        root => group.strip_prefix(root).unwrap_or(""),
    };
    let below = Path::new(below.trim_start_matches('/'));
    let point = Path::new(point);
    below.ancestors().map(|part| point.join(part)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A system's files.
    fn system(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = root.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        root
    }

    const MACHINE: (&str, &str) = (
        "proc/meminfo",
        "MemTotal: 9000000 kB\nMemAvailable:    4194304 kB\n",
    );

    #[test]
    fn the_machine_is_the_limit_where_there_is_no_other() {
        let unlimited = system(&[
            MACHINE,
            ("proc/self/status", "VmSize:\t 1000 kB\nVmData:\t 900 kB\n"),
            (
                "proc/self/limits",
                "Limit   Soft Limit  Hard Limit  Units\nMax data size   unlimited   unlimited   bytes\n",
            ),
            ("proc/self/cgroup", "0::/\n"),
            (
                "proc/self/mountinfo",
                "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
            ),
            ("sys/fs/cgroup/memory.max", "max\n"),
        ]);
        assert_eq!(Linux::new(unlimited.path()).free(), Some(4096 * MIB));
        assert_eq!(Linux::new(system(&[]).path()).free(), None);
    }

    #[test]
    fn a_group_of_the_second_version_limits_and_so_does_the_one_above_it() {
        let mut files = vec![
            MACHINE,
            ("proc/self/cgroup", "0::/job/part\n"),
            (
                "proc/self/mountinfo",
                "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n",
            ),
            ("sys/fs/cgroup/job/part/memory.max", "1073741824\n"),
            ("sys/fs/cgroup/job/part/memory.current", "536870912\n"),
            (
                "sys/fs/cgroup/job/part/memory.stat",
                "anon 1\nfile 2\ninactive_file 104857600\n",
            ),
        ];
        // Idle pages of files count as free.
        let own = Linux::new(system(&files).path()).free();
        assert_eq!(own, Some(612 * MIB));
        files.push(("sys/fs/cgroup/job/memory.max", "314572800\n"));
        files.push(("sys/fs/cgroup/job/memory.current", "209715200\n"));
        assert_eq!(Linux::new(system(&files).path()).free(), Some(100 * MIB));
    }

    #[test]
    fn a_group_of_the_first_version_is_found_where_a_container_shows_it() {
        let files = [
            MACHINE,
            ("proc/self/cgroup", "5:devices:/box\n4:memory:/docker/abc\n"),
            (
                "proc/self/mountinfo",
                "41 30 0:36 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
            ),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "524288000\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "104857600\n"),
        ];
        assert_eq!(Linux::new(system(&files).path()).free(), Some(400 * MIB));
    }

    #[test]
    fn limits_of_the_process_itself_count() {
        let files = [
            MACHINE,
            (
                "proc/self/status",
                "VmSize:\t  102400 kB\nVmData:\t   51200 kB\n",
            ),
            (
                "proc/self/limits",
                "Max data size             209715200            unlimited            bytes\n\
                 Max address space         209715200            unlimited            bytes\n",
            ),
        ];
        assert_eq!(Linux::new(system(&files).path()).free(), Some(100 * MIB));
    }
}
