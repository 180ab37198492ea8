//! Open-loop client transactions, and the ledger of every write that they tried.
