//! Bounds on a policy's text, checked before Cedar's parser recurses on it.

use crate::bundle::{Place, Problem, problem};

/// Brackets within brackets. People stop reading well before.
const MAX_DEPTH: usize = 20;

/// Bytes of one policy without white space and comments; every operator nests its tree further.
const MAX_POLICY_BYTES: usize = 8 * 1024;

/// Stack for Cedar's parser and validator at these bounds, in bytes.
const STACK_BYTES: usize = 64 * 1024 * 1024;

/// Runs `parse` with room for the deepest policy that [`check`] lets through.
pub(crate) fn with_room<T>(parse: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(STACK_BYTES, STACK_BYTES, parse)
}

/// The first place where `text` goes beyond the bounds.
pub(crate) fn check(file: &str, text: &str) -> Option<Problem> {
    let (mut depth, mut length) = (0usize, 0usize);
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'/' if bytes.peek().is_some_and(|(_, next)| *next == b'/') => {
                bytes.by_ref().find(|(_, b)| *b == b'\n');
                continue;
            }
            b'"' => {
                while let Some((_, inside)) = bytes.next() {
                    length += 1;
                    match inside {
                        b'\\' => drop(bytes.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b';' => (depth, length) = (0, 0),
            b if b.is_ascii_whitespace() => continue,
            _ => {}
        }
        length += 1;
        if depth > MAX_DEPTH {
            let what = format!("brackets nest deeper than {MAX_DEPTH}");
            return Some(problem(file, Some(Place::of(text, at..at + 1)), what));
        }
        if length > MAX_POLICY_BYTES {
            let what = format!("a policy is longer than {MAX_POLICY_BYTES} bytes");
            return Some(problem(file, Some(Place::of(text, at..at + 1)), what));
        }
    }
    None
}
