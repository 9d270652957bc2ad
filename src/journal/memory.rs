//! Memory of the process as the kernel counts it, and how much there is of it.

use std::io;
use std::path::Path;

/// Where control groups (version 2) are.
const GROUPS: &str = "/sys/fs/cgroup";
/// What bounds the memory of one: above the first it is ended, above the second it is slowed down.
const BOUNDS: [&str; 2] = ["memory.max", "memory.high"];

/// Bytes that this process has, resident or swapped out.
pub(super) fn used() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    in_status(&status).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the kernel names no resident memory"))
}

/// Bytes that there are for it: those of the machine, or of the narrowest control group that it is in.
pub(super) fn given() -> u64 {
    let machine = rustix::system::sysinfo();
    let all = machine.totalram.saturating_mul(u64::from(machine.mem_unit));
    // Without such groups the machine is the bound.
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    of_groups(Path::new(GROUPS), &own).map_or(all, |bound| bound.min(all))
}

fn in_status(status: &str) -> Option<u64> {
    let kib = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        value.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    };
    // A kernel without swap does not name it.
    Some(kib("VmRSS")?.saturating_add(kib("VmSwap").unwrap_or(0)).saturating_mul(1024))
}

/// The least bound of the group and of those around it. In a container the mounted root is the own group, whatever its path.
fn of_groups(root: &Path, own: &str) -> Option<u64> {
    let group = root.join(own.lines().find_map(|line| line.strip_prefix("0::/"))?);
    let around = group.ancestors().take_while(|g| g.starts_with(root));
    let files = around.flat_map(|g| BOUNDS.map(|file| g.join(file)));
    // `max` is no number, and no bound.
    files.filter_map(|file| std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok()).min()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    #[test]
    fn what_is_swapped_out_counts_too() {
        let status = "Name:\thufu\nVmHWM:\t  900 kB\nVmRSS:\t  120 kB\nVmSwap:\t    8 kB\nThreads:\t4\n";
        assert_eq!(in_status(status), Some(128 << 10));
        assert_eq!(in_status("VmRSS:\t 2 kB\n"), Some(2 << 10));
        assert_eq!(in_status("VmRSS:\t many\n"), None);
        assert_eq!(in_status(""), None);
    }

    #[test]
    fn the_narrowest_group_is_the_bound() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let unit = root.join("system.slice/hufu.service");
        std::fs::create_dir_all(&unit).unwrap();
        let own = "0::/system.slice/hufu.service\n";
        assert_eq!(of_groups(root, own), None);
        std::fs::write(unit.join("memory.max"), "max\n").unwrap();
        assert_eq!(of_groups(root, own), None);
        std::fs::write(unit.join("memory.max"), "4096\n").unwrap();
        assert_eq!(of_groups(root, own), Some(4096));
        std::fs::write(root.join("system.slice/memory.high"), "1024\n").unwrap();
        assert_eq!(of_groups(root, own), Some(1024));
        // A path of outside the container: its root is the own group.
        std::fs::write(root.join("memory.max"), "2048\n").unwrap();
        assert_eq!(of_groups(root, "1:name=systemd:/x\n0::/docker/abc\n"), Some(2048));
        assert_eq!(of_groups(root, "0::/\n"), Some(2048));
        assert_eq!(of_groups(root, "4:memory:/x\n"), None, "only version 2");
    }

    #[test]
    fn this_process_has_memory_and_less_than_there_is() {
        let used = used().unwrap();
        assert!(used > 0 && used < given(), "{used} of {}", given());
    }
}
