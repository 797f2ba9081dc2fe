//! `history`.

use super::Clock;
use super::containers::Cut;
use crate::human;
use crate::table::{Column, Format, List, Named, Row, ellipsis, short_id};
use docker_api::types::images::HistoryItem;

/// Sizes and times for people.
pub(crate) const NAMED: Named<'static> = Named {
    table: "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
    raw: None,
};
/// Plain numbers (`--human=false`).
pub(crate) const NAMED_PLAIN: Named<'static> =
    Named { table: "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}", raw: None };

const COLUMNS: &[Column] = &[
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

/// Whether numbers are rounded for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbers {
    Human,
    Plain,
}

/// The list for these steps.
pub(crate) fn list(
    steps: &[HistoryItem],
    cut: Cut,
    numbers: Numbers,
    clock: &Clock,
) -> List<'static> {
    let rows = steps.iter().map(|step| row(step, cut, numbers, clock)).collect();
    List { columns: COLUMNS, type_name: "*history.historyContext", rows }
}

fn row(step: &HistoryItem, cut: Cut, numbers: Numbers, clock: &Clock) -> Row {
    let id = if cut == Cut::Short { short_id(&step.id) } else { &step.id };
    let by = step.created_by.replace('\t', " ");
    let date = jiff::Timestamp::from_second(step.created)
        .map(|time| time.to_zoned(clock.zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string())
        .unwrap_or_default();
    // Go writes an offset of zero as Z.
    let date = date.strip_suffix("+00:00").map(|date| format!("{date}Z")).unwrap_or(date);
    let size = match numbers {
        Numbers::Human => human::size(human::float(step.size)),
        Numbers::Plain => step.size.to_string(),
    };
    let since = match numbers {
        Numbers::Human => clock.ago(step.created),
        Numbers::Plain => date.clone(),
    };
    Row::new(vec![
        ("ID", id.to_owned()),
        ("CreatedSince", since),
        ("CreatedAt", date),
        ("CreatedBy", if cut == Cut::Short { ellipsis(&by, 45) } else { by }),
        ("Size", size),
        ("Comment", step.comment.clone()),
    ])
}

/// The format of a command that shows plain numbers or not.
pub(crate) fn named(numbers: Numbers) -> Named<'static> {
    match numbers {
        Numbers::Human => NAMED,
        Numbers::Plain => NAMED_PLAIN,
    }
}

/// Parses the format.
pub(crate) fn format(text: &str, numbers: Numbers) -> Result<Format, crate::error::Failure> {
    Format::parse(text, named(numbers))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(numbers: Numbers, cut: Cut, want: Expect) {
        let clock = super::super::tests::clock();
        let created = clock.now.as_second() - 100;
        let step = |id: &str, by: &str, size| HistoryItem {
            id: id.into(),
            created,
            created_by: by.into(),
            size,
            ..HistoryItem::default()
        };
        let steps = [
            step(
                "sha256:0123456789abcdef",
                "/bin/sh -c #(nop)  CMD [\"sh\"] and a very long tail",
                0,
            ),
            step("<missing>", "ADD file\tx", 4_290_000),
        ];
        let Ok(format) = format("", numbers) else { panic!("default format") };
        let got = format.render(list(&steps, cut, numbers, &clock));
        want.assert_eq(&got.unwrap_or_else(|e| e.message.unwrap_or_default()));
    }

    #[test]
    fn steps() {
        check(
            Numbers::Human,
            Cut::Short,
            expect![[r#"
            IMAGE          CREATED              CREATED BY                                      SIZE      COMMENT
            0123456789ab   About a minute ago   /bin/sh -c #(nop)  CMD ["sh"] and a very lon…   0B        
            <missing>      About a minute ago   ADD file x                                      4.29MB    
        "#]],
        );
        check(
            Numbers::Plain,
            Cut::Whole,
            expect![[r#"
            IMAGE                     CREATED AT             CREATED BY                                           SIZE      COMMENT
            sha256:0123456789abcdef   2026-01-01T10:28:20Z   /bin/sh -c #(nop)  CMD ["sh"] and a very long tail   0         
            <missing>                 2026-01-01T10:28:20Z   ADD file x                                           4290000   
        "#]],
        );
    }
}
