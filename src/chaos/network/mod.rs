//! Faults of the network between a client and a server, by a proxy of ours in between, and of names, by a name server of
//! ours in the path of a process. Both live in the runner: with it the way is closed, and never left bad.

mod link;
mod names;

use super::fault::Fault;

/// All faults of networks and names.
pub(super) const FAULTS: [&dyn Fault; 11] = [
    &link::Link::LATENCY,
    &link::Link::BANDWIDTH,
    &link::Link::CUT,
    &link::Link::RESET,
    &link::Link::REFUSE,
    &link::Link::BLACK_HOLE,
    &link::Link::SLOW_CLOSE,
    &link::Link::HALF_OPEN,
    &names::Names::WRONG,
    &names::Names::SILENT,
    &names::Names::STALE,
];
