//! The memory of another process, as root reads it: what is mapped, and where patterns stand in it.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::missing_panics_doc,
    reason = "a test fails where this does"
)]

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

use aho_corasick::AhoCorasick;

use crate::scanner::Scanner;

/// Read at a time. A pattern may lie across two readings, so each begins with the end of the last.
const WINDOW: usize = 1 << 20;
const OVERLAP: usize = 1 << 10;
const PAGE: usize = 4_096;
/// What not even root can read: pages of `memfd_secret`, and the kernel's own in every process.
const SECRET_PAGES: &str = "/secretmem";
const KERNELS: [&str; 3] = ["[vvar]", "[vvar_vclock]", "[vsyscall]"];

/// One mapping of a process.
#[derive(Clone, Debug)]
pub struct Mapping {
    start: usize,
    end: usize,
    permissions: String,
    name: String,
    /// `VmFlags` of `smaps`.
    flags: Vec<String>,
}

impl Mapping {
    /// Not swapped, and left out of dumps.
    pub fn is_kept(&self) -> bool {
        self.has("lo") && self.has("dd")
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|found| found == flag)
    }
}

/// A pattern that was found.
pub struct Found {
    pub what: &'static str,
    pub in_mapping: Mapping,
    spelling: String,
    address: usize,
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mapping { start, end, permissions, name, flags } = &self.in_mapping;
        write!(f, "{} ({}) at {:#x} in ", self.what, self.spelling, self.address)?;
        write!(f, "{start:x}-{end:x} {permissions} {name} {}", flags.join(" "))
    }
}

/// What a search came to.
pub struct Searched {
    pub found: Vec<Found>,
    /// Bytes that were read.
    pub bytes: usize,
    /// Bytes on pages of `memfd_secret`, which nobody can read.
    pub secret_bytes: usize,
}

/// Looks for every pattern of the scanner in every page that is mapped in that process.
pub fn search(pid: u32, scanner: &Scanner) -> Searched {
    let patterns = scanner.patterns();
    let automaton = AhoCorasick::new(patterns.iter().map(|pattern| &pattern.bytes)).unwrap();
    assert!(patterns.iter().all(|pattern| pattern.bytes.len() < OVERLAP));
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut searched = Searched { found: Vec::new(), bytes: 0, secret_bytes: 0 };
    for mapping in mappings(pid) {
        if KERNELS.contains(&mapping.name.as_str()) {
            continue;
        }
        if mapping.name.starts_with(SECRET_PAGES) {
            let refused = memory.read_at(&mut [0; 1], mapping.start as u64).unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(5), "{refused}");
            searched.secret_bytes += mapping.end - mapping.start;
            continue;
        }
        let mut window = vec![0; OVERLAP + WINDOW];
        let mut at = mapping.start;
        window[..OVERLAP].fill(0);
        while at < mapping.end {
            let len = WINDOW.min(mapping.end - at);
            let fresh = &mut window[OVERLAP..OVERLAP + len];
            searched.bytes += read(&memory, at, fresh, &mapping);
            if !is_zero(&window[..OVERLAP + len]) {
                for hit in automaton.find_overlapping_iter_or(&window[..OVERLAP + len]) {
                    // What ends in the overlap was found before.
                    if hit.1 > OVERLAP {
                        let pattern = &patterns[hit.2];
                        searched.found.push(Found {
                            what: pattern.what,
                            in_mapping: mapping.clone(),
                            spelling: pattern.spelling.clone(),
                            address: at + hit.0 - OVERLAP,
                        });
                    }
                }
            }
            window.copy_within(len..len + OVERLAP, 0);
            at += len;
        }
    }
    searched
}

/// Overlapping patterns: start, end and which.
trait Overlapping {
    fn find_overlapping_iter_or(&self, bytes: &[u8]) -> Vec<(usize, usize, usize)>;
}

impl Overlapping for AhoCorasick {
    fn find_overlapping_iter_or(&self, bytes: &[u8]) -> Vec<(usize, usize, usize)> {
        self.find_overlapping_iter(bytes)
            .map(|hit| (hit.start(), hit.end(), hit.pattern().as_usize()))
            .collect()
    }
}

/// Pages that have never been touched are many, and zero.
fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; PAGE] = [0; PAGE];
    bytes.chunks(PAGE).all(|chunk| chunk == &ZEROS[..chunk.len()])
}

/// Reads what is there; a page that cannot be read is zeros, and only one past the end of a file may
/// be such.
fn read(memory: &File, at: usize, into: &mut [u8], mapping: &Mapping) -> usize {
    if memory.read_exact_at(into, at as u64).is_ok() {
        return into.len();
    }
    into.fill(0);
    let mut bytes = 0;
    for (number, page) in into.chunks_mut(PAGE).enumerate() {
        let at = at + number * PAGE;
        match memory.read_exact_at(page, at as u64) {
            Ok(()) => bytes += page.len(),
            // It was unmapped meanwhile, or belongs to a file that has become shorter.
            Err(error) => assert!(is_gone(&error), "{at:#x} in {mapping:?}: {error}"),
        }
    }
    bytes
}

fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(5) || error.kind() == io::ErrorKind::UnexpectedEof
}

fn mappings(pid: u32) -> Vec<Mapping> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in text.lines() {
        if let Some(flags) = line.strip_prefix("VmFlags:") {
            let flags = flags.split_whitespace().map(str::to_owned).collect();
            mappings.last_mut().unwrap().flags = flags;
            continue;
        }
        // Lines of figures have a name and a colon first.
        let mut fields = line.split_whitespace();
        let first = fields.next().unwrap();
        if first.ends_with(':') {
            continue;
        }
        let (start, end) = first.split_once('-').unwrap();
        let [start, end] = [start, end].map(|text| usize::from_str_radix(text, 16).unwrap());
        let permissions = fields.next().unwrap().to_owned();
        let name = fields.skip(3).collect::<Vec<_>>().join(" ");
        mappings.push(Mapping { start, end, permissions, name, flags: Vec::new() });
    }
    mappings
}
