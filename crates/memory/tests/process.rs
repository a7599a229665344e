//! A confined process is what it says it is. One test a process: nothing of this can be undone.

#![cfg(not(miri))]
#![allow(clippy::unwrap_used, reason = "a test fails where this does")]

use std::fs;

use conclave_memory::{Confinement, PageKind, SecretBytes, prepare};
use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};

#[test]
fn a_confined_process_is_neither_dumped_nor_traced_nor_swapped() {
    let got = Confinement::enter();
    assert!(got.undumpable && got.no_core_files, "{got}");
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    let cores = getrlimit(Resource::Core);
    assert_eq!((cores.current, cores.maximum), (Some(0), Some(0)));
    let locks = getrlimit(Resource::Memlock);
    assert_eq!(locks.current, locks.maximum, "raised as far as it may");

    // All memory or, where that may not be, what holds secrets.
    let kind = prepare(PageKind::Locked);
    assert_eq!(kind, PageKind::Locked);
    let mut secret = SecretBytes::zeroed(32);
    secret.fill(1);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
    let locked: u64 = locked.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(locked >= if got.locked { 2_048 } else { 256 }, "{locked} KiB locked: {got}");
    let heap = Box::new([1_u8; 100]);
    assert_eq!(flags_at(heap.as_ptr() as usize).contains(" lo"), got.locked, "{got}");

    let flags = flags_at(secret.as_ptr() as usize);
    for flag in [" lo", " dd", " dc"] {
        assert!(flags.contains(flag), "no{flag} among{flags}");
    }
}

/// `VmFlags` of the mapping around that address.
fn flags_at(address: usize) -> String {
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut inside = false;
    for line in maps.lines() {
        let range = line.split(' ').next().unwrap().split_once('-');
        let ends = range.map(|(from, to)| [from, to].map(|at| usize::from_str_radix(at, 16)));
        if let Some([Ok(from), Ok(to)]) = ends {
            inside = (from..to).contains(&address);
        } else if let Some(flags) = line.strip_prefix("VmFlags:")
            && inside
        {
            return flags.to_owned();
        }
    }
    panic!("{address:#x} is not mapped");
}
