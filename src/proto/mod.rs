//! Data plane protocols.
