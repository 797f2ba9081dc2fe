//! PAX records: `LENGTH KEY=VALUE\n`.
//!
//! Pure. Splits a header into records and writes them; what a key means is `extended`'s matter.

/// Splits records off the front of a PAX header's data, one at a time.
pub(super) struct Records<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let record = split_record(self.0);
        match record {
            Some((key, value, rest)) => {
                self.0 = rest;
                Some(Ok((key, value)))
            }
            None => {
                self.0 = b"";
                Some(Err(Malformed))
            }
        }
    }
}

/// A record that does not parse.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

fn split_record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    // A length has at most 7 digits, since a whole header has at most 1 MiB.
    let space = data.iter().take(8).position(|&byte| byte == b' ')?;
    let len = usize::try_from(super::number::decimal(&data[..space])?).ok()?;
    if len > data.len() || len < space + 3 {
        return None;
    }
    let (record, rest) = data.split_at(len);
    let body = record[space + 1..].strip_suffix(b"\n")?;
    let equals = body.iter().position(|&byte| byte == b'=')?;
    let (key, value) = (&body[..equals], &body[equals + 1..]);
    (!key.is_empty() && !key.contains(&0)).then_some((key, value, rest))
}

/// Appends a record. Its length counts itself, so its digits are found by trying.
pub(super) fn push_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let body = key.len() + value.len() + 3;
    let mut len = body + 1;
    while len != body + len.to_string().len() {
        len = body + len.to_string().len();
    }
    out.extend_from_slice(len.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn malformed_records() {
        let cases: [&[u8]; 12] = [
            b"x path=a\n",
            b"10 path=a",
            b"8 path=a\n",
            b"11 path=a\n",
            b"10 path a\n",
            b"5 =a\n",
            b"0 a=b\n",
            b"-6 a=b\n",
            b" 6 a=b\n",
            b"99999999999999999999 a=b\n",
            b"6 a=b",
            b"7 a\0=b\n",
        ];
        for case in cases {
            let last = Records(case).last();
            assert_eq!(last, Some(Err(Malformed)), "{}", case.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn records_come_back(
            pairs in proptest::collection::vec(("[a-zA-Z.]{1,20}", any::<Vec<u8>>()), 0..8),
        ) {
            let mut data = Vec::new();
            for (key, value) in &pairs {
                push_record(&mut data, key.as_bytes(), value);
            }
            let back: Result<Vec<_>, _> = Records(&data).collect();
            let back = back.unwrap();
            let want: Vec<_> = pairs.iter().map(|(k, v)| (k.as_bytes(), v.as_slice())).collect();
            prop_assert_eq!(back, want);
        }

        #[test]
        fn any_bytes_are_answered(data in any::<Vec<u8>>()) {
            let _ = Records(&data).count();
        }
    }
}
