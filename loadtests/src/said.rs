//! What is said to a person, where somebody may have left: the standard library's macros of these names panic where nobody
//! reads (`2>&1 | tee log` and Ctrl-C ends the reader too), and a measurement would be lost for a line of it.

/// Says a line on standard error, if anybody reads it.
macro_rules! eprintln {
    ($($said:tt)*) => {{
        let _ = ::std::io::Write::write_fmt(&mut ::std::io::stderr(), ::std::format_args!("{}\n", ::std::format_args!($($said)*)));
    }};
}

/// Says a line on standard output, if anybody reads it.
macro_rules! println {
    ($($said:tt)*) => {{
        let _ = ::std::io::Write::write_fmt(&mut ::std::io::stdout(), ::std::format_args!("{}\n", ::std::format_args!($($said)*)));
    }};
}

/// Says something on standard output, if anybody reads it.
macro_rules! print {
    ($($said:tt)*) => {{
        let _ = ::std::io::Write::write_fmt(&mut ::std::io::stdout(), ::std::format_args!($($said)*));
    }};
}
