//! Lists: rows through a table, a template or JSON.
//!
//! What the columns of a resource are is in `format`; alignment is `tabs`' business.

mod tabs;

use crate::error::Failure;
use crate::template::{Functions, Method, MissingKey, Origin, Struct, Template, Value};
use std::collections::BTreeMap;
use std::rc::Rc;

pub(crate) use tabs::{Layout, align};

/// One column: the field of the row, and its header.
pub(crate) type Column = (&'static str, &'static str);

/// Rows to be shown, and how.
pub(crate) struct List<'a> {
    /// All fields and their headers.
    pub(crate) columns: &'a [Column],
    /// The Go type that messages name.
    pub(crate) type_name: &'static str,
    /// The rows.
    pub(crate) rows: Vec<Row>,
}

/// One row: the values of its fields, and its labels.
pub(crate) struct Row {
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) labels: BTreeMap<String, String>,
}

/// A parsed `--format`.
pub(crate) struct Format {
    template: Template,
    shape: Shape,
    source: String,
}

/// Whether rows are aligned under a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Table,
    Lines,
}

/// The formats that have a name, for one resource.
#[derive(Clone, Copy)]
pub(crate) struct Named<'a> {
    /// `table`, and no format at all.
    pub(crate) table: &'a str,
    /// `raw`; none if the resource has no such format.
    pub(crate) raw: Option<&'a str>,
}

impl Format {
    /// Reads a format; an empty one is the table.
    pub(crate) fn parse(text: &str, named: Named<'_>) -> Result<Self, Failure> {
        let (shape, source) = match text {
            "" | "table" => (Shape::Table, named.table.to_owned()),
            "json" => (Shape::Lines, "{{json .}}".to_owned()),
            "raw" if named.raw.is_some() => {
                (Shape::Lines, named.raw.unwrap_or_default().to_owned())
            }
            // Docker takes `table` off whatever follows it.
            text => match text.strip_prefix("table") {
                Some(rest) => (Shape::Table, rest.trim().to_owned()),
                None => (Shape::Lines, text.to_owned()),
            },
        };
        // Shells hand these two over as they were typed.
        let source = source.replace("\\t", "\t").replace("\\n", "\n");
        let template = Template::parse(&source)
            .map_err(|e| Failure::error(format!("failed to parse template: {e}")))?;
        Ok(Self { template, shape, source })
    }

    /// Whether a field is shown, so that it is worth computing.
    pub(crate) fn wants(&self, field: &str) -> bool {
        self.source.contains("json .") || self.template.mentions(field)
    }

    /// Renders one value as it is, without a line's end.
    pub(crate) fn render_value(&self, value: &Value) -> Result<String, Failure> {
        let mut out = String::new();
        self.template
            .execute(value, MissingKey::NoValue, Functions::Data, &mut out)
            .map_err(|e| Failure::error(format!("failed to execute template: {e}")))?;
        Ok(out)
    }

    /// Renders the rows.
    pub(crate) fn render(&self, list: List<'_>) -> Result<String, Failure> {
        let mut out = String::new();
        let failed = |e| Failure::error(format!("failed to execute template: {e}"));
        for row in list.rows {
            let value = row.into_value(list.type_name);
            self.template
                .execute(&value, MissingKey::NoValue, Functions::Data, &mut out)
                .map_err(failed)?;
            out.push('\n');
        }
        if self.shape == Shape::Lines {
            return Ok(out);
        }
        let mut table = String::new();
        self.template
            .execute(&header(list.columns), MissingKey::NoValue, Functions::Header, &mut table)
            .map_err(failed)?;
        table.push('\n');
        table.push_str(&out);
        Ok(align(&table, Layout::LIST))
    }
}

fn header(columns: &[Column]) -> Value {
    let fields = columns.iter().map(|(field, name)| ((*field).to_owned(), Value::str(name)));
    Value::Struct(Rc::new(Struct {
        type_name: "formatter.SubHeaderContext",
        fields: fields.collect(),
        omitted: Vec::new(),
        method: Method::LabelHeader,
        origin: Origin::Row,
    }))
}

impl Row {
    pub(crate) fn new(fields: Vec<(&'static str, String)>) -> Self {
        Self { fields, labels: BTreeMap::new() }
    }

    pub(crate) fn into_value(self, type_name: &'static str) -> Value {
        let mut fields: Vec<(String, Value)> = self
            .fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Value::str(value)))
            .collect();
        fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        Value::Struct(Rc::new(Struct {
            type_name,
            fields,
            omitted: Vec::new(),
            method: Method::Label(self.labels),
            origin: Origin::Row,
        }))
    }
}

/// Labels as a cell shows them.
pub(crate) fn label_cell(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

/// At most `width` characters, the last of them an ellipsis if something is cut off.
pub(crate) fn ellipsis(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// The first twelve digits of an id, without its algorithm.
pub(crate) fn short_id(id: &str) -> &str {
    let digits = id.split_once(':').map_or(id, |(_, digits)| digits);
    digits.get(..12).unwrap_or(digits)
}

/// Compares as people do: digits by their value.
pub(crate) fn natural(a: &str, b: &str) -> std::cmp::Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (left, right) = (chunk(a), chunk(b));
        if left.is_empty() || right.is_empty() {
            return left.len().cmp(&right.len());
        }
        let order = match (left.parse::<u64>(), right.parse::<u64>()) {
            (Ok(x), Ok(y)) => x.cmp(&y).then(left.len().cmp(&right.len())),
            (Ok(_) | Err(_), _) => left.cmp(right),
        };
        if order.is_ne() {
            return order;
        }
        (a, b) = (&a[left.len()..], &b[right.len()..]);
    }
}

/// Leading characters of one kind: digits, or none.
fn chunk(text: &str) -> &str {
    let digit = text.starts_with(|c: char| c.is_ascii_digit());
    &text[..text.find(|c: char| c.is_ascii_digit() != digit).unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    const COLUMNS: &[Column] = &[("ID", "CONTAINER ID"), ("Names", "NAMES"), ("Ports", "PORTS")];
    const NAMED: Named<'_> =
        Named { table: "table {{.ID}}\t{{.Names}}", raw: Some("id: {{.ID}}\\nn: {{.Names}}\n") };

    fn check(format: &str, want: Expect) {
        let row = |id: &str, name: &str, ports: &str| Row {
            fields: vec![
                ("Names", name.to_owned()),
                ("ID", id.to_owned()),
                ("Ports", ports.to_owned()),
            ],
            labels: [("a-b".to_owned(), "1".to_owned())].into(),
        };
        let rows = vec![row("0123456789ab", "web", "80->80"), row("f", "a-longer-name", "")];
        let named = Named { table: &NAMED.table["table ".len()..], ..NAMED };
        let list = List { columns: COLUMNS, type_name: "*formatter.ContainerContext", rows };
        let got = Format::parse(format, named).and_then(|format| format.render(list));
        want.assert_eq(&got.unwrap_or_else(|e| e.message.unwrap_or_default()));
    }

    #[test]
    fn tables() {
        check(
            "",
            expect![[r#"
                CONTAINER ID   NAMES
                0123456789ab   web
                f              a-longer-name
            "#]],
        );
        check(
            r#"table {{upper .Names}}\t{{.Label "x.a-b"}}\t{{.Ports}}\t{{json .ID}}"#,
            expect![[r#"
                NAMES           a b       PORTS     CONTAINER ID
                WEB                       80->80    "0123456789ab"
                A-LONGER-NAME                       "f"
            "#]],
        );
    }

    #[test]
    fn lines_json_and_raw() {
        check(
            "{{.ID}}: {{.Ports}}",
            expect![[r#"
                0123456789ab: 80->80
                f: 
            "#]],
        );
        check(
            "json",
            expect![[r#"
                {"ID":"0123456789ab","Names":"web","Ports":"80-\u003e80"}
                {"ID":"f","Names":"a-longer-name","Ports":""}
            "#]],
        );
        check(
            "raw",
            expect![[r#"
                id: 0123456789ab
                n: web

                id: f
                n: a-longer-name

            "#]],
        );
    }

    #[test]
    fn objections() {
        check(
            "{{.ID}",
            expect!["failed to parse template: template: :1: bad character U+007D '}'"],
        );
        check(
            "{{.Foo}}",
            expect![[
                r#"failed to execute template: template: :1:2: executing "" at <.Foo>: can't evaluate field Foo in type *formatter.ContainerContext"#
            ]],
        );
        check(
            "{{.Label}}",
            expect![[
                r#"failed to execute template: template: :1:2: executing "" at <.Label>: wrong number of args for Label: want 1 got 0"#
            ]],
        );
    }

    #[test]
    fn cells() {
        assert_eq!(ellipsis("/docker-entrypoint.sh nginx", 20), "/docker-entrypoint.…");
        assert_eq!(ellipsis("sh", 20), "sh");
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
        let mut names = ["v10", "v2", "a", "v2b"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["a", "v2", "v2b", "v10"]);
    }
}
