//! `context ls`.

use crate::config::contexts::Context;
use crate::table::{Column, List, Named, Row};

/// The formats with a name.
pub(crate) const NAMED: Named<'static> = Named {
    table: "{{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}",
    raw: None,
};

const COLUMNS: &[Column] = &[
    ("Current", ""),
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("DockerEndpoint", "DOCKER ENDPOINT"),
    ("Error", "ERROR"),
];

/// The list for these contexts; a current one that is not among them is told of as well.
pub(crate) fn list(contexts: &[Context], current: &str) -> List<'static> {
    let row = |name: &str, description: &str, host: &str, error: String| {
        // A template's truth: a text that is there.
        let is_current = if name == current { "true" } else { "" };
        Row::new(vec![
            ("Current", is_current.to_owned()),
            ("Name", name.to_owned()),
            ("Description", description.to_owned()),
            ("DockerEndpoint", host.to_owned()),
            ("Error", error),
        ])
    };
    let mut rows: Vec<Row> = contexts
        .iter()
        .map(|context| row(&context.name, &context.description, &context.host, String::new()))
        .collect();
    if !contexts.iter().any(|context| context.name == current) {
        rows.push(row(current, "", "", format!("context {current:?}: context not found")));
    }
    List { columns: COLUMNS, type_name: "*formatter.clientContextContext", rows }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Format;
    use expect_test::expect;

    #[test]
    fn the_table() {
        let context = |name: &str, host: &str| Context {
            name: name.to_owned(),
            description: "a b".to_owned(),
            host: host.to_owned(),
            tls: None,
            file: None,
        };
        let all = [context("default", "in-process"), context("foo", "unix:///x.sock")];
        let shown = |format: &str, current: &str| {
            let Ok(format) = Format::parse(format, NAMED) else { panic!("{format}") };
            format.render(list(&all, current)).unwrap_or_default()
        };
        expect![[r#"
            NAME      DESCRIPTION   DOCKER ENDPOINT   ERROR
            default   a b           in-process        
            foo *     a b           unix:///x.sock    
        "#]]
        .assert_eq(&shown("", "foo"));
        assert!(shown("", "nope").contains("nope *"), "{}", shown("", "nope"));
        assert_eq!(shown("{{.Name}}{{.Current}}", "default"), "defaulttrue\nfoo\n");
    }
}
