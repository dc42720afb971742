//! Text for a terminal that holds words from somebody's file.

use std::borrow::Cow;

/// The text with everything escaped that would speak to the terminal instead of being shown by it: control
/// characters other than the end of a line and the tabulator, and marks that turn the direction of writing.
///
/// Names of classes, tensors and photos come from files that anybody may have made, and most terminals obey
/// what they read (ECMA-48's control functions: titles, colours, the clipboard).
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(speaks) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match speaks(c) {
            true => shown.extend(c.escape_unicode()),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// The same for what stands in one line: ends of lines are escaped, too. A file whose name has several lines must
/// not speak for the program.
pub fn plain_line(text: &str) -> Cow<'_, str> {
    match text.contains('\n') {
        true => Cow::Owned(plain(&text.replace('\n', "\\n")).into_owned()),
        false => plain(text),
    }
}

fn speaks(c: char) -> bool {
    let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (c.is_control() && !matches!(c, '\n' | '\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_speak_to_the_terminal_is_shown_instead() {
        assert_eq!(plain("\x1b]0;pwned\x07"), "\\u{1b}]0;pwned\\u{7}");
        assert_eq!(plain("\u{9b}2J\r\u{7f}"), "\\u{9b}2J\\u{d}\\u{7f}");
        assert_eq!(plain("gpj.\u{202e}exe"), "gpj.\\u{202e}exe");
    }

    #[test]
    fn a_name_of_several_lines_stays_on_its_own() {
        let name = "a\nerror: the model is damaged\nhelp: \x1b[2J.jpg";
        assert_eq!(
            plain_line(name),
            "a\\nerror: the model is damaged\\nhelp: \\u{1b}[2J.jpg"
        );
        assert!(matches!(plain_line("a.jpg"), Cow::Borrowed("a.jpg")));
    }

    #[test]
    fn what_people_write_stays_as_it_is() {
        let text = "épagneul breton, 秋田犬\t99.4 %  ████\n  طائر, 👩‍🚀 e\u{301}";
        assert!(matches!(plain(text), Cow::Borrowed(same) if same == text));
    }
}
