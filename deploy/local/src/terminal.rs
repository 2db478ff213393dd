//! Words for the person who waits. Where nobody reads them any more (`stack up | head -1`) they are dropped and the work
//! goes on to its end: the standard macros would end it in the middle.

use std::fmt::Arguments;
use std::io::{self, Write};

/// One line on stdout.
pub(crate) fn say(text: Arguments<'_>) {
    writeln!(io::stdout(), "{text}").ok();
}

/// The beginning of a line on stdout, shown at once.
pub(crate) fn begin(text: Arguments<'_>) {
    let mut stdout = io::stdout();
    write!(stdout, "{text}").and_then(|()| stdout.flush()).ok();
}

/// One line on stderr.
pub fn complain(text: Arguments<'_>) {
    writeln!(io::stderr(), "{text}").ok();
}
