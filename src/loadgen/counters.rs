//! What the nodes count themselves, taken out of their status documents.

use serde_json::Value;

/// Counters of all nodes of a run, by the names that the status documents give them. A name that no node reports is
/// `None`, so that a report can say "unknown" instead of zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NodeCounters {
    /// Append frames taken in by sequencers (`append_frames`).
    pub append_frames: Option<u64>,
    /// Records in these frames (`append_records`).
    pub append_records: Option<u64>,
    /// Records that sequencers have placed themselves, to fill stripes that held others up (`no_ops`).
    pub no_ops: Option<u64>,
    /// Bytes of these (`no_op_bytes`).
    pub no_op_bytes: Option<u64>,
    /// Durable writes of journals (`units`).
    pub units: Option<u64>,
    /// Bytes of these writes (`unit_bytes`).
    pub unit_bytes: Option<u64>,
    /// Times that a journal had no prepared segment and had to wait for one (`ran_out_of_prepared`).
    pub ran_out_of_prepared: Option<u64>,
    /// Segments whose blocks were written for the first time (`segments_prepared`).
    pub segments_prepared: Option<u64>,
    /// Segments that trims have freed for another use (`segments_recycled`).
    pub segments_recycled: Option<u64>,
}

impl NodeCounters {
    /// Adds up the documents of all nodes.
    pub fn of(documents: &[Value]) -> Self {
        let total =
            |name| documents.iter().filter_map(|document| sum(document, name)).reduce(|left, right| left + right);
        Self {
            append_frames: total("append_frames"),
            append_records: total("append_records"),
            no_ops: total("no_ops"),
            no_op_bytes: total("no_op_bytes"),
            units: total("units"),
            unit_bytes: total("unit_bytes"),
            ran_out_of_prepared: total("ran_out_of_prepared"),
            segments_prepared: total("segments_prepared"),
            segments_recycled: total("segments_recycled"),
        }
    }

    /// What has been added since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        let difference = |now: Option<u64>, then: Option<u64>| Some(now?.saturating_sub(then.unwrap_or(0)));
        Self {
            append_frames: difference(self.append_frames, earlier.append_frames),
            append_records: difference(self.append_records, earlier.append_records),
            no_ops: difference(self.no_ops, earlier.no_ops),
            no_op_bytes: difference(self.no_op_bytes, earlier.no_op_bytes),
            units: difference(self.units, earlier.units),
            unit_bytes: difference(self.unit_bytes, earlier.unit_bytes),
            ran_out_of_prepared: difference(self.ran_out_of_prepared, earlier.ran_out_of_prepared),
            segments_prepared: difference(self.segments_prepared, earlier.segments_prepared),
            segments_recycled: difference(self.segments_recycled, earlier.segments_recycled),
        }
    }
}

/// The sum of every number named `name` at any depth of a document: a node reports each shard by itself. `None` when there
/// is no such number.
pub fn sum(document: &Value, name: &str) -> Option<u64> {
    let add = |left: Option<u64>, right: Option<u64>| match (left, right) {
        (Some(left), Some(right)) => Some(left + right),
        (one, other) => one.or(other),
    };
    match document {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| if key == name && value.is_u64() { value.as_u64() } else { sum(value, name) })
            .fold(None, add),
        Value::Array(items) => items.iter().map(|item| sum(item, name)).fold(None, add),
        _ => None,
    }
}

/// The mean of `total` over `count`; unknown when either is, or when there were none.
pub fn mean(total: Option<u64>, count: Option<u64>) -> Option<f64> {
    let count = count.filter(|&count| count > 0)?;
    Some(total? as f64 / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn shards_are_added_up_wherever_they_are() {
        let node = json!({"shards": [{"journal": {"units": 2, "unit_bytes": 8192}}, {"journal": {"units": 3}}]});
        let counters = NodeCounters::of(&[node.clone(), node]);
        assert_eq!((counters.units, counters.unit_bytes), (Some(10), Some(16384)));
        assert_eq!(counters.append_frames, None, "unknown is not zero");
        assert_eq!(mean(counters.unit_bytes, counters.units), Some(1638.4));
    }
}
