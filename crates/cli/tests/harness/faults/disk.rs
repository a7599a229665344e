//! A node's disk: a filesystem in a file, whose power can be cut, and that can fill up or hang.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::Cluster;
use super::tool;

/// The ioctl FS_IOC_SHUTDOWN, with flag 2: stop now, and write nothing back, not even the journal.
const SHUT_DOWN: &str = r#"
    sysopen(my $dir, $ARGV[0], 0) or die "open: $!";
    my $without_a_flush = pack("L", 2);
    ioctl($dir, 0x8004587d, $without_a_flush) or die "shutdown: $!";
"#;

/// An ext4 filesystem in a file, mounted until this is dropped.
pub struct Disk {
    image: PathBuf,
    mount: PathBuf,
}

impl Disk {
    /// Makes and mounts one of that size.
    pub fn new(image: PathBuf, mount: PathBuf, megabytes: u64) -> Self {
        fs::create_dir_all(&mount).unwrap();
        let file = fs::File::create(&image).unwrap();
        file.set_len(megabytes << 20).unwrap();
        // None of it kept back for root, which these nodes run as.
        tool("mkfs.ext4", &["-q", "-F", "-m", "0", text(&image)]);
        let disk = Self { image, mount };
        disk.mount();
        disk
    }

    fn mount(&self) {
        tool("mount", &["-o", "loop", text(&self.image), text(&self.mount)]);
    }

    /// Power loss: from now on nothing reaches the disk, and what was not synced is gone.
    pub fn cut_power(&self) {
        tool("perl", &["-e", SHUT_DOWN, text(&self.mount)]);
        let refused = self.write_probe().expect_err("a write after the power was cut");
        assert_eq!(refused.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()), "{refused}");
    }

    /// Power is back. No process may use the disk.
    pub fn restore_power(&self) {
        tool("umount", &[text(&self.mount)]);
        self.mount();
        self.write_probe().unwrap();
    }

    /// Takes all room that is left.
    pub fn fill(&self) {
        let mut filler = OpenOptions::new().create(true).append(true).open(self.filler()).unwrap();
        let mut block = vec![1; 1 << 20];
        while !block.is_empty() {
            match filler.write_all(&block) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => {
                    block.truncate(block.len() / 2);
                }
                Err(error) => panic!("{error}"),
            }
        }
        self.assert_full();
    }

    /// Not one byte more fits.
    pub fn assert_full(&self) {
        let mut filler = OpenOptions::new().append(true).open(self.filler()).unwrap();
        let refused = filler.write_all(&[1; 4096]).expect_err("a write to a full disk");
        assert_eq!(refused.kind(), ErrorKind::StorageFull);
    }

    /// Gives the room back.
    pub fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    /// From now on whoever writes waits.
    pub fn freeze(&self) {
        tool("fsfreeze", &["--freeze", text(&self.mount)]);
    }

    pub fn thaw(&self) {
        tool("fsfreeze", &["--unfreeze", text(&self.mount)]);
    }

    fn filler(&self) -> PathBuf {
        self.mount.join("filler")
    }

    fn write_probe(&self) -> std::io::Result<()> {
        let probe = self.mount.join("probe");
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&probe)?;
        file.write_all(b"probe")?;
        file.sync_all()?;
        fs::remove_file(&probe)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Not frozen, usually: then this fails.
        let _ = Command::new("fsfreeze").arg("--unfreeze").arg(&self.mount).output();
        // Lazily: a node may still have files open after a panic. The loop device goes with it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.mount).output();
    }
}

impl Cluster {
    /// Stops these nodes, moves their data folders to disks of their own, and starts and unseals
    /// them again. The disks go before the cluster does, so that its folder can be removed.
    pub fn move_to_disks(&mut self, ids: &[&str], megabytes: u64) -> Vec<Disk> {
        ids.iter().for_each(|id| self.terminate(id));
        let disks = ids.iter().map(|id| self.move_to_disk(id, megabytes)).collect();
        ids.iter().for_each(|id| self.launch(id, &[]));
        self.unseal_all(ids);
        disks
    }

    fn move_to_disk(&mut self, id: &str, megabytes: u64) -> Disk {
        let folder = self.dir.path().join(id);
        let disk = Disk::new(folder.join("disk.img"), folder.join("disk"), megabytes);
        let data = folder.join("disk/data");
        tool("cp", &["-a", text(&self.node(id).data_dir), text(&data)]);
        tool("sync", &["--file-system", text(&data)]);
        let config = fs::read_to_string(&self.node(id).config).unwrap();
        let moved = config.replace("data_dir = \"data\"", "data_dir = \"disk/data\"");
        assert_ne!(config, moved);
        fs::write(&self.node(id).config, moved).unwrap();
        self.nodes.iter_mut().find(|node| node.id == id).unwrap().data_dir = data;
        disk
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
