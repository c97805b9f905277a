//! Text and numbers as pickles write them.

use super::Step;

pub(super) fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

pub(super) fn place(text: &str) -> Step<u64> {
    text.parse().map_err(|_| format!("{:?} is no number of a memo", shortened(text)))
}

/// Latin-1 with `\uXXXX` and `\UXXXXXXXX`: how protocol 0 writes texts.
pub(super) fn unescape_unicode(bytes: &[u8]) -> Step<String> {
    let text: String = bytes.iter().copied().map(char::from).collect();
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(start) = rest.find('\\') {
        plain += &rest[..start];
        let width = match rest.as_bytes().get(start + 1) {
            Some(b'u') => 4,
            Some(b'U') => 8,
            _ => 0,
        };
        let code = rest.get(start + 2..start + 2 + width).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        match (width, code) {
            (0, _) => plain.push('\\'),
            (_, code) => plain.push(code.and_then(char::from_u32).ok_or("an escape is no character")?),
        }
        rest = &rest[start + if width == 0 { 1 } else { 2 + width }..];
    }
    Ok(plain + rest)
}

/// The bytes of a quoted `str` of Python 2.
pub(super) fn unquote(text: &str) -> Step<Vec<u8>> {
    let quoted = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    let inner = quoted('\'').or_else(|| quoted('"')).ok_or("a text has no quotes")?;
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner.as_bytes().iter().copied();
    while let Some(byte) = rest.next() {
        bytes.push(match (byte, if byte == b'\\' { rest.next() } else { None }) {
            (b'\\', Some(b'n')) => b'\n',
            (b'\\', Some(b'r')) => b'\r',
            (b'\\', Some(b't')) => b'\t',
            (b'\\', Some(quote @ (b'\\' | b'\'' | b'"'))) => quote,
            (b'\\', Some(b'x')) => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (Some(high), Some(low)) = (digit(), digit()) else {
                    return Err("an escape is no byte".into());
                };
                (high << 4 | low) as u8
            }
            (b'\\', _) => return Err("an unknown escape".into()),
            (byte, _) => byte,
        });
    }
    Ok(bytes)
}
