//! `images`.

use super::Clock;
use super::containers::Cut;
use crate::human;
use crate::table::{Column, Format, List, Named, Row, short_id};
use docker_api::types::images::ImageSummary;
use model::Reference;

const RAW: &str = "repository: {{.Repository}}\n{{- if .Tag}}\ntag: {{.Tag}}{{end}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n";

/// The formats with a name.
pub(crate) const NAMED: Named<'static> = Named {
    table: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}",
    raw: Some(RAW),
};
/// The same with digests.
pub(crate) const NAMED_DIGESTS: Named<'static> = Named {
    table: "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}",
    raw: Some(RAW),
};

const COLUMNS: &[Column] = &[
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("VirtualSize", "SIZE"),
];

const NONE: &str = "<none>";

/// Whether every digest of an image has a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Digests {
    Hidden,
    Shown,
}

/// The list for these images: a row for each name.
pub(crate) fn list(
    images: &[ImageSummary],
    (cut, digests): (Cut, Digests),
    format: &Format,
    clock: &Clock,
) -> List<'static> {
    let digests = if format.wants("Digest") && digests == Digests::Hidden && !wants_all(format) {
        Digests::Shown
    } else {
        digests
    };
    let rows = images
        .iter()
        .flat_map(|image| {
            names(image, digests).into_iter().map(|name| row(image, name, cut, (format, clock)))
        })
        .collect();
    List { columns: COLUMNS, type_name: "*formatter.imageContext", rows }
}

/// The list with one row for each image, under its first tag.
pub(crate) fn one_each(
    images: &[ImageSummary],
    cut: Cut,
    format: &Format,
    clock: &Clock,
) -> List<'static> {
    let one = |image: &ImageSummary| {
        let first = image.repo_tags.first().and_then(|tag| tag.parse::<Reference>().ok());
        let name = match &first {
            Some(reference) => Name {
                repository: reference.familiar_name(),
                tag: reference.tag().unwrap_or(NONE).to_owned(),
                digest: String::new(),
            },
            None => Name { repository: NONE.into(), tag: NONE.into(), digest: String::new() },
        };
        row(image, name, cut, (format, clock))
    };
    let rows = images.iter().map(one).collect();
    List { columns: COLUMNS, type_name: "*formatter.imageContext", rows }
}

/// `json` alone is no wish for digests.
fn wants_all(format: &Format) -> bool {
    format.wants("Nothing")
}

/// What a row is about.
struct Name {
    repository: String,
    tag: String,
    digest: String,
}

fn names(image: &ImageSummary, digests: Digests) -> Vec<Name> {
    let parse = |list: &[String]| -> Vec<Reference> {
        list.iter().filter_map(|text| text.parse().ok()).collect()
    };
    let tagged = parse(&image.repo_tags);
    let digested = parse(&image.repo_digests);
    let name = |repository: &Reference, tag: Option<&str>, digest: Option<String>| Name {
        repository: repository.familiar_name(),
        tag: tag.unwrap_or(NONE).to_owned(),
        digest: digest.unwrap_or_else(|| NONE.to_owned()),
    };
    let of = |reference: &Reference| reference.digest().map(ToString::to_string);
    let mut names = Vec::new();
    for reference in &tagged {
        let own: Vec<_> =
            digested.iter().filter(|digested| digested.name() == reference.name()).collect();
        if own.is_empty() || digests == Digests::Hidden {
            names.push(name(reference, reference.tag(), None));
            continue;
        }
        names.extend(own.into_iter().map(|digest| name(reference, reference.tag(), of(digest))));
    }
    let mut seen = Vec::new();
    for reference in &digested {
        let repository = reference.name();
        if tagged.iter().any(|tagged| tagged.name() == repository)
            || (digests == Digests::Hidden && seen.contains(&repository))
        {
            continue;
        }
        seen.push(repository);
        let digest = if digests == Digests::Shown { of(reference) } else { None };
        names.push(name(reference, None, digest));
    }
    if names.is_empty() {
        let none = || NONE.to_owned();
        names.push(Name { repository: none(), tag: none(), digest: none() });
    }
    names
}

fn row(image: &ImageSummary, name: Name, cut: Cut, (format, clock): (&Format, &Clock)) -> Row {
    let id = if cut == Cut::Short { short_id(&image.id) } else { &image.id };
    let known = |value: i64| value != -1;
    let or_unknown = |known: bool, text: String| if known { text } else { "N/A".to_owned() };
    let size = |bytes: i64| human::size(human::float(bytes));
    let counted = |bytes: i64| human::progress_size(human::float(bytes));
    let created = if format.wants("CreatedAt") { clock.date(image.created) } else { String::new() };
    Row::new(vec![
        ("ID", id.to_owned()),
        ("Repository", name.repository),
        ("Tag", name.tag),
        ("Digest", name.digest),
        ("CreatedSince", clock.ago(image.created)),
        ("CreatedAt", created),
        ("Size", size(image.size)),
        ("Containers", or_unknown(known(image.containers), image.containers.to_string())),
        ("SharedSize", or_unknown(known(image.shared_size), counted(image.shared_size))),
        (
            "UniqueSize",
            or_unknown(known(image.shared_size), counted(image.size - image.shared_size)),
        ),
        ("VirtualSize", counted(image.size)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn images() -> Vec<ImageSummary> {
        let created = super::super::tests::clock().now.as_second() - 86400 * 20;
        let text = format!(
            r#"[{{"Containers":-1,"Created":{created},"Id":"sha256:0123456789abcdef","RepoDigests":["nginx@sha256:{one}","q/z@sha256:{one}"],"RepoTags":["nginx:latest","nginx:1","reg.io:5000/a/b:x"],"SharedSize":-1,"Size":77812345}},{{"Containers":2,"Created":{created},"Id":"sha256:fedcba9876543210","RepoDigests":[],"RepoTags":[],"SharedSize":100,"Size":1980000}}]"#,
            one = "1".repeat(64)
        );
        docker_api::json::parse_reply(text.as_bytes()).unwrap()
    }

    fn check(format: &str, cut: Cut, digests: Digests, want: Expect) {
        let named = if digests == Digests::Shown { NAMED_DIGESTS } else { NAMED };
        let Ok(format) = Format::parse(format, named) else { panic!("{format}") };
        let list = list(&images(), (cut, digests), &format, &super::super::tests::clock());
        want.assert_eq(&format.render(list).unwrap_or_else(|e| e.message.unwrap_or_default()));
    }

    #[test]
    fn a_row_for_each_name() {
        check(
            "",
            Cut::Short,
            Digests::Hidden,
            expect![[r#"
            REPOSITORY        TAG       IMAGE ID       CREATED       SIZE
            nginx             latest    0123456789ab   2 weeks ago   77.8MB
            nginx             1         0123456789ab   2 weeks ago   77.8MB
            reg.io:5000/a/b   x         0123456789ab   2 weeks ago   77.8MB
            q/z               <none>    0123456789ab   2 weeks ago   77.8MB
            <none>            <none>    fedcba987654   2 weeks ago   1.98MB
        "#]],
        );
        check(
            "",
            Cut::Whole,
            Digests::Shown,
            expect![[r#"
            REPOSITORY        TAG       DIGEST                                                                    IMAGE ID                  CREATED       SIZE
            nginx             latest    sha256:1111111111111111111111111111111111111111111111111111111111111111   sha256:0123456789abcdef   2 weeks ago   77.8MB
            nginx             1         sha256:1111111111111111111111111111111111111111111111111111111111111111   sha256:0123456789abcdef   2 weeks ago   77.8MB
            reg.io:5000/a/b   x         <none>                                                                    sha256:0123456789abcdef   2 weeks ago   77.8MB
            q/z               <none>    sha256:1111111111111111111111111111111111111111111111111111111111111111   sha256:0123456789abcdef   2 weeks ago   77.8MB
            <none>            <none>    <none>                                                                    sha256:fedcba9876543210   2 weeks ago   1.98MB
        "#]],
        );
    }

    #[test]
    fn fields_and_json() {
        check(
            "{{.Digest}} {{.Containers}} {{.SharedSize}} {{.UniqueSize}} {{.CreatedAt}}",
            Cut::Short,
            Digests::Hidden,
            expect![[r#"
                sha256:1111111111111111111111111111111111111111111111111111111111111111 N/A N/A N/A 2025-12-12 10:30:00 +0000 UTC
                sha256:1111111111111111111111111111111111111111111111111111111111111111 N/A N/A N/A 2025-12-12 10:30:00 +0000 UTC
                <none> N/A N/A N/A 2025-12-12 10:30:00 +0000 UTC
                sha256:1111111111111111111111111111111111111111111111111111111111111111 N/A N/A N/A 2025-12-12 10:30:00 +0000 UTC
                <none> 2 100B 1.98MB 2025-12-12 10:30:00 +0000 UTC
            "#]],
        );
        check(
            "json",
            Cut::Short,
            Digests::Hidden,
            expect![[r#"
            {"Containers":"N/A","CreatedAt":"2025-12-12 10:30:00 +0000 UTC","CreatedSince":"2 weeks ago","Digest":"\u003cnone\u003e","ID":"0123456789ab","Repository":"nginx","SharedSize":"N/A","Size":"77.8MB","Tag":"latest","UniqueSize":"N/A","VirtualSize":"77.81MB"}
            {"Containers":"N/A","CreatedAt":"2025-12-12 10:30:00 +0000 UTC","CreatedSince":"2 weeks ago","Digest":"\u003cnone\u003e","ID":"0123456789ab","Repository":"nginx","SharedSize":"N/A","Size":"77.8MB","Tag":"1","UniqueSize":"N/A","VirtualSize":"77.81MB"}
            {"Containers":"N/A","CreatedAt":"2025-12-12 10:30:00 +0000 UTC","CreatedSince":"2 weeks ago","Digest":"\u003cnone\u003e","ID":"0123456789ab","Repository":"reg.io:5000/a/b","SharedSize":"N/A","Size":"77.8MB","Tag":"x","UniqueSize":"N/A","VirtualSize":"77.81MB"}
            {"Containers":"N/A","CreatedAt":"2025-12-12 10:30:00 +0000 UTC","CreatedSince":"2 weeks ago","Digest":"\u003cnone\u003e","ID":"0123456789ab","Repository":"q/z","SharedSize":"N/A","Size":"77.8MB","Tag":"\u003cnone\u003e","UniqueSize":"N/A","VirtualSize":"77.81MB"}
            {"Containers":"2","CreatedAt":"2025-12-12 10:30:00 +0000 UTC","CreatedSince":"2 weeks ago","Digest":"\u003cnone\u003e","ID":"fedcba987654","Repository":"\u003cnone\u003e","SharedSize":"100B","Size":"1.98MB","Tag":"\u003cnone\u003e","UniqueSize":"1.98MB","VirtualSize":"1.98MB"}
        "#]],
        );
        check(
            "raw",
            Cut::Short,
            Digests::Hidden,
            expect![[r#"
            repository: nginx
            tag: latest
            image_id: 0123456789ab
            created_at: 2025-12-12 10:30:00 +0000 UTC
            virtual_size: 77.8MB

            repository: nginx
            tag: 1
            image_id: 0123456789ab
            created_at: 2025-12-12 10:30:00 +0000 UTC
            virtual_size: 77.8MB

            repository: reg.io:5000/a/b
            tag: x
            image_id: 0123456789ab
            created_at: 2025-12-12 10:30:00 +0000 UTC
            virtual_size: 77.8MB

            repository: q/z
            tag: <none>
            image_id: 0123456789ab
            created_at: 2025-12-12 10:30:00 +0000 UTC
            virtual_size: 77.8MB

            repository: <none>
            tag: <none>
            image_id: fedcba987654
            created_at: 2025-12-12 10:30:00 +0000 UTC
            virtual_size: 1.98MB

        "#]],
        );
    }
}
