//! Tables for people, numbers as people write them, and words as shells read them.

#[cfg(feature = "cli")]
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, TableStyle};
#[cfg(feature = "cli")]
use std::fmt;
#[cfg(feature = "cli")]
use std::io::IsTerminal;
use std::time::Duration;

/// An aligned table with a thin line under its head and no other border.
///
/// Words stand left, numbers right. On a terminal long words are wrapped to its width; in a pipe a row
/// is always one line.
///
/// ```
/// # #[cfg(feature = "cli")] {
/// use smore::engine::table::{Table, count};
/// let mut table = Table::new().left("dataset").right("entities");
/// table.row(["umls".into(), count(135u64)]);
/// table.row(["codex-m".into(), count(17_050u64)]);
/// assert_eq!(table.to_string(), "\
/// dataset  entities
/// ─────────────────
/// umls          135
/// codex-m    17,050
/// ");
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Table {
    columns: Vec<(String, bool)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without columns.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a column of words.
    pub fn left(mut self, head: impl Into<String>) -> Self {
        self.columns.push((head.into(), false));
        self
    }

    /// Adds a column of numbers.
    pub fn right(mut self, head: impl Into<String>) -> Self {
        self.columns.push((head.into(), true));
        self
    }

    /// Adds a row with one cell per column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        // Names come from files: a control character in one must not reach the terminal.
        let plain = |cell: String| match cell.chars().any(char::is_control) {
            true => cell.escape_debug().to_string(),
            false => cell,
        };
        let cells: Vec<String> = cells.into_iter().map(plain).collect();
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

#[cfg(feature = "cli")]
impl Table {
    /// The columns in bands that are at most `width` wide, as lists of indices: the first column again before the others.
    /// Words can be wrapped, numbers cannot.
    fn bands(&self, width: usize) -> Vec<Vec<usize>> {
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|index| {
                let (head, number) = &self.columns[index];
                let cells = self.rows.iter().map(|row| row[index].chars().count());
                let most = cells.chain([head.chars().count()]).max().unwrap_or(0);
                if *number { most } else { most.min(WRAPPED) }
            })
            .collect();
        let mut bands: Vec<Vec<usize>> = vec![vec![0]];
        for index in 1..self.columns.len() {
            let band = bands.last().expect("there is always one");
            let taken: usize = band.iter().map(|&column| widths[column] + 2).sum();
            if band.len() > 1 && taken + widths[index] > width {
                bands.push(vec![0]);
            }
            bands.last_mut().expect("there is always one").push(index);
        }
        bands
    }

    /// Some of the columns.
    fn band(&self, columns: &[usize]) -> Table {
        Table {
            columns: columns.iter().map(|&column| self.columns[column].clone()).collect(),
            rows: self
                .rows
                .iter()
                .map(|row| columns.iter().map(|&column| row[column].clone()).collect())
                .collect(),
        }
    }
}

/// Columns that words can be wrapped to.
#[cfg(feature = "cli")]
const WRAPPED: usize = 16;

#[cfg(feature = "cli")]
impl fmt::Display for Table {
    /// On a terminal that is too narrow for a row, its columns follow each other in several tables.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let width = terminal_width().filter(|_| std::io::stdout().is_terminal());
        if let Some(bands) = width.map(|width| self.bands(width)).filter(|bands| bands.len() > 1) {
            for (number, band) in bands.iter().enumerate() {
                let between = if number > 0 { "\n" } else { "" };
                write!(f, "{between}{}", self.band(band))?;
            }
            return Ok(());
        }
        let mut table = comfy_table::Table::new();
        table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('─')));
        // A terminal too narrow to wrap words in, or one that does not tell its width, is left to break lines.
        let wide = table.width().is_some_and(|columns| columns >= 60);
        if !std::io::stdout().is_terminal() || !wide {
            table.force_no_tty().set_content_arrangement(ContentArrangement::Disabled);
        } else {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        }
        table.set_header(self.columns.iter().map(|(head, _)| head)).add_rows(&self.rows);
        let last = self.columns.len().saturating_sub(1);
        for (index, (column, (_, number))) in table.column_iter_mut().zip(&self.columns).enumerate() {
            column.set_padding((0, if index == last { 0 } else { 2 }));
            column.set_cell_alignment(if *number { CellAlignment::Right } else { CellAlignment::Left });
        }
        for line in table.trim_fmt().lines() {
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Columns of the terminal that standard output goes to; `None` where it goes elsewhere.
#[cfg(feature = "cli")]
pub fn terminal_width() -> Option<usize> {
    comfy_table::Table::new().width().map(usize::from)
}

/// As many parts as fit into `width` after `head`, two spaces between them, and `...` for the others.
pub fn fit(mut head: String, parts: &[String], width: usize) -> String {
    for (index, part) in parts.iter().enumerate() {
        let rest = if index + 1 < parts.len() { "  ...".len() } else { 0 };
        if head.chars().count() + 2 + part.chars().count() + rest > width {
            return head + "  ...";
        }
        head = head + "  " + part;
    }
    head
}

/// `14541` as `14,541`.
pub fn count(number: impl TryInto<u64>) -> String {
    let mut text = num_format::Buffer::new();
    text.write_formatted(&number.try_into().unwrap_or(u64::MAX), &num_format::Locale::en);
    text.to_string()
}

/// `1 thread`, `2,000 threads`.
pub fn counted(number: impl TryInto<u64>, one: &str, many: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// Bytes in the largest decimal unit of which there is one: `3.27 MB`.
pub fn bytes(number: u64) -> String {
    format!("{:.2}", bytesize::ByteSize(number).display().si())
}

/// A word as a shell takes it: as it stands where that is safe, else in quotes.
pub fn quoted(word: &str) -> String {
    let safe = |c: char| c.is_alphanumeric() || "_-./:=+@%,^".contains(c);
    match word.chars().all(safe) && !word.is_empty() {
        true => word.to_string(),
        // Queries are full of single quotes; of what is special between double ones they have nothing.
        false if word.contains('\'') && !word.contains(['"', '$', '`', '\\', '!']) => format!("\"{word}\""),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// A time as people say it: `4.2 s`, `42 s`, `2 min 05 s`, `1 h 12 min`, `3 d 4 h`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round().min(u64::MAX as f64) as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3_600 => format!("{} min {:02} s", whole / 60, whole % 60),
        3_600..86_400 => format!("{} h {:02} min", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3_600),
    }
}

#[cfg(all(test, feature = "cli"))]
mod tests {
    use super::*;

    #[test]
    fn counts_have_separators() {
        let shown = [0u64, 999, 1_000, 86_054_151].map(count);
        assert_eq!(shown, ["0", "999", "1,000", "86,054,151"]);
    }

    #[test]
    fn a_table_that_is_too_wide_is_shown_in_bands_that_fit_and_begin_with_its_first_column() {
        let mut table = Table::new().left("structure");
        for head in
            ["MRR", "H@1", "H@3", "H@10", "one link", "full inf.", "queries", "answers", "baseline MRR"]
        {
            table = table.right(head);
        }
        table.row(
            std::iter::once("link prediction".to_string()).chain((0..9).map(|i| (1000 * i).to_string())),
        );
        assert_eq!(table.bands(200), [(0..10).collect::<Vec<_>>()]);
        let bands = table.bands(60);
        assert_eq!(bands, [vec![0, 1, 2, 3, 4, 5, 6], vec![0, 7, 8, 9]]);
        for band in bands {
            let text = table.band(&band).to_string();
            assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_is_quoted_is_one_word_of_a_shell() {
        for word in
            ["runs/umls", "my run", "it's", "a\"b", "('x',('r',))", "('$x','`y`\\')", "", "*", "a\tb", "hi!'"]
        {
            let command = format!("printf %s {}", quoted(word));
            let output = std::process::Command::new("sh").arg("-c").arg(command).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
        assert_eq!(quoted("('x',('r',))"), "\"('x',('r',))\"");
        assert_eq!(quoted("runs/umls"), "runs/umls");
    }

    #[test]
    fn control_characters_are_shown_and_not_sent() {
        let mut table = Table::new().left("name");
        table.row(["\u{1b}[31mred".into()]);
        assert!(table.to_string().contains("\\u{1b}[31mred") && !table.to_string().contains('\u{1b}'));
    }

    #[test]
    fn bytes_have_two_decimals_and_a_unit() {
        let shown = [0, 999, 1_000, 9_996, 123_456, 999_499, 999_600, 45_600_000, u64::MAX].map(bytes);
        let expected = [
            "0 B",
            "999 B",
            "1.00 kB",
            "10.00 kB",
            "123.46 kB",
            "999.50 kB",
            "999.60 kB",
            "45.60 MB",
            "18.45 EB",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn durations_have_two_units_at_most() {
        let shown = [0.04, 4.24, 9.96, 59.4, 59.6, 125.0, 4_321.0, 90_000.0, 1e30]
            .map(|s| duration(Duration::try_from_secs_f64(s).unwrap_or(Duration::MAX)));
        let expected =
            ["0.0 s", "4.2 s", "10 s", "59 s", "1 min 00 s", "2 min 05 s", "1 h 12 min", "1 d 1 h"];
        assert_eq!(shown[..8], expected);
        assert!(shown[8].ends_with(" h"));
    }

    #[test]
    fn what_does_not_fit_into_a_line_is_hinted_at() {
        let parts = ["1p 15.3", "2p 17.7"].map(String::from);
        let shown = [22, 21, 14, 13, 0].map(|width| fit("MRR".into(), &parts, width));
        assert_eq!(shown[0], "MRR  1p 15.3  2p 17.7");
        assert_eq!(shown[1], shown[0]);
        assert_eq!(shown[2..], ["MRR  ...", "MRR  ...", "MRR  ..."]);
        assert_eq!(fit("MRR".into(), &parts, 20), "MRR  1p 15.3  ...");
    }

    #[test]
    fn a_table_without_rows_shows_its_head() {
        let table = Table::new().left("a").right("b");
        assert!(table.is_empty());
        assert_eq!(table.to_string(), "a  b\n────\n");
    }
}
