//! Lock-free pieces.
