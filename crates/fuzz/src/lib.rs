//! A target for each parser of bytes from outside: wire, disk, export, share, configuration,
//! certificates, addresses.
//!
//! A target is a function of bytes that must return, whatever they are: without a panic, within the
//! memory that [`check`] allows, and, where there is an encoder, with what was read written and read
//! again as the same. It starts from valid values ([`Target::seeds`]), among them the inputs that
//! once broke something (`regressions/TARGET/`). `tests/brief.rs` runs each target for a second or
//! two, the same every time; `scripts/fuzz` runs libFuzzer on them for as long as it is told to.
//!
//! What is not here: protocols over several calls, and files that are a whole database (sled).

use std::path::PathBuf;

use peak_alloc::PeakAlloc;

pub mod mutate;
mod stage;
mod targets;

pub use targets::TARGETS;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// A parser, or several that the first byte chooses among.
pub struct Target {
    /// Its name, and its folder's.
    pub name: &'static str,
    /// What must hold for any bytes. Says whether they were taken for what they should be.
    pub run: fn(&[u8]) -> bool,
    /// Valid inputs: each is taken, or the target would test nothing.
    pub valid: fn() -> Vec<Vec<u8>>,
    /// Inputs tried in the brief run: one or two seconds of a debug build.
    pub brief: u32,
}

impl Target {
    /// What mutation starts from: valid inputs, and those that once broke something.
    ///
    /// # Panics
    /// If a file of `regressions` cannot be read.
    pub fn seeds(&self) -> Vec<Vec<u8>> {
        let mut seeds = (self.valid)();
        seeds.push(Vec::new());
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("regressions").join(self.name);
        let files = folder.read_dir().into_iter().flatten();
        let mut paths: Vec<PathBuf> =
            files.map(|file| file.expect("a folder that is there can be read").path()).collect();
        paths.sort();
        seeds.extend(paths.iter().map(|path| std::fs::read(path).expect("a seed can be read")));
        seeds
    }
}

/// Memory that any input may take, in bytes: tables of fixed size, messages of errors.
const MEMORY_BASE: usize = 4 << 20;
/// Memory that each byte of the input may take besides: an empty message in a list takes two bytes
/// on the wire and up to some two hundred in memory, and a list doubles as it grows.
const MEMORY_PER_BYTE: usize = 512;

/// Runs `target` on `input`, and says whether the input was taken for valid.
///
/// # Panics
/// If the target does, or if it took more memory than an input of that length may.
pub fn check(target: &Target, input: &[u8]) -> bool {
    ALLOCATED.reset_peak_usage();
    let before = ALLOCATED.current_usage();
    let taken = (target.run)(input);
    let took = ALLOCATED.peak_usage().saturating_sub(before);
    let allowed = MEMORY_BASE + MEMORY_PER_BYTE * input.len();
    assert!(took <= allowed, "{} bytes of input took {took} bytes of memory", input.len());
    taken
}
