//! The configuration file of `naxos serve`: TOML, read key by key against the table in `config_keys`, so that an error names
//! the key and its line, and the file that is printed is the file that is read.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::config_keys::{KEYS, Key, SECTIONS};
use super::exit;
use super::metastore::MetaStoreChoice;
use crate::base::{ClusterId, Limits};
use crate::io::DriverChoice;
use crate::node::Scaling;

/// What a node is run with: defaults, then the file, then the flags.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    pub(super) dir: Option<PathBuf>,
    pub(super) device: Option<PathBuf>,
    pub(super) cluster_id: Option<ClusterId>,
    pub(super) join: Vec<SocketAddr>,
    pub(super) bootstrap_expect: Option<u16>,
    pub(super) peers: Vec<SocketAddr>,
    pub(super) zone: Option<String>,
    pub(super) metastore: Option<MetaStoreChoice>,
    pub(super) listen: SocketAddr,
    pub(super) admin: Option<SocketAddr>,
    pub(super) shards: Option<u16>,
    pub(super) pin: bool,
    pub(super) driver: DriverChoice,
    pub(super) allow_volatile: bool,
    pub(super) control: bool,
    pub(super) prepare_bytes: Option<u64>,
    pub(super) limits: Limits,
    pub(super) scaling: Scaling,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dir: None,
            device: None,
            cluster_id: None,
            join: Vec::new(),
            bootstrap_expect: None,
            peers: Vec::new(),
            zone: None,
            metastore: None,
            listen: ([127, 0, 0, 1], 4100).into(),
            admin: None,
            shards: None,
            pin: true,
            driver: DriverChoice::default(),
            allow_volatile: false,
            control: true,
            prepare_bytes: None,
            limits: Limits::default(),
            scaling: Scaling::default(),
        }
    }
}

/// A value as the file gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Given {
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<Given>),
    /// Something that no key takes, by the name of its type.
    Other(&'static str),
}

impl Settings {
    /// The defaults, changed by a file.
    ///
    /// # Errors
    /// The file cannot be read or says something that it may not, with the line and the key.
    pub(super) fn load(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path)
            .map_err(|error| exit::coded(exit::USAGE, format!("cannot read {}: {error}", path.display())))?;
        Self::parse(&text).map_err(|(line, why)| exit::coded(exit::USAGE, format!("{}:{line}: {why}", path.display())))
    }

    /// Reads a file's text; an error has its line.
    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let line = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
        let table = DeTable::parse(text)
            .map_err(|error| (line(error.span().map_or(0, |span| span.start)), error.message().to_owned()))?;
        let mut settings = Self::default();
        let mut lines = Vec::new();
        for (section, value) in table.get_ref() {
            let (name, at) = (section.get_ref(), line(section.span().start));
            if !SECTIONS.iter().any(|(section, _)| section == name) {
                return Err((at, unknown_section(name)));
            }
            let DeValue::Table(entries) = value.get_ref() else {
                return Err((at, format!("`{name}` is a section: write [{name}]")));
            };
            for (key, value) in entries {
                let at = line(key.span().start);
                let known = find(name, key.get_ref()).map_err(|why| (at, why))?;
                (known.set)(&mut settings, given(value)).map_err(|why| (at, format!("`{}`: {why}", known.name)))?;
                lines.push((known.name, at));
            }
        }
        let limits = settings.limits.check().map_err(|error| error.to_string());
        let scaling = settings.scaling.check().map_err(|error| error.to_string());
        limits.and(scaling).map_err(|why| {
            // A rule names the keys that it is about, and the file has changed one of them.
            let named = lines.iter().find(|(name, _)| why.contains(name));
            (named.map_or(1, |(_, at)| *at), why)
        })?;
        Ok(settings)
    }

    /// As a configuration file with every key, what it means, and these values.
    pub(super) fn to_toml(&self) -> String {
        let mut out = String::from(HEADER);
        for (section, about) in SECTIONS {
            write!(out, "\n# {about}\n[{section}]\n").expect("memory takes it");
            for key in KEYS.iter().filter(|key| key.section == *section) {
                out.push('\n');
                key.help.lines().for_each(|line| writeln!(out, "# {line}").expect("memory takes it"));
                match (key.get)(self) {
                    Some(value) => writeln!(out, "{} = {}", key.name, value),
                    None => writeln!(out, "# {} = {}", key.name, key.example),
                }
                .expect("memory takes it");
            }
        }
        out
    }

    /// The same as one object; keys without a value are left out.
    pub(super) fn to_json(&self) -> Value {
        let table: toml::Table = toml::from_str(&self.to_toml()).expect("what is printed is TOML");
        json!(table)
    }
}

const HEADER: &str = "\
# Configuration of one Naxos node: naxos serve --config FILE
#
# Flags override this file. A key that is left out has its default; an unknown key is an error.
# Sizes are bytes, as a number or as text with KiB, MiB or GiB. Times are in the unit that ends the key's name.
";

fn unknown_section(name: &str) -> String {
    if let Some(key) = KEYS.iter().find(|key| key.name == name) {
        return format!("`{name}` stands outside its section: it belongs under [{}]", key.section);
    }
    let known = SECTIONS.iter().map(|(section, _)| *section);
    format!("unknown section or key `{name}`{}", hint(name, known))
}

fn find(section: &str, name: &str) -> Result<&'static Key, String> {
    if let Some(key) = KEYS.iter().find(|key| key.section == section && key.name == name) {
        return Ok(key);
    }
    if let Some(elsewhere) = KEYS.iter().find(|key| key.name == name) {
        return Err(format!("`{name}` belongs under [{}], not under [{section}]", elsewhere.section));
    }
    let known = KEYS.iter().filter(|key| key.section == section).map(|key| key.name);
    Err(format!("unknown key `{name}` in [{section}]{}", hint(name, known)))
}

/// Words that name the nearest known one, if any is near.
fn hint<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let nearest = known.map(|known| (distance(name, known), known)).min();
    match nearest {
        Some((distance, known)) if distance <= 2.max(name.len() / 3) => format!("; did you mean `{known}`?"),
        _ => "; `naxos serve --print-config` lists all".to_owned(),
    }
}

/// Insertions, deletions and replacements of one character that lead from one word to the other (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, letter) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (at, other) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

fn given(value: &Spanned<DeValue<'_>>) -> Given {
    match value.get_ref() {
        DeValue::Array(items) => Given::List(items.iter().map(given).collect()),
        DeValue::String(text) => Given::Text(text.to_string()),
        DeValue::Boolean(holds) => Given::Boolean(*holds),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Given::Integer(number),
            Err(_) => Given::Other("a number that is too large"),
        },
        DeValue::Float(_) => Given::Other("a fraction"),
        DeValue::Datetime(_) => Given::Other("a date"),
        DeValue::Table(_) => Given::Other("a table"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> (usize, String) {
        Settings::parse(text).unwrap_err()
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same() {
        let defaults = Settings::default();
        assert_eq!(Settings::parse(&defaults.to_toml()).unwrap(), defaults);
        let changed = Settings {
            dir: Some("/var/lib/na\"x\\os\u{e9}".into()),
            device: Some("/dev/disk/by-id/a b".into()),
            cluster_id: Some(ClusterId(0xC1)),
            join: vec!["127.0.0.1:5".parse().unwrap(), "[::1]:6".parse().unwrap()],
            bootstrap_expect: Some(2),
            peers: vec!["127.0.0.1:7".parse().unwrap()],
            zone: Some("rack-2".to_owned()),
            metastore: Some(MetaStoreChoice::Files("/r\"s".into())),
            listen: "[::1]:9".parse().unwrap(),
            admin: Some("127.0.0.1:4101".parse().unwrap()),
            shards: Some(3),
            driver: DriverChoice::Epoll,
            pin: false,
            allow_volatile: true,
            control: false,
            prepare_bytes: Some(12_345),
            limits: Limits { segment_bytes: 128 << 20, unit_depth: 4, ..Limits::default() },
            scaling: Scaling { high: 0.29, low: 0.07, low_rounds: 5, ..Scaling::default() },
        };
        assert_eq!(Settings::parse(&changed.to_toml()).unwrap(), changed);
        assert_ne!(changed, defaults);
    }

    #[test]
    fn every_key_is_read_back_by_itself() {
        // A getter paired with another key's setter would pass the test above if both had one value.
        for key in KEYS {
            let value = (key.get)(&Settings::default()).unwrap_or_else(|| key.example.to_owned());
            let text = format!("[{}]\n{} = {value}\n", key.section, key.name);
            let read = Settings::parse(&text).unwrap_or_else(|why| panic!("{text}: {why:?}"));
            assert_eq!((key.get)(&read), Some(value), "{}", key.name);
            let others = KEYS.iter().filter(|other| other.name != key.name);
            for other in others {
                assert_eq!((other.get)(&read), (other.get)(&Settings::default()), "{} sets {}", key.name, other.name);
            }
            assert!(key.help.len() > 20 && key.help.ends_with('.'), "{} is documented", key.name);
        }
    }

    #[test]
    fn numeric_keys_change_what_they_name() {
        let defaults = Settings::default();
        for key in KEYS.iter().filter(|key| key.section != "node" && key.name != "unit_depth") {
            // Doubling any one limit alone may break a relation; the setter must still reach its own field only.
            let mut changed = defaults.clone();
            let number = if key.name.ends_with("_percent") { 49 } else { 7_340_032 };
            (key.set)(&mut changed, Given::Integer(number)).unwrap();
            assert_ne!((key.get)(&changed), (key.get)(&defaults), "{}", key.name);
            for other in KEYS.iter().filter(|other| other.name != key.name) {
                assert_eq!((other.get)(&changed), (other.get)(&defaults), "{} sets {}", key.name, other.name);
            }
        }
    }

    #[test]
    fn every_limit_of_a_node_is_a_key() {
        // What only a client uses, or what would make stored data unreadable, is no key.
        const NOT_KEYS: [&str; 2] = ["client_window_bytes", "operation_timeout"];
        let debug = format!("{:?}", Limits::default());
        let fields = debug.trim_start_matches("Limits {").split(',').filter_map(|field| field.split(':').next());
        for field in fields.map(str::trim) {
            let names = [field.to_owned(), format!("{field}_ms"), format!("{field}_us")];
            let is_key = KEYS.iter().any(|key| names.iter().any(|name| name == key.name));
            assert!(is_key != NOT_KEYS.contains(&field), "limit {field}: add it to config_keys.rs, or here");
        }
    }

    #[test]
    fn every_percentage_is_read_back_as_it_was() {
        for percent in 1..=100 {
            let settings = Settings::parse(&format!("[scaling]\nquiet_percent = 0\nbusy_percent = {percent}")).unwrap();
            assert!(settings.to_toml().contains(&format!("\nbusy_percent = {percent}\n")), "{percent}");
            assert_eq!(Settings::parse(&settings.to_toml()).unwrap(), settings);
        }
    }

    #[test]
    fn unknown_keys_name_the_line_and_the_nearest_key() {
        assert_eq!(error("[node]\n\nlisten_ = 1").0, 3);
        assert!(error("[node]\nlistn = \"x\"").1.contains("`listn`"));
        assert!(error("[node]\nlistn = \"x\"").1.contains("did you mean `listen`?"));
        assert!(error("[limits]\nsegment_byte = 1").1.contains("did you mean `segment_bytes`?"));
        assert!(error("[nod]\n").1.contains("did you mean `node`?"));
        assert!(error("[limits]\nlisten = \"x\"").1.contains("belongs under [node]"));
        assert!(error("listen = \"x\"").1.contains("belongs under [node]"));
        let far = error("[node]\nfrobnicate = 1").1;
        assert!(far.contains("--print-config") && !far.contains("did you mean"), "{far}");
    }

    #[test]
    fn wrong_values_name_the_key_and_its_line() {
        let cases = [
            ("[node]\nshards = \"two\"", "shards"),
            ("[node]\nshards = 0", "shards"),
            ("[node]\nshards = 70000", "shards"),
            ("[node]\npin = 1", "pin"),
            ("[node]\nlisten = \"here\"", "listen"),
            ("[node]\nlisten = 4100", "listen"),
            ("[node]\ncluster_id = \"zebra\"", "cluster_id"),
            ("[node]\njoin = \"127.0.0.1:1\"", "join"),
            ("[node]\njoin = []", "join"),
            ("[node]\npeers = [\"here\"]", "peers"),
            ("[node]\npeers = [4100]", "peers"),
            ("[node]\nbootstrap_expect = 32", "bootstrap_expect"),
            ("[node]\nzone = \"\"", "zone"),
            ("[node]\nmetastore = \"etcd:x\"", "metastore"),
            ("[node]\nprepare_bytes = \"5 MB\"", "prepare_bytes"),
            ("[limits]\nsegment_bytes = -1", "segment_bytes"),
            ("[limits]\nunit_bytes_max = 99999999999", "unit_bytes_max"),
            ("[limits]\nunit_bytes_max = \"99999999999999999999 GiB\"", "unit_bytes_max"),
            ("[limits]\nstall_ms = 1.5", "stall_ms"),
            ("[limits]\nunit_depth = [2]", "unit_depth"),
            ("[limits]\nunit_depth = 3", "unit_depth"),
            ("[limits]\nsegments_max = 0x7fffffffffffffffffff", "segments_max"),
            ("[scaling]\nbusy_percent = 0", "busy_percent"),
            ("[scaling]\nbusy_percent = 101", "busy_percent"),
            ("[scaling]\nbusy_percent = 0.75", "busy_percent"),
            ("[scaling]\nbusy_percent = 50", "quiet_percent is below half of busy_percent"),
            ("[scaling]\nquiet_percent = 40", "quiet_percent is below half of busy_percent"),
            ("[scaling]\nquiet_percent = -1", "quiet_percent"),
            ("[scaling]\nround_ms = 999", "round_ms"),
            ("[scaling]\nbusy_rounds = 0", "busy_rounds"),
            ("[scaling]\nquiet_rounds = 0", "quiet_rounds"),
            ("[scaling]\nlong_wait_writes = 0", "long_wait_writes"),
            ("[scaling]\nrest_ms = 0", "rest_ms"),
            ("[scaling]\nrest_ms = 99999999999", "rest_ms"),
        ];
        for (text, key) in cases {
            let (line, why) = error(text);
            assert!(line == 2 && why.contains(key), "{text}: {line}: {why}");
        }
        assert_eq!(error("[node]\n[limits\n").0, 2);
        assert_eq!(error("[node]\npin = true\npin = true\n").0, 3);
        assert!(error("node = 1").1.contains("[node]"));
    }

    #[test]
    fn sizes_are_numbers_or_have_a_unit() {
        for (text, bytes) in [("67108864", 64 << 20), ("\"64 MiB\"", 64 << 20), ("\"1GiB\"", 1 << 30)] {
            let settings = Settings::parse(&format!("[limits]\nsegment_bytes = {text}")).unwrap();
            assert_eq!(settings.limits.segment_bytes, bytes, "{text}");
        }
    }

    #[test]
    fn the_nearest_word_is_found_by_single_letters() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
