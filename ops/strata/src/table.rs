//! Rows for people: columns as wide as they must be, those of numbers set to the right.

use std::array;

/// A table: its head, then its rows.
pub struct Table<const N: usize>(Vec<[String; N]>);

impl<const N: usize> Table<N> {
    /// Takes the names of the columns and the rows; line breaks within a cell become spaces.
    pub fn of(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> Self {
        let rows = rows.into_iter().map(|row| row.map(|cell| cell.replace(['\n', '\r', '\t'], " ")));
        Self([head.map(str::to_owned)].into_iter().chain(rows).collect())
    }

    /// The lines, head first.
    pub fn lines(&self) -> Vec<String> {
        let columns: [(usize, bool); N] = array::from_fn(|column| {
            let cells = || self.0.iter().map(|row| &row[column]);
            let width = cells().map(|cell| cell.chars().count()).max().unwrap_or_default();
            (width, cells().skip(1).all(|cell| is_number(cell)))
        });
        let line = |row: &[String; N]| {
            let cells = row.iter().zip(columns).map(|(cell, (width, is_right))| {
                if is_right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            format!("  {}", cells.collect::<Vec<_>>().join("  ")).trim_end().to_owned()
        };
        self.0.iter().map(line).collect()
    }

    /// Prints the lines.
    pub fn print(&self) {
        for line in self.lines() {
            println!("{line}");
        }
    }
}

/// Whether a cell holds a number as it is shown here, or that it is not known.
fn is_number(cell: &str) -> bool {
    !cell.is_empty() && cell.chars().all(|c| c.is_ascii_digit() || " .-?".contains(c))
}

/// A number with its thousands set apart.
pub fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A number that may not be known.
pub fn number(number: Option<i64>) -> String {
    number.map_or_else(|| "?".to_owned(), grouped)
}

/// Seconds that may not be known.
pub fn seconds(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "?".to_owned(), |seconds| format!("{seconds:.1}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_numbers_stand_to_the_right() {
        let rows = [["Суп", "1", ""], ["a\nb c", "1 000", "why"]];
        let table = Table::of(["name", "n", "note"], rows.map(|row| row.map(str::to_owned)));
        assert_eq!(table.lines(), ["  name       n  note", "  Суп        1", "  a b c  1 000  why"]);
    }

    #[test]
    fn thousands_are_set_apart_and_what_is_not_known_is_a_question_mark() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1 000"), (-1_234_567, "-1 234 567")] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!((number(None), seconds(None)), ("?".to_owned(), "?".to_owned()));
        assert_eq!((number(Some(1_000)), seconds(Some(2.04))), ("1 000".to_owned(), "2.0".to_owned()));
    }
}
