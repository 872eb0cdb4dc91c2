//! The executions that the protocol's rules are there for, step by step, on the real cores. Each fails when its rule is broken.
