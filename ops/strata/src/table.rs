//! Rows for people: columns as wide as they must be.

/// How a column is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table under construction.
pub struct Table {
    head: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Starts with the names of the columns.
    pub fn new(head: &[(&'static str, Align)]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; line breaks within a cell become spaces.
    pub fn push(&mut self, row: impl IntoIterator<Item = String>) {
        self.rows.push(row.into_iter().map(|cell| cell.replace(['\n', '\r', '\t'], " ")).collect());
    }

    /// The lines, head first.
    pub fn lines(&self) -> Vec<String> {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([self.head[column].0.chars().count()]).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let line = |cells: Vec<&str>| {
            let cells = cells.iter().zip(&widths).zip(&self.head).map(|((cell, width), (_, align))| {
                let gap = " ".repeat(width.saturating_sub(cell.chars().count()));
                if *align == Align::Right { format!("{gap}{cell}") } else { format!("{cell}{gap}") }
            });
            format!("  {}", cells.collect::<Vec<_>>().join("  ")).trim_end().to_owned()
        };
        let head = line(self.head.iter().map(|(name, _)| *name).collect());
        let rows = self.rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
        std::iter::once(head).chain(rows).collect()
    }

    /// Prints the lines.
    pub fn print(&self) {
        for line in self.lines() {
            println!("{line}");
        }
    }
}

/// The beginning of a text that is too long for a cell.
pub fn shortened(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    let head: String = text.chars().take(chars.saturating_sub(1)).collect();
    format!("{head}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&[("name", Align::Left), ("n", Align::Right)]);
        table.push(["Суп".to_owned(), "1".to_owned()]);
        table.push(["a\nb c".to_owned(), "1 000".to_owned()]);
        assert_eq!(table.lines(), ["  name       n", "  Суп        1", "  a b c  1 000"]);
    }

    #[test]
    fn long_text_is_cut_by_characters() {
        assert_eq!(shortened("борщ и хлеб", 6), "борщ …");
        assert_eq!(shortened("борщ", 4), "борщ");
    }
}
