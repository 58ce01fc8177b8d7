//! Text of others on this terminal: without what could drive it.

/// `text` on one line, without control characters and without those that reorder or hide text.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .filter_map(|c| match c {
            '\n' | '\t' | '\u{2028}' | '\u{2029}' => Some(' '),
            c if is_hostile(c) => None,
            c => Some(c),
        })
        .collect()
}

/// Whether a terminal or a reader's eye could be misled by `c`.
pub(crate) fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}'
                | '\u{feff}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// At most `max` characters of the cleaned text.
pub(crate) fn short(text: &str, max: usize) -> String {
    let text = clean(text);
    if text.chars().count() <= max {
        return text;
    }
    let kept: String = text.chars().take(max.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_hostile_reason_drives_nothing() {
        assert_eq!(
            clean("a\u{1b}[2J\u{9b}31mb\nc\u{202e}d\r\u{7}"),
            "a[2J31mb cd"
        );
        assert_eq!(short("a long reason", 7), "a long…");
    }

    proptest! {
        #[test]
        fn nothing_hostile_is_left(text in any::<String>()) {
            prop_assert!(!clean(&text).chars().any(is_hostile));
        }
    }
}
