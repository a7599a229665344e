//! Finds markers in files, however a careless writer might have spelt them.

#![allow(dead_code, reason = "each test uses its part")]

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Something that must stand nowhere.
pub struct Marker {
    pub what: &'static str,
    pub bytes: Vec<u8>,
}

/// One way of spelling one marker.
pub struct Pattern {
    pub what: &'static str,
    pub spelling: String,
    pub bytes: Vec<u8>,
}

/// Patterns by their first two bytes: one pass over a file finds all.
pub struct Scanner {
    patterns: Vec<Pattern>,
    by_start: Vec<Vec<usize>>,
}

impl Scanner {
    pub fn new(markers: &[Marker]) -> Self {
        let mut patterns: Vec<Pattern> = markers.iter().flat_map(spellings).collect();
        patterns.dedup_by(|a, b| a.bytes == b.bytes);
        let mut by_start = vec![Vec::new(); 1 << 16];
        for (number, pattern) in patterns.iter().enumerate() {
            // A short pattern would be found by chance.
            assert!(pattern.bytes.len() >= 14, "{} as {}", pattern.what, pattern.spelling);
            by_start[start(&pattern.bytes)].push(number);
        }
        Self { patterns, by_start }
    }

    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// What stands in these bytes, as "what (spelling)".
    pub fn scan(&self, bytes: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        for (at, pair) in bytes.windows(2).enumerate() {
            for number in &self.by_start[start(pair)] {
                let pattern = &self.patterns[*number];
                if bytes[at..].starts_with(&pattern.bytes) {
                    found.push(format!("{} ({}) at byte {at}", pattern.what, pattern.spelling));
                }
            }
        }
        found
    }

    /// What stands in the files of a folder and the folders in it, and in their names.
    pub fn scan_folder(&self, folder: &Path) -> (Vec<PathBuf>, Vec<String>) {
        let (mut files, mut found) = (Vec::new(), Vec::new());
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let mut here = self.scan(path.file_name().unwrap().as_encoded_bytes());
                if path.is_dir() {
                    folders.push(path.clone());
                } else {
                    match fs::read(&path) {
                        Ok(bytes) => here.extend(self.scan(&bytes)),
                        // A node that runs removes what it no longer needs.
                        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                        Err(error) => panic!("{}: {error}", path.display()),
                    }
                    files.push(path.clone());
                }
                found.extend(here.into_iter().map(|what| format!("{}: {what}", path.display())));
            }
        }
        (files, found)
    }
}

fn start(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

fn spellings(marker: &Marker) -> Vec<Pattern> {
    let bytes = &marker.bytes;
    let decimal: Vec<String> = bytes.iter().map(u8::to_string).collect();
    let mut spelt = vec![
        ("raw".to_owned(), bytes.clone()),
        ("hex".to_owned(), hex::encode(bytes).into_bytes()),
        ("upper-case hex".to_owned(), hex::encode_upper(bytes).into_bytes()),
        ("list of numbers".to_owned(), decimal.join(", ").into_bytes()),
    ];
    for before in 0..3 {
        // Only characters whose six bits all come from the marker are the same wherever it stands.
        let shifted = [&[0; 2][..before], bytes].concat();
        let inner = (before * 8).div_ceil(6)..shifted.len() * 8 / 6;
        for (name, text) in [
            ("base64", STANDARD_NO_PAD.encode(&shifted)),
            ("base64url", URL_SAFE_NO_PAD.encode(&shifted)),
        ] {
            let spelling = format!("{name} after {before} bytes");
            spelt.push((spelling, text.as_bytes()[inner.clone()].to_vec()));
        }
    }
    spelt
        .into_iter()
        .map(|(spelling, bytes)| Pattern { what: marker.what, spelling, bytes })
        .collect()
}
