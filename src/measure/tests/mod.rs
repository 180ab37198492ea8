//! A service that fails in known ways at known times, and writes whose fate is known: the measurement must find the truth.

mod elsewhere;
mod losses;
mod outages;
