//! Tells the program which commit and features it is built of.

fn main() {
    hallpass_build::tell();
}
