//! What a drill or a month showed: one canonical JSON, rendered for people and machines. Pure.
