//! `images --tree`: each image with its names, and what it has for each platform below.

use crate::human;
use crate::table::short_id;
use docker_api::types::images::{ImageSummary, ManifestSummary};
use unicode_width::UnicodeWidthStr as _;

/// One line: what, id, disk usage, content size, extra.
type Line = [String; 5];

const TITLES: [&str; 5] = ["IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "EXTRA"];

/// The tree, with a line for each image and each of its platforms.
pub(crate) fn tree(images: &[ImageSummary]) -> String {
    let mut lines = vec![TITLES.map(str::to_owned)];
    for image in images {
        lines.extend(image_lines(image));
    }
    let width = |column: usize| lines.iter().map(|line| line[column].width()).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(width);
    lines.iter().map(|line| aligned(line, &widths)).collect()
}

/// Sizes stand to the right of their columns.
fn aligned(line: &Line, widths: &[usize; 5]) -> String {
    let cells = line.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
        let gap = " ".repeat(width - cell.width());
        if matches!(column, 2 | 3) { format!("{gap}{cell}") } else { format!("{cell}{gap}") }
    });
    let text = cells.collect::<Vec<_>>().join("   ");
    format!("{}\n", text.trim_end())
}

fn image_lines(image: &ImageSummary) -> Vec<Line> {
    let manifests: Vec<&ManifestSummary> =
        image.manifests.iter().flatten().filter(|manifest| manifest.kind == "image").collect();
    let content = manifests.iter().map(|manifest| manifest.size.content).sum();
    let total = match manifests.iter().map(|manifest| manifest.size.total).sum() {
        0 => image.size,
        total => total,
    };
    let in_use = if image.containers > 0 { "U" } else { "" };
    let mut names = image.repo_tags.iter().map(String::as_str);
    let first = names.next().unwrap_or("<untagged>");
    let line = |name: &str, id: &str, [total, content]: [i64; 2], extra: &str| -> Line {
        let id = short_id(id).to_owned();
        [name.to_owned(), id, size(total), size(content), extra.to_owned()]
    };
    let mut lines = vec![line(first, &image.id, [total, content], in_use)];
    lines.extend(names.map(|name| {
        let mut other: Line = Default::default();
        other[0] = name.to_owned();
        other
    }));
    for (at, manifest) in manifests.iter().enumerate() {
        let branch = if at + 1 == manifests.len() { "└─" } else { "├─" };
        let name = format!("{branch} {}", platform(manifest));
        let sizes = [manifest.size.total, manifest.size.content];
        lines.push(line(&name, &manifest.id, sizes, ""));
    }
    lines
}

fn size(bytes: i64) -> String {
    human::size(human::float(bytes))
}

fn platform(manifest: &ManifestSummary) -> String {
    let Some(data) = &manifest.image_data else { return "<unknown>".to_owned() };
    let platform = &data.platform;
    let parts = [&platform.os, &platform.architecture, &platform.variant];
    let given: Vec<&str> = parts.iter().map(|p| p.as_str()).filter(|p| !p.is_empty()).collect();
    given.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn platforms_are_below_their_image() {
        let text = r#"[{"Id":"sha256:0123456789abcdef","RepoTags":["nginx:latest","nginx:1"],"Size":9000000,"Containers":1,"Manifests":[
            {"ID":"sha256:aaaaaaaaaaaaaaaa","Kind":"image","Size":{"Total":12000000,"Content":3000000},"ImageData":{"Platform":{"os":"linux","architecture":"amd64"}}},
            {"ID":"sha256:bbbbbbbbbbbbbbbb","Kind":"attestation","Size":{"Total":1,"Content":1}},
            {"ID":"sha256:cccccccccccccccc","Kind":"image","Size":{"Total":500,"Content":500},"ImageData":{"Platform":{"os":"linux","architecture":"arm64","variant":"v8"}}}]},
            {"Id":"sha256:fedcba9876543210","Size":1980000}]"#;
        let images: Vec<ImageSummary> = docker_api::json::parse_reply(text.as_bytes()).unwrap();
        expect![[r#"
            IMAGE               ID             DISK USAGE   CONTENT SIZE   EXTRA
            nginx:latest        0123456789ab         12MB            3MB   U
            nginx:1
            ├─ linux/amd64      aaaaaaaaaaaa         12MB            3MB
            └─ linux/arm64/v8   cccccccccccc         500B           500B
            <untagged>          fedcba987654       1.98MB             0B
        "#]]
        .assert_eq(&tree(&images));
    }
}
