//! Labels and variables that are added to a container's record and taken from it. Pure.

use super::TextChanges;
use crate::record::Record;
use crate::resolve::variable_name;

/// Changes what the user wishes and what came of it with the image's: what is taken away is also
/// taken from what the image says.
pub(super) fn apply(changes: &TextChanges, record: &mut Record) {
    for labels in [&mut record.spec.labels, &mut record.resolved.labels] {
        for name in &changes.label_rm {
            labels.remove(name);
        }
        labels.extend(changes.label_add.clone());
    }
    for env in [&mut record.spec.process.env, &mut record.resolved.env] {
        env.retain(|variable| !changes.env_rm.iter().any(|name| name == variable_name(variable)));
        for variable in &changes.env_add {
            let has = |known: &&mut String| variable_name(known) == variable_name(variable);
            match env.iter_mut().find(has) {
                Some(known) => known.clone_from(variable),
                None => env.push(variable.clone()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn what_the_image_says_can_be_taken_away_as_well() {
        let first = include_str!("../record/first.json");
        let mut record: Record = serde_json::from_str(first).unwrap();
        record.spec.labels = [("a".into(), "1".into())].into();
        record.resolved.labels = [("a".into(), "1".into()), ("image".into(), "i".into())].into();
        record.spec.process.env = words(&["A=1"]);
        record.resolved.env = words(&["A=1", "PATH=/bin", "OLD=x"]);
        let changes = TextChanges {
            label_add: [("a".into(), "2".into()), ("b".into(), "3".into())].into(),
            label_rm: words(&["image", "nosuch"]),
            env_add: words(&["A=2", "B=3"]),
            env_rm: words(&["OLD"]),
        };
        apply(&changes, &mut record);
        let labels = [("a".to_owned(), "2".to_owned()), ("b".to_owned(), "3".to_owned())].into();
        assert_eq!(record.spec.labels, labels);
        assert_eq!(record.resolved.labels, labels);
        assert_eq!(record.spec.process.env, ["A=2", "B=3"]);
        assert_eq!(record.resolved.env, ["A=2", "PATH=/bin", "B=3"]);
    }
}
