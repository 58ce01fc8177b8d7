//! Words that people write: bounded, printable, never interpreted.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A text that does not fit its bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    /// Nothing is left after trimming white space.
    #[error("must not be empty")]
    Empty,
    /// Longer than the bound, counted in characters.
    #[error("must be at most {max} characters, not {len}")]
    TooLong {
        /// The bound.
        max: usize,
        /// What was given.
        len: usize,
    },
    /// A control character other than tab and line feed.
    #[error("must not contain control characters")]
    Control,
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Trims and checks `text`.
            ///
            /// # Errors
            /// [`InvalidText`] when it is empty, too long or has control characters.
            pub fn parse(text: &str) -> Result<Self, InvalidText> {
                check(text, $max).map(Self)
            }

            /// The text as written, trimmed.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidText;
            fn try_from(text: String) -> Result<Self, InvalidText> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> String {
                text.0
            }
        }
    };
}

text!(
    /// Why somebody asks, decides or revokes; 1 to 1,000 characters.
    Reason,
    1000
);
text!(
    /// A ticket or incident reference; 1 to 128 characters.
    Ticket,
    128
);

fn check(text: &str, max: usize) -> Result<String, InvalidText> {
    let text = text.trim();
    let len = text.chars().count();
    if len == 0 {
        return Err(InvalidText::Empty);
    }
    if len > max {
        return Err(InvalidText::TooLong { max, len });
    }
    if text
        .chars()
        .any(|c| c.is_control() && c != '\n' && c != '\t')
    {
        return Err(InvalidText::Control);
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bounds_are_inclusive() {
        assert!(Reason::parse(&"x".repeat(1000)).is_ok());
        assert_eq!(
            Reason::parse(&"x".repeat(1001)),
            Err(InvalidText::TooLong {
                max: 1000,
                len: 1001
            })
        );
        assert_eq!(Reason::parse(" \n "), Err(InvalidText::Empty));
        assert_eq!(Ticket::parse("INC\u{1b}[2J"), Err(InvalidText::Control));
    }

    proptest! {
        #[test]
        fn parsing_is_idempotent(s in ".{0,1200}") {
            if let Ok(r) = Reason::parse(&s) {
                prop_assert_eq!(Reason::parse(r.as_str()), Ok(r.clone()));
                let json = serde_json::to_string(&r).unwrap();
                prop_assert_eq!(serde_json::from_str::<Reason>(&json).unwrap(), r);
            }
        }
    }
}
