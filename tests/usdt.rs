//! The program has the probes that the documentation names, where a tracer looks for them.
#![cfg(feature = "usdt")]

/// Provider, name, and a size for each argument, as the notes of static probes have them.
fn has_probe(program: &[u8], name: &str, arguments: usize) -> bool {
    let start = format!("naxos\0{name}\0");
    let places = program.windows(start.len()).enumerate().filter(|(_, bytes)| *bytes == start.as_bytes());
    let mut found = places.map(|(at, _)| program[at + start.len()..].split(|byte| *byte == 0).next().unwrap());
    found.any(|text| {
        text.split(|byte| *byte == b' ').filter(|argument| argument.starts_with(b"-8@")).count() == arguments
    })
}

#[test]
fn the_program_has_its_probes_and_their_arguments() {
    let program = std::fs::read(env!("CARGO_BIN_EXE_naxos")).unwrap();
    assert!(program.windows(8).any(|bytes| bytes == b"stapsdt\0"));
    assert!(has_probe(&program, "append_released", 9));
    assert!(has_probe(&program, "unit_durable", 4));
    assert!(!has_probe(&program, "unit_durable", 5) && !has_probe(&program, "nothing", 0));
}
