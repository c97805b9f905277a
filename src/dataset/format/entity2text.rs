//! Labels as `name<TAB>text`, one a line (KG-BERT's `entity2text.txt` and `relation2text.txt`).

use super::lines::{BadLines, Block, lines};
use crate::error::Result;

/// Calls `take(name, text)` for each line; the text goes on to the line's end.
pub fn read(block: Block, bad: &mut BadLines, mut take: impl FnMut(&str, &str)) -> Result<()> {
    for (number, line) in lines(block) {
        let Some(line) = bad.text(number, line)? else { continue };
        match line.split_once('\t') {
            Some((name, text)) => take(name, text),
            None => bad.report(number, "expected a name, a tab and a text, found no tab")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_text_goes_on_to_the_end_of_the_line() {
        let mut bad = BadLines::new(Path::new("entity2text.txt"), false);
        let mut found = Vec::new();
        read(b"/m/1\tA b\tc\n/m/2\tD"[..].into(), &mut bad, |n, t| found.push(format!("{n}={t}"))).unwrap();
        assert_eq!(found, ["/m/1=A b\tc", "/m/2=D"]);
        let error = read(b"a\tb\nc\n"[..].into(), &mut bad, |_, _| ()).unwrap_err().to_string();
        assert!(
            error.starts_with("entity2text.txt:2: expected a name, a tab and a text, found no tab"),
            "{error}"
        );
    }
}
