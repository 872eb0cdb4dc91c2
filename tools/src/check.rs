//! What a record must say to be believed.

use anyhow::{Context, bail};
use naxos::loadgen::sweep::record::Sweep;
use serde_json::Value;

use crate::collect::{Record, SWEEP};

/// The only schema so far.
const SCHEMA: u64 = 1;
/// In order: none may be below the one before.
const PERCENTILES: [&str; 5] = ["p50", "p90", "p99", "p999", "max"];

/// What a result is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Of `naxos bench append`: schema of `loadgen::report`.
    Append,
    /// Of a bench that names itself, such as `journal_open`.
    Named,
}

/// Which kind of result this is.
pub(crate) fn kind(result: &Value) -> Kind {
    if result.get("bench").is_some() { Kind::Named } else { Kind::Append }
}

/// Fails with the file and the field at fault.
pub(crate) fn check(record: &Record) -> anyhow::Result<()> {
    let result = check_result(&record.result).and_then(|()| match record.result["bench"].as_str() {
        Some(SWEEP) => check_sweep(record),
        _ => Ok(()),
    });
    result.with_context(|| record.file.display().to_string())
}

/// That the files of a sweep agree, and that nothing was lost. Runs that have failed or are not valid may be there: they say so, and no
/// number is made of them.
fn check_sweep(record: &Record) -> anyhow::Result<()> {
    let sweep = Sweep::read(record.file.parent().context("a file is in a directory")?)?;
    for row in &sweep.rows {
        for (field, count) in [("missing", row.missing), ("corrupt", row.corrupt)] {
            if let Some(count @ 1..) = count {
                bail!("results.csv: run {}: {field}: {count} is not 0", row.run);
            }
        }
    }
    Ok(())
}

pub(crate) fn check_result(result: &Value) -> anyhow::Result<()> {
    let schema = number(result, "schema")?;
    if schema != SCHEMA as f64 {
        bail!("schema: {schema} is not known");
    }
    text(result, "commit")?;
    match kind(result) {
        Kind::Named => match text(result, "bench")? {
            "read" | "tail" | "reconfigure" | "failover" | "stall" | "virtualization" | "chain"
                if result.get("valid").and_then(Value::as_bool) != Some(true) =>
            {
                bail!("valid: it is not true")
            }
            "compare" => number(result, "ratio").map(drop),
            "peers" => check_peers(result),
            _ => Ok(()),
        },
        Kind::Append => {
            check_append(result)?;
            // A bare `bench` brings a second result, of one append at a time.
            match result.get("one_at_a_time") {
                Some(single) => check_append(single).context("one_at_a_time"),
                None => Ok(()),
            }
        }
    }
}

fn check_peers(result: &Value) -> anyhow::Result<()> {
    if result.get("valid").and_then(Value::as_bool) != Some(true) {
        bail!("valid: it is not true");
    }
    for field in ["appends_per_s", "p50_us", "p99_us", "copies", "record_bytes", "verified.acked"] {
        number(result, field)?;
    }
    for field in ["system", "version", "durability", "shape"] {
        text(result, field)?;
    }
    Ok(())
}

fn check_append(result: &Value) -> anyhow::Result<()> {
    if result.get("valid").and_then(Value::as_bool) != Some(true) {
        bail!("valid: it is not true");
    }
    for field in ["verified.missing", "verified.corrupt"] {
        let count = number(result, field)?;
        if count != 0.0 {
            bail!("{field}: {count} is not 0");
        }
    }
    let mut before = ("nothing", 0.0);
    for name in PERCENTILES {
        let field = format!("latency_us.{name}");
        let value = number(result, &field)?;
        if value < before.1 {
            bail!("{field}: {value} is below {} of {}", before.1, before.0);
        }
        before = (name, value);
    }
    for field in ["nodes", "clients", "record_bytes", "appends_per_s", "p50_over_floor"] {
        number(result, field)?;
    }
    for field in ["durability", "loop", "machine.cpu", "machine.disk", "machine.kernel"] {
        text(result, field)?;
    }
    Ok(())
}

/// The value at a path of names joined by dots.
pub(crate) fn find<'v>(result: &'v Value, field: &str) -> Option<&'v Value> {
    field.split('.').try_fold(result, |value, name| value.get(name))
}

pub(crate) fn number(result: &Value, field: &str) -> anyhow::Result<f64> {
    find(result, field).and_then(Value::as_f64).with_context(|| format!("{field}: it is no number"))
}

pub(crate) fn text<'v>(result: &'v Value, field: &str) -> anyhow::Result<&'v str> {
    find(result, field).and_then(Value::as_str).with_context(|| format!("{field}: it is no text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Value {
        serde_json::from_str(include_str!("../tests/fixtures/append.json")).unwrap()
    }

    fn fault(change: impl FnOnce(&mut Value)) -> String {
        let mut result = good()["result"].take();
        change(&mut result);
        format!("{:#}", check_result(&result).unwrap_err())
    }

    #[test]
    fn a_sound_result_passes() {
        check_result(&good()["result"]).unwrap();
    }

    #[test]
    fn each_fault_is_named_by_its_field() {
        assert!(fault(|result| result["schema"] = 2.into()).starts_with("schema:"));
        assert!(fault(|result| result["valid"] = false.into()).starts_with("valid:"));
        assert!(fault(|result| result["verified"]["missing"] = 1.into()).starts_with("verified.missing:"));
        assert!(fault(|result| result["verified"]["corrupt"] = 3.into()).starts_with("verified.corrupt:"));
        assert!(fault(|result| result["latency_us"]["p99"] = 1.0.into()).starts_with("latency_us.p99:"));
        assert!(fault(|result| result["machine"] = Value::Null).starts_with("machine.cpu:"));
        assert!(fault(|result| result["commit"] = Value::Null).starts_with("commit:"));
        assert!(fault(|result| drop(result.as_object_mut().unwrap().remove("verified"))).starts_with("verified."));
    }

    #[test]
    fn a_row_of_peers_is_checked_by_its_own_fields() {
        let row = serde_json::json!({
            "schema": 1, "bench": "peers", "commit": "0123456789ab", "system": "redis", "version": "7.0.15",
            "durability": "fsync", "shape": "single", "copies": 1, "record_bytes": 100, "appends_per_s": 2000.5,
            "p50_us": 450.1, "p99_us": 900.0, "verified": {"acked": 9}, "valid": true
        });
        check_result(&row).unwrap();
        for field in ["valid", "p99_us", "durability", "verified"] {
            let mut row = row.clone();
            row[field] = Value::Null;
            assert!(check_result(&row).unwrap_err().to_string().starts_with(field));
        }
    }

    #[test]
    fn the_second_result_of_a_bare_bench_is_checked_as_well() {
        let fault = fault(|result| {
            let mut single = result.clone();
            single["valid"] = false.into();
            result["one_at_a_time"] = single;
        });
        assert!(fault.starts_with("one_at_a_time: valid:"), "{fault}");
    }
}
