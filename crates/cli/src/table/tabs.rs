//! Elastic columns, as Go's text/tabwriter makes them: cells end with a tab; the last one of a
//! line does not, and takes no part in any column.

/// Widths and gaps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// A column is at least so wide, gap included.
    pub(crate) least: usize,
    /// Spaces between the widest cell and the next column.
    pub(crate) gap: usize,
}

impl Layout {
    /// Docker's lists.
    pub(crate) const LIST: Self = Self { least: 10, gap: 3 };
    /// `top`.
    pub(crate) const TOP: Self = Self { least: 20, gap: 3 };
}

/// Aligns `text`.
pub(crate) fn align(text: &str, layout: Layout) -> String {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut out = String::with_capacity(text.len() * 2);
    let mut writer = Writer { lines: &lines, widths: Vec::new(), layout, out: &mut out };
    writer.block(0, lines.len());
    out
}

struct Writer<'a> {
    lines: &'a [Vec<&'a str>],
    /// Of the columns to the left.
    widths: Vec<usize>,
    layout: Layout,
    out: &'a mut String,
}

impl Writer<'_> {
    /// Writes lines whose columns to the left have known widths. A column lasts as long as the
    /// lines below each other have a cell in it.
    fn block(&mut self, mut from: usize, to: usize) {
        let column = self.widths.len();
        let has_cell = |line: &Vec<&str>| column + 1 < line.len();
        let mut at = from;
        while at < to {
            if !has_cell(&self.lines[at]) {
                at += 1;
                continue;
            }
            self.write(from, at);
            from = at;
            let mut width = self.layout.least;
            while at < to && has_cell(&self.lines[at]) {
                width = width.max(cell_width(self.lines[at][column]) + self.layout.gap);
                at += 1;
            }
            self.widths.push(width);
            self.block(from, at);
            self.widths.pop();
            from = at;
        }
        self.write(from, to);
    }

    fn write(&mut self, from: usize, to: usize) {
        for line in &self.lines[from..to] {
            // The last cell has no column, and so no width.
            let columns = line.len() - 1;
            let widths = self.widths.iter().take(columns).chain(std::iter::repeat(&0));
            for (cell, width) in line.iter().zip(widths) {
                let fill = width.saturating_sub(cell_width(cell));
                self.out.push_str(cell);
                self.out.extend(std::iter::repeat_n(' ', fill));
            }
            self.out.push('\n');
        }
    }
}

/// Go counts characters, not columns of the screen.
fn cell_width(cell: &str) -> usize {
    cell.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn columns_are_as_wide_as_their_block() {
        expect![[r#"
            A              B         C
            aaaaaaaaaaaaa  b         c
            plain
            x         y
        "#]]
        .assert_eq(&align(
            "A\tB\tC\naaaaaaaaaaaaa\tb\tc\nplain\nx\ty\n",
            Layout { least: 10, gap: 2 },
        ));
    }

    #[test]
    fn empty_cells_keep_their_place() {
        let text = "ID\tPORTS\tNAMES\n1\t\tb\n2\t\t\n";
        expect![[r#"
            ID        PORTS     NAMES
            1                   b
            2                   
        "#]]
        .assert_eq(&align(text, Layout::LIST));
    }
}
