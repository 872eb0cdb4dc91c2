#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| naxos::fuzzing::frame_decoding(data));
