//! One line of comma-separated fields, quoted where they hold commas.

/// Splits a line; the error is Go's.
pub(crate) fn fields(line: &str) -> Result<Vec<String>, String> {
    if line.is_empty() {
        return Err("EOF".to_owned());
    }
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let column = line.len() - rest.len() + 1;
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted, line)?,
            None => plain_field(rest, column)?,
        };
        fields.push(field);
        match after {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
}

/// A field, and what follows the comma behind it.
type Field<'a> = (String, Option<&'a str>);

fn plain_field(text: &str, column: usize) -> Result<Field<'_>, String> {
    let (field, after) = match text.split_once(',') {
        Some((field, after)) => (field, Some(after)),
        None => (text, None),
    };
    match field.find('"') {
        Some(at) => Err(format!(
            "parse error on line 1, column {}: bare \" in non-quoted-field",
            column + at
        )),
        None => Ok((field.to_owned(), after)),
    }
}

fn quoted_field<'a>(mut text: &'a str, line: &str) -> Result<Field<'a>, String> {
    let mut field = String::new();
    let open = || {
        let column = line.len() + 1;
        Err(format!(
            "parse error on line 1, column {column}: extraneous or missing \" in quoted-field"
        ))
    };
    loop {
        let Some((piece, after)) = text.split_once('"') else { return open() };
        field.push_str(piece);
        match after.chars().next() {
            None => return Ok((field, None)),
            Some(',') => return Ok((field, Some(&after[1..]))),
            Some('"') => {
                field.push('"');
                text = &after[1..];
            }
            Some(_) => return open(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_quotes() {
        for (line, want) in [
            ("a=1,b=2", &["a=1", "b=2"][..]),
            ("\"a=1,2\",b", &["a=1,2", "b"]),
            ("\"a\"\"b\",", &["a\"b", ""]),
        ] {
            assert_eq!(fields(line).unwrap(), want, "{line}");
        }
        assert_eq!(fields(""), Err("EOF".to_owned()));
        assert_eq!(
            fields("src=\"/a"),
            Err("parse error on line 1, column 5: bare \" in non-quoted-field".to_owned())
        );
    }
}
