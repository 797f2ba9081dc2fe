//! What is understood of a record that cannot be read whole: a newer dhow's, or a damaged one.
//!
//! Nothing is started or shown by it. It says what is to be given back when the container is removed, and which
//! ports it has while others' are laid again: to know some of that is better than to keep all others from it.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{NamedMount, Record, Start};
use model::container::{ContainerSpec, Limits};

use crate::resolve::Resolved;

/// A record of which nothing is known.
const LEAST: &str = include_str!("least.json");

impl Record {
    /// As much of a record as is understood.
    ///
    /// # Errors
    /// Even nothing makes no record, which a test keeps from being so.
    pub(crate) fn salvaged(text: &str) -> Result<Self, serde_json::Error> {
        let mut record: Value = serde_json::from_str(LEAST)?;
        // Of what is no JSON at all nothing is understood.
        let found: Value = serde_json::from_str(text).unwrap_or_default();
        let spec = &found["spec"];
        graft::<Limits>(&mut record["spec"]["limits"], &spec["limits"]);
        graft::<ContainerSpec>(&mut record["spec"], spec);
        graft::<Resolved>(&mut record["resolved"], &found["resolved"]);
        let mounts = found["mounts"].as_array().into_iter().flatten();
        record["mounts"] = mounts.filter(|mount| is::<NamedMount>(mount)).cloned().collect();
        if let Some(given) = found["progress"].get("Started") {
            let mut start = json!({"at": "1970-01-01T00:00:00Z", "endpoint": null, "failed": null});
            graft::<Start>(&mut start, given);
            record["progress"] = json!({ "Started": start });
        }
        graft::<Self>(&mut record, &found);
        serde_json::from_value(record)
    }
}

/// Takes over, field by field, what is understood.
fn graft<T: DeserializeOwned>(known: &mut Value, found: &Value) {
    for (name, value) in found.as_object().into_iter().flatten() {
        let mut tried = known.clone();
        tried[name.as_str()] = value.clone();
        if is::<T>(&tried) {
            *known = tried;
        }
    }
}

fn is<T: DeserializeOwned>(value: &Value) -> bool {
    T::deserialize(value).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Progress;

    const FIRST: &str = include_str!("first.json");

    /// The first record, with something of a newer dhow's at these places.
    fn newer(places: &[&str]) -> Record {
        let mut record: Value = serde_json::from_str(FIRST).unwrap();
        for place in places {
            record.pointer_mut(place).unwrap()["wish"] = json!({"new": 1});
        }
        let text = record.to_string();
        assert_eq!(serde_json::from_str::<Record>(&text).is_ok(), places.is_empty());
        Record::salvaged(&text).unwrap()
    }

    #[test]
    fn what_is_understood_is_kept() {
        let first: Record = serde_json::from_str(FIRST).unwrap();
        assert_eq!(newer(&[]), first);
        assert_eq!(newer(&[""]), first, "a wish of its own");
        assert_eq!(newer(&["/spec", "/resolved"]), first);
        let of_network = newer(&["/spec/network", "/spec/limits", "/progress/Started"]);
        assert_eq!(of_network.spec.limits, first.spec.limits);
        assert_eq!(of_network.spec.files, first.spec.files);
        assert_eq!(of_network.progress, first.progress);
        assert!(of_network.spec.network.published.is_empty());
        assert_eq!(of_network.resolved.published, first.resolved.published);
        let of_mount = newer(&["/mounts/1/mount", "/progress/Started/endpoint"]);
        assert_eq!(of_mount.mounts.len(), 2);
        let Progress::Started(start) = of_mount.progress else { panic!("it was started") };
        assert!(start.endpoint.is_none());
    }

    #[test]
    fn of_what_is_no_record_there_is_the_least() {
        for text in ["", "{}", "[1]", "{\"spec\":7,\"mounts\":{},\"progress\":{\"Started\":1}}"] {
            let record = Record::salvaged(text).unwrap();
            assert!(record.mounts.is_empty() && record.resolved.published.is_empty(), "{text}");
        }
    }
}
