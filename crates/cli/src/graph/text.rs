//! A graph in lines.

use super::{Door, Graph, Group, Member};

/// Draws it.
pub(crate) fn text(graph: &Graph) -> String {
    if graph.groups.is_empty() {
        return "no networks\n".to_owned();
    }
    let groups: Vec<String> = graph.groups.iter().map(group).collect();
    groups.join("\n")
}

fn group(group: &Group) -> String {
    let mut words = vec![group.out.words()];
    if group.members.len() > 1 {
        words.push(group.between.words());
    }
    let place = match group.place.join(", ") {
        place if place.is_empty() => place,
        place => format!(" ({place})"),
    };
    let mut lines = format!("{}{place}: {}\n", group.name, words.join(", "));
    for (number, one) in group.members.iter().enumerate() {
        let is_last = number + 1 == group.members.len();
        lines.push_str(&member(one, is_last));
    }
    if group.members.is_empty() {
        lines.push_str("└─ nobody\n");
    }
    lines
}

fn member(member: &Member, is_last: bool) -> String {
    let (branch, below) = if is_last { ("└─", "  ") } else { ("├─", "│ ") };
    let mut line = format!("{branch} {}", member.name);
    if !member.addresses.is_empty() {
        line.push_str(&format!("  {}", member.addresses.join(", ")));
    }
    if !member.shared_with.is_empty() {
        line.push_str(&format!("  shared with {}", member.shared_with.join(", ")));
    }
    line.push('\n');
    for Door { at, to, who } in &member.doors {
        line.push_str(&format!("{below}   ◀─ {at} leads to {to}, for {who}\n"));
    }
    line
}
