//! What is the same in two error messages: numbers, ids and quoted values give way to marks.

/// The longest message that tells two groups apart; services quote whole requests in some.
const MAX_MESSAGE: usize = 300;
/// What stands for a quoted value.
const QUOTED: &str = "'…'";
/// What stands for an id.
const ID: &str = "<id>";
/// What stands for a number.
const NUMBER: &str = "#";

/// A message without what differs from record to record. Names in backticks stay: they say which attribute it was.
pub(crate) fn normalised(message: &str) -> String {
    let mut normal = String::with_capacity(message.len().min(MAX_MESSAGE));
    let mut rest = message;
    let mut before = None;
    while let Some(first) = rest.chars().next() {
        if normal.chars().count() >= MAX_MESSAGE {
            normal.push('…');
            break;
        }
        let length = match first {
            '"' | '\'' | '“' | '‘' if !before.is_some_and(char::is_alphanumeric) => {
                match quoted(rest, first) {
                    Some(length) => {
                        normal.push_str(QUOTED);
                        length
                    }
                    None => plain(first, &mut normal),
                }
            }
            _ if is_word(first) => {
                let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                word(&rest[..length], &mut normal);
                length
            }
            _ => plain(first, &mut normal),
        };
        before = rest[..length].chars().next_back();
        rest = &rest[length..];
    }
    normal
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

/// One character as it is, but nothing that a terminal would obey.
fn plain(c: char, normal: &mut String) -> usize {
    normal.push(if c.is_control() { ' ' } else { c });
    c.len_utf8()
}

/// The length of a quoted value with both its quotes; `None` if it never ends. A letter cuts long causes, which leaves
/// some value without its end.
fn quoted(text: &str, open: char) -> Option<usize> {
    let close = match open {
        '“' => '”',
        '‘' => '’',
        same => same,
    };
    let mut escaped = false;
    let mut inside = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = inside.next() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            // An apostrophe inside a word ends nothing.
            _ if c == close
                && !(c == '\'' && inside.peek().is_some_and(|(_, next)| next.is_alphanumeric())) =>
            {
                return Some(at + c.len_utf8());
            }
            _ => {}
        }
    }
    text.ends_with('…').then_some(text.len())
}

/// A word; those that look like ids give way whole, others lose their digits only.
fn word(word: &str, normal: &mut String) {
    let digits = word.chars().filter(char::is_ascii_digit).count();
    let letters = word.chars().any(char::is_alphabetic);
    let hex = word.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    // `eu-west-1` and `SHA256` name things; `9f86d081` and `ord-20250615-17` count them.
    if letters && word.len() >= 8 && (digits >= 4 || hex && digits >= 1) {
        normal.push_str(ID);
        return;
    }
    let mut number = false;
    for c in word.chars() {
        match c.is_ascii_digit() {
            true if number => {}
            true => normal.push_str(NUMBER),
            false => normal.push(c),
        }
        number = c.is_ascii_digit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_record_to_record_gives_way() {
        let cases = [
            ("attribute `total` is missing", "attribute `total` is missing"),
            ("Item size 412345 exceeds 409600", "Item size # exceeds #"),
            ("value 'Müller' of key \"ORDER#17\" is wrong", "value '…' of key '…' is wrong"),
            ("the row doesn't exist, it's gone", "the row doesn't exist, it's gone"),
            ("'it's' quoted", "'…' quoted"),
            (r#"S("a \" b") is no number"#, "S('…') is no number"),
            ("request 0A1B2C3D-4E5F-6789 in eu-west-1", "request <id> in eu-west-#"),
            ("order ord-20250615-17 of SHA256", "order <id> of SHA#"),
            ("an open \"quote", "an open \"quote"),
            ("item {\"S\": \"cut off…", "item {'…': '…'"),
            ("escape \u{1b}[31m", "escape  [#m"),
            ("", ""),
        ];
        for (message, expected) in cases {
            assert_eq!(normalised(message), expected);
        }
    }

    #[test]
    fn a_huge_message_is_cut() {
        assert!(normalised(&"ab ".repeat(100_000)).chars().count() <= MAX_MESSAGE + 10);
        assert!(normalised(&"\"".repeat(10_000)).chars().count() <= MAX_MESSAGE + 10);
    }
}
