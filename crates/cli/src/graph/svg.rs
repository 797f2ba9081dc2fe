//! A graph as an image: the outside at the left, a box for each network with its containers in it, and arrows for
//! published ports and for what leads out.

use std::fmt::Write as _;

use super::{Graph, Group, Member, Out};

/// Lengths in pixels.
const LINE: usize = 22;
const PAD: usize = 12;
const LEFT: usize = 360;
const BAR: usize = 90;
/// The width of most letters of the font, with some room.
const LETTER: usize = 8;

const STYLE: &str = "text{font:13px sans-serif;fill:#222}.network{fill:#eef4fb;stroke:#4a7ab0}\
.closed{stroke-dasharray:5 4}.container{fill:#fff;stroke:#888}.outside{fill:#f4f4f4;stroke:#888}\
.in,.out{fill:none;stroke:#4a7ab0;marker-end:url(#to)}.out{stroke:#888}.near{stroke-dasharray:3 3}";

/// Draws it.
pub(crate) fn svg(graph: &Graph) -> String {
    let inner = graph.groups.iter().map(width).max().unwrap_or(200);
    let (width, height) = (LEFT + inner + 2 * PAD, total_height(graph));
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n\
         <style>{STYLE}</style>\n\
         <defs><marker id=\"to\" markerWidth=\"8\" markerHeight=\"8\" refX=\"7\" refY=\"4\" orient=\"auto\"><path d=\"M0,0 L8,4 L0,8 z\"></path></marker></defs>\n"
    );
    rect(&mut out, "outside", [PAD, PAD, BAR, height - 2 * PAD]);
    label(&mut out, [PAD + 14, PAD + LINE], "outside");
    let mut top = PAD;
    for group in &graph.groups {
        draw(&mut out, group, top, inner);
        top += group_height(group) + PAD;
    }
    out.push_str("</svg>\n");
    out
}

fn draw(out: &mut String, group: &Group, top: usize, width: usize) {
    let class = if group.out == Out::Nothing { "network closed" } else { "network" };
    rect(out, class, [LEFT, top, width, group_height(group)]);
    label(out, [LEFT + PAD, top + LINE - 4], &heading(group));
    if group.out != Out::Nothing {
        arrow(out, "out", (LEFT, PAD + BAR), top + LINE / 2);
    }
    let mut at = top + LINE + 4;
    for member in &group.members {
        rect(out, "container", [LEFT + PAD, at, width - 2 * PAD, member_height(member) - 4]);
        label(out, [LEFT + 2 * PAD, at + LINE - 6], &title(member));
        for (number, door) in member.doors.iter().enumerate() {
            let line = at + number * LINE + LINE / 2 - 2;
            // What is for this host alone does not come from outside.
            let (class, from) =
                if door.is_near() { ("in near", LEFT - BAR) } else { ("in", PAD + BAR) };
            arrow(out, class, (from, LEFT + PAD), line);
            let text = format!("{} → {} ({})", door.at, door.to, door.who);
            label(out, [PAD + BAR + 8, line - 3], &text);
        }
        at += member_height(member);
    }
}

fn heading(group: &Group) -> String {
    let mut words = vec![group.out.words()];
    if group.members.len() > 1 {
        words.push(group.between.words());
    }
    format!("{} {} · {}", group.name, group.place.join(" "), words.join(", "))
}

fn title(member: &Member) -> String {
    let mut title = format!("{} {}", member.name, member.addresses.join(" "));
    if !member.shared_with.is_empty() {
        title.push_str(&format!(" (shared with {})", member.shared_with.join(", ")));
    }
    title
}

fn width(group: &Group) -> usize {
    let titles = group.members.iter().map(title).chain([heading(group)]);
    titles.map(|text| text.chars().count() * LETTER + 4 * PAD).max().unwrap_or_default()
}

fn member_height(member: &Member) -> usize {
    member.doors.len().max(1) * LINE + 4
}

fn group_height(group: &Group) -> usize {
    LINE + PAD + group.members.iter().map(member_height).sum::<usize>()
}

fn total_height(graph: &Graph) -> usize {
    let groups: usize = graph.groups.iter().map(|group| group_height(group) + PAD).sum();
    groups.max(2 * LINE) + PAD
}

fn rect(out: &mut String, class: &str, [x, y, width, height]: [usize; 4]) {
    // Writing to a string does not fail.
    let _ = writeln!(
        out,
        "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"4\"/>"
    );
}

fn label(out: &mut String, [x, y]: [usize; 2], text: &str) {
    let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\">{}</text>", escaped(text));
}

fn arrow(out: &mut String, class: &str, (from, to): (usize, usize), y: usize) {
    let _ = writeln!(out, "<path class=\"{class}\" d=\"M{from},{y} L{to},{y}\"/>");
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            // XML has none of these, not even escaped.
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
