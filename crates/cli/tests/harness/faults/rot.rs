//! Bytes that change on a node's disk, and folders that go back to what they were.

use std::fs;
use std::path::{Path, PathBuf};

use super::tool;

/// Every file under a folder, sorted.
pub fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// Changes one bit of the byte at that offset.
pub fn flip(file: &Path, offset: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[offset] ^= 0x10;
    fs::write(file, &bytes).unwrap();
    assert_eq!(fs::read(file).unwrap()[offset], bytes[offset]);
    eprintln!("changed byte {offset} of {}", file.display());
}

/// Where these bytes stand in a file, each place once.
pub fn places(file: &Path, bytes: &[u8]) -> Vec<usize> {
    let text = fs::read(file).unwrap();
    let starts = text.windows(bytes.len()).enumerate();
    starts.filter(|(_, window)| *window == bytes).map(|(at, _)| at).collect()
}

/// Copies a folder as it is.
pub fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    tool("cp", &["-a", from.to_str().unwrap(), to.to_str().unwrap()]);
}
