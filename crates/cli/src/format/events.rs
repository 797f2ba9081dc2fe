//! `events`: one line for each.

use super::Clock;
use crate::template::{Elem, Functions, Map, Method, MissingKey, Origin, Struct, Template, Value};
use docker_api::types::system::Event;
use jiff::Timestamp;
use std::rc::Rc;

/// How events are shown.
pub(crate) enum Style {
    /// `TIME TYPE ACTION ID (key=value, …)`
    Line,
    /// As the server told it.
    Json,
    /// The user's.
    Template(Template),
}

impl Style {
    /// Reads `--format`.
    ///
    /// # Errors
    /// The text is no template.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "" => Ok(Self::Line),
            "json" | "{{json .}}" => Ok(Self::Json),
            text => {
                let template = Template::parse(text).map_err(|e| e.to_string())?;
                // As in Docker, one that does not fit is told of before anything happens.
                execute(&template, &Event::default())?;
                Ok(Self::Template(template))
            }
        }
    }

    /// The line for one event, without its end.
    ///
    /// # Errors
    /// The template does not fit.
    pub(crate) fn render(&self, event: &Event, clock: &Clock) -> Result<String, String> {
        match self {
            Self::Line => Ok(line(event, clock)),
            // Our own wire types have string keys only, so this cannot fail.
            Self::Json => Ok(serde_json::to_string(event).unwrap_or_default()),
            Self::Template(template) => execute(template, event),
        }
    }
}

fn execute(template: &Template, event: &Event) -> Result<String, String> {
    let mut out = String::new();
    template
        .execute(&value(event), MissingKey::NoValue, Functions::Data, &mut out)
        .map_err(|e| e.to_string())?;
    Ok(out)
}

fn line(event: &Event, clock: &Clock) -> String {
    let attributes: Vec<String> =
        event.actor.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let tail =
        if attributes.is_empty() { String::new() } else { format!(" ({})", attributes.join(", ")) };
    let time = time(event, clock);
    format!("{time} {} {} {}{tail}", event.kind, event.action, event.actor.id)
}

/// RFC 3339 with all nine digits, in the zone of whoever looks.
fn time(event: &Event, clock: &Clock) -> String {
    let moment = if event.time_nano == 0 {
        Timestamp::from_second(event.time)
    } else {
        Timestamp::from_nanosecond(event.time_nano.into())
    };
    let Ok(moment) = moment else { return event.time_nano.to_string() };
    let zoned = moment.to_zoned(clock.zone.clone());
    let zone = match zoned.strftime("%:z").to_string() {
        utc if utc == "+00:00" => "Z".to_owned(),
        offset => offset,
    };
    format!("{}{zone}", zoned.strftime("%Y-%m-%dT%H:%M:%S.%9f"))
}

/// Docker's structure `events.Message`, by its Go names.
fn value(event: &Event) -> Value {
    let entries = event.actor.attributes.iter().map(|(key, text)| (key.clone(), Value::str(text)));
    let attributes = Value::Map(Rc::new(Map { entries: entries.collect(), elem: Elem::Str }));
    let actor = structure(
        "events.Actor",
        vec![("ID", Value::str(&event.actor.id)), ("Attributes", attributes)],
    );
    structure(
        "*events.Message",
        vec![
            ("Status", Value::str(&event.status)),
            ("ID", Value::str(&event.id)),
            ("From", Value::str(&event.from)),
            ("Type", Value::str(&event.kind)),
            ("Action", Value::str(&event.action)),
            ("Actor", actor),
            ("Scope", Value::str(&event.scope)),
            ("Time", Value::Int(event.time)),
            ("TimeNano", Value::Int(event.time_nano)),
        ],
    )
}

fn structure(type_name: &'static str, fields: Vec<(&str, Value)>) -> Value {
    Value::Struct(Rc::new(Struct {
        type_name,
        fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        omitted: Vec::new(),
        method: Method::None,
        origin: Origin::Server,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tests::clock;
    use expect_test::{Expect, expect};

    fn check(format: &str, want: Expect) {
        let text = r#"{"status":"start","id":"0123","from":"busybox","Type":"container","Action":"start","Actor":{"ID":"0123","Attributes":{"name":"web","image":"busybox"}},"scope":"local","time":1795295870,"timeNano":1795295870000000120}"#;
        let event: Event = serde_json::from_str(text).unwrap();
        let style = Style::parse(format).unwrap_or_else(|e| panic!("{e}"));
        want.assert_eq(&style.render(&event, &clock()).unwrap_or_else(|e| e));
    }

    #[test]
    fn an_event_is_a_line() {
        check(
            "",
            expect![
                "2026-11-21T21:17:50.000000120Z container start 0123 (image=busybox, name=web)"
            ],
        );
        check(
            "{{.Type}} {{.Actor.Attributes.name}} {{.TimeNano}} {{json .Actor}}",
            expect![[
                r#"container web 1795295870000000120 {"ID":"0123","Attributes":{"image":"busybox","name":"web"}}"#
            ]],
        );
        check(
            "json",
            expect![[
                r#"{"status":"start","id":"0123","from":"busybox","Type":"container","Action":"start","Actor":{"ID":"0123","Attributes":{"image":"busybox","name":"web"}},"scope":"local","time":1795295870,"timeNano":1795295870000000120}"#
            ]],
        );
        assert!(Style::parse("{{").is_err());
        let wrong = Style::parse("{{.Foo}}").err().unwrap();
        assert!(wrong.ends_with("can't evaluate field Foo in type *events.Message"), "{wrong}");
    }
}
