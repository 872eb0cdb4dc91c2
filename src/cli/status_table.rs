//! Columns for people.

use std::fmt;

/// Rows under a heading, columns as wide as their widest cell. Numbers, which begin with a digit, stand at the right.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    /// Rows beyond the bound are counted, not shown.
    rows_max: usize,
    left_out: usize,
}

impl Table {
    pub(super) fn new(heading: &[&str], rows_max: usize) -> Self {
        Self { rows: vec![heading.iter().map(|&cell| cell.to_owned()).collect()], rows_max, left_out: 0 }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.rows[0].len(), "a cell for each column");
        if self.rows.len() > self.rows_max { self.left_out += 1 } else { self.rows.push(cells) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_number = |cell: &String| cell.starts_with(|letter: char| letter.is_ascii_digit()) || cell == "-";
        for (line, row) in self.rows.iter().enumerate() {
            let mut text = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
                // Identities may begin with a digit too, so only a column without letters is one of numbers.
                let numbers = self.rows[1..].iter().all(|row| is_number(&row[column])) && column > 1;
                let gap = if column == 0 { "" } else { "  " };
                match numbers {
                    true => text.push_str(&format!("{gap}{cell:>width$}")),
                    false => text.push_str(&format!("{gap}{cell:<width$}")),
                }
            }
            let end = if line + 1 < self.rows.len() || self.left_out > 0 { "\n" } else { "" };
            write!(f, "{}{end}", text.trim_end())?;
        }
        if self.left_out > 0 {
            write!(f, "and {} more; --json has all", self.left_out)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_long_tables_end() {
        let mut table = Table::new(&["NODE", "STATE", "TAIL"], 2);
        for (node, tail) in [("0a", "7"), ("0b22", "12345"), ("0c", "1"), ("0d", "2")] {
            table.row(vec![node.to_owned(), "open".to_owned(), tail.to_owned()]);
        }
        let expected = "NODE  STATE   TAIL\n0a    open       7\n0b22  open   12345\nand 2 more; --json has all";
        assert_eq!(table.to_string(), expected);
    }
}
