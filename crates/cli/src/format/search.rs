//! `search`.

use super::containers::Cut;
use crate::table::{Column, List, Named, Row, ellipsis};
use docker_api::types::registries::SearchResult;

/// The formats with a name.
pub(crate) const NAMED: Named<'static> =
    Named { table: "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}", raw: None };

const COLUMNS: &[Column] = &[
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("StarCount", "STARS"),
    ("IsOfficial", "OFFICIAL"),
    ("IsAutomated", "AUTOMATED"),
];

/// The list for these results, in the registry's order.
pub(crate) fn list(found: Vec<SearchResult>, cut: Cut) -> List<'static> {
    let rows = found.into_iter().map(|result| row(result, cut)).collect();
    List { columns: COLUMNS, type_name: "*formatter.searchContext", rows }
}

fn row(result: SearchResult, cut: Cut) -> Row {
    let yes = |is| if is { "[OK]".to_owned() } else { String::new() };
    // It is the registry's text, and one line here.
    let line =
        |text: &str| text.replace(['\n', '\r'], " ").chars().filter(|c| !c.is_control()).collect();
    let description: String = line(&result.description);
    let description = if cut == Cut::Short { ellipsis(&description, 45) } else { description };
    Row::new(vec![
        ("Name", line(&result.name)),
        ("Description", description),
        ("StarCount", result.star_count.to_string()),
        ("IsOfficial", yes(result.is_official)),
        ("IsAutomated", yes(result.is_automated)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Format;
    use expect_test::expect;

    #[test]
    fn what_was_found_is_a_line_each() {
        let found = SearchResult {
            name: "busybox".to_owned(),
            description: format!("Busybox\n\u{1b}[31m{}", "x".repeat(60)),
            star_count: 3037,
            is_official: true,
            is_automated: false,
        };
        let format = Format::parse("", NAMED).unwrap();
        let other = SearchResult { name: "a/b".to_owned(), ..SearchResult::default() };
        let text = format.render(list(vec![found, other], Cut::Short)).unwrap();
        expect![[r#"
            NAME      DESCRIPTION                                     STARS     OFFICIAL
            busybox   Busybox [31mxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…   3037      [OK]
            a/b                                                       0         
        "#]]
        .assert_eq(&text);
    }
}
