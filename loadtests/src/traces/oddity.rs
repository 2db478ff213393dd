//! What may be odd in a trace.

use super::trouble::Place;

/// What was odd in a trace. Each is counted and said; nothing is guessed in silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oddity {
    /// Names a parent of its own process which isn't there; it and what hangs below are left out.
    Orphan,
    /// Names a parent which isn't there, without saying whether it was of its own process; it and what hangs below are left out.
    Parentless,
    /// The same, where the service has no requests but those that begin so.
    Unsure,
    /// Has the id of another span of its trace; the first is kept.
    Doubled,
    /// Is its own ancestor; left out.
    Circular,
    /// Ends before it begins; taken as nothing long.
    Reversed,
    /// Of another process, lay outside its parent, or began before the message that it got was sent: moved by the least that
    /// mends it, with all below.
    Skewed,
    /// Of another process, took longer than its parent: what is after that one's end isn't on its path.
    Overlong,
    /// Of the same process or asynchronous, ended after its parent: what is after that isn't on the parent's path.
    Outliving,
    /// Of the same process, began before its parent: what is before that isn't on the parent's path.
    Early,
    /// Says that more was waited before its begin than there was time since its parent's begin; cut to that.
    Crowded,
}

impl Oddity {
    /// Whether it is a matter of time.
    pub fn lasts(self) -> bool {
        match self {
            Self::Orphan | Self::Parentless | Self::Unsure | Self::Doubled | Self::Circular => false,
            Self::Reversed
            | Self::Skewed
            | Self::Overlong
            | Self::Outliving
            | Self::Early
            | Self::Crowded => true,
        }
    }

    /// For a sentence about the line where the span was read; how far it went is told beside it.
    pub fn said(self) -> &'static str {
        match self {
            Self::Orphan => {
                "has a span whose parent, in the same process, isn't there: left out, with all below it"
            }
            Self::Parentless => "has a span whose parent isn't there: left out, with all below it",
            Self::Unsure => {
                "has a span whose parent isn't there, and doesn't say whether it was in the same process: taken for a request's first"
            }
            Self::Doubled => "has a second span with the same id in the same trace: left out",
            Self::Circular => "has a span that is its own ancestor: left out",
            Self::Reversed => "has a span that ends before it begins: taken as nothing long",
            Self::Skewed => {
                "has a span of another process outside its parent: its clock is set by the least that mends it"
            }
            Self::Overlong => {
                "has a span of another process that took longer than its parent: nobody waited for the rest"
            }
            Self::Outliving => "has a span that ends after its parent: nobody waited for the rest",
            Self::Early => {
                "has a span that begins before its parent, in the same process: cut to that on the path"
            }
            Self::Crowded => {
                "has a span with a longer wait before it than since its parent's begin: cut to that"
            }
        }
    }
}

/// An oddity, where its span was read, and by how much (in ns, where it is a time).
pub type Odd = (Oddity, Place, u64);
