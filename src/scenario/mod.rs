//! What a drill is to do, read from a file that a person can read. Pure.
