#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| naxos::fuzzing::connection_state_machine(data));
