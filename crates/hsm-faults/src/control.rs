//! What the faulty module is told: a file of `key = value` lines, read again at each call.

use std::path::{Path, PathBuf};

/// What goes wrong. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Functions it happens in, such as `C_Decrypt`; all if empty.
    pub functions: Vec<String>,
    /// Waited before each call, milliseconds.
    pub delay_ms: u64,
    /// Answered to each call, as `CKR_…` is numbered.
    pub fail_always: Option<u64>,
    /// Answered once.
    pub fail_once: Option<u64>,
    /// Whether calls do not return until this is false again.
    pub hang: bool,
    /// Flags of the token that are shown set.
    pub token_flags: u64,
    /// Whether the token chooses the initialisation vector, and refuses any other.
    pub iv_by_token: bool,
}

/// A control file and who writes it.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    writes: std::cell::Cell<u64>,
}

impl Control {
    /// Makes a control file: nothing goes wrong yet.
    pub fn new(path: &Path) -> Self {
        let control = Self { path: path.to_owned(), writes: std::cell::Cell::new(0) };
        control.set(&Faults::default());
        control
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// From the next call on, this goes wrong. A `fail_once` counts anew.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn set(&self, faults: &Faults) {
        self.writes.set(self.writes.get() + 1);
        let hex = |code: Option<u64>| code.map_or("none".to_owned(), |code| format!("{code:#x}"));
        let text = format!(
            "write = {}\nfunctions = {}\ndelay_ms = {}\nfail_always = {}\nfail_once = {}\nhang = {}\n\
             token_flags = {:#x}\niv_by_token = {}\n",
            self.writes.get(),
            faults.functions.join(","),
            faults.delay_ms,
            hex(faults.fail_always),
            hex(faults.fail_once),
            faults.hang,
            faults.token_flags,
            faults.iv_by_token,
        );
        let temporary = self.path.with_extension("new");
        std::fs::write(&temporary, text).expect("the control file can be written");
        std::fs::rename(&temporary, &self.path).expect("the control file can be renamed");
    }

    /// The functions that were called so far, in order.
    pub fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(calls_path(&self.path)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// How often that function was called so far.
    pub fn count(&self, function: &str) -> usize {
        self.calls().iter().filter(|call| *call == function).count()
    }
}

/// Where the module notes each call.
pub(crate) fn calls_path(control: &Path) -> PathBuf {
    control.with_extension("calls")
}

/// Reads a control file; gives the number of its writing too.
pub(crate) fn read(path: &Path) -> (u64, Faults) {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut faults = Faults::default();
    let mut write = 0;
    for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
        let value = value.trim();
        let code = value.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
        match key.trim() {
            "write" => write = value.parse().unwrap_or(0),
            "functions" => {
                faults.functions =
                    value.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
            }
            "delay_ms" => faults.delay_ms = value.parse().unwrap_or(0),
            "fail_always" => faults.fail_always = code,
            "fail_once" => faults.fail_once = code,
            "hang" => faults.hang = value == "true",
            "token_flags" => faults.token_flags = code.unwrap_or(0),
            "iv_by_token" => faults.iv_by_token = value == "true",
            _ => {}
        }
    }
    (write, faults)
}
