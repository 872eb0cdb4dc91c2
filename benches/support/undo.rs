//! Takes back what a start has written, so that the next one finds the same directory.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::rig::BLOCK_BYTES;

/// The files of a closed journal and their first blocks, which alone tell what a file is used for.
pub(crate) struct Snapshot(BTreeMap<PathBuf, Vec<u8>>);

fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn first_block(path: &Path) -> io::Result<Vec<u8>> {
    let mut block = vec![0; BLOCK_BYTES as usize];
    fs::File::open(path)?.read_exact_at(&mut block, 0)?;
    Ok(block)
}

impl Snapshot {
    /// Of the journal as it lies there now.
    pub(crate) fn take(directory: &Path) -> io::Result<Self> {
        let blocks = files(directory)?.into_iter().map(|path| Ok((path.clone(), first_block(&path)?)));
        blocks.collect::<io::Result<_>>().map(Self)
    }

    /// Frees the files that were taken since, and removes those that were made.
    pub(crate) fn restore(&self, directory: &Path) -> io::Result<()> {
        for path in files(directory)? {
            let Some(before) = self.0.get(&path) else {
                fs::remove_file(&path)?;
                continue;
            };
            if first_block(&path)? != *before {
                let file = OpenOptions::new().write(true).open(&path)?;
                file.write_all_at(before, 0)?;
                file.sync_all()?;
            }
        }
        Ok(())
    }
}

/// Flips bytes of the index block of a closed segment in the middle of the journal. Returns whether there was one.
pub(crate) fn damage_an_index_block(directory: &Path) -> io::Result<bool> {
    let mut indexed = Vec::new();
    for path in files(directory)? {
        let bytes = fs::metadata(&path)?.len();
        let region = bytes - (bytes / 256).next_multiple_of(u64::from(BLOCK_BYTES));
        let mut magic = [0; 8];
        fs::File::open(&path)?.read_exact_at(&mut magic, region)?;
        if magic == *b"NAXOSJNL" {
            indexed.push((path, region));
        }
    }
    let Some((path, region)) = indexed.get(indexed.len() / 2) else { return Ok(false) };
    // Behind the header and into the entries.
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut bytes = [0; 64];
    file.read_exact_at(&mut bytes, region + 256)?;
    bytes.iter_mut().for_each(|byte| *byte ^= 0x5A);
    file.write_all_at(&bytes, region + 256)?;
    file.sync_all()?;
    Ok(true)
}
