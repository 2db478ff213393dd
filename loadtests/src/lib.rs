//! The judge of the two twins: request traces, an open-loop generator, the interleaved comparison, and its report.
//!
//! Everything about load (scenario, trace, pacer, engine, statistics, report) is free of any word about payments; the
//! payment workload is one module on top. Here lives what measures; never what is measured.
