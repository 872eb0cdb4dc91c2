//! A reader that follows a log and goes on, after a restart, from the position that it has saved.
//!
//! It saves where it is after it has done its work, so after a crash some records may come again, and none is left out.
//!
//! `cargo run --example tail`, or with `-- --cluster naxos-dev/cluster.json` beside `naxos dev`.

pub mod support;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::bail;
use naxos::base::LogPos;
use naxos::client::{Event, VirtualLog};
use support::Home;

/// A position in a file, replaced as a whole.
pub struct Bookmark {
    path: PathBuf,
}

impl Bookmark {
    /// The position that this file has, or will have.
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where to go on; the beginning if nothing was saved.
    pub fn load(&self) -> anyhow::Result<LogPos> {
        match fs::read_to_string(&self.path) {
            Ok(text) => Ok(LogPos(text.trim().parse()?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(LogPos::ZERO),
            Err(error) => Err(error.into()),
        }
    }

    fn save(&self, position: LogPos) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = File::create(&new)?;
        writeln!(file, "{position}")?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        match self.path.parent() {
            Some(directory) if !directory.as_os_str().is_empty() => File::open(directory)?.sync_all(),
            _ => File::open(".")?.sync_all(),
        }
    }
}

/// Gives records to `work`, from the saved position on, until it has had enough.
pub fn follow(
    log: &VirtualLog,
    bookmark: &Bookmark,
    mut work: impl FnMut(LogPos, &[u8]) -> bool,
) -> anyhow::Result<()> {
    let mut subscription = log.subscribe(bookmark.load()?);
    loop {
        match subscription.next()? {
            Event::Records(delivery) => {
                for (position, record) in delivery.entries() {
                    if !work(position, record) {
                        bookmark.save(position + 1)?;
                        return Ok(());
                    }
                }
                bookmark.save(delivery.end())?;
            }
            Event::Trimmed(first) => bail!("everything below {first} has been given up"),
            Event::Sealed => unreachable!("a virtual log does not end"),
        }
    }
}

/// Appends ten records and follows them with a reader that is stopped in between. Returns what its two lives have read.
pub fn run(home: &Home) -> anyhow::Result<[Vec<String>; 2]> {
    let (_client, log) = home.log("tail")?;
    let directory = tempfile::tempdir()?;
    let bookmark = Bookmark::at(directory.path().join("position"));
    // Somebody else may have used the log before.
    bookmark.save(log.check_tail()?)?;
    let appends: Vec<_> = (0..10).map(|number| log.append(format!("record {number}").as_bytes())).collect();
    appends.into_iter().try_for_each(|append| append.wait().map(drop))?;
    let mut lives = [Vec::new(), Vec::new()];
    for (life, count) in lives.iter_mut().zip([4, 6]) {
        println!("a reader begins at {}", bookmark.load()?);
        // Each life has connections of its own, as a process would.
        let (_client, log) = home.log("tail")?;
        follow(&log, &bookmark, |position, record| {
            let text = String::from_utf8_lossy(record).into_owned();
            println!("  {position}: {text}");
            life.push(text);
            life.len() < count
        })?;
    }
    Ok(lives)
}

fn main() -> anyhow::Result<()> {
    run(&Home::from_arguments()?).map(drop)
}
