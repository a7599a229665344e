//! Tests of `ports`, apart from it: the harness of the other tests includes that file.

use std::net::{Ipv4Addr, TcpListener};

use super::ports::{EPHEMERAL_DEFAULT, Ports, lasting, parse};

#[test]
fn they_lie_where_the_kernel_gives_none() {
    for (file, expected) in [
        ("32768\t60999\n", 10_000..32_768),
        ("11000 65535", 10_000..11_000),
        ("1024\t32767", 32_768..65_536),
        ("1024\t5000", 10_000..65_536),
        ("1024\t65535", 10_000..65_536),
    ] {
        assert_eq!(lasting(&parse(file).unwrap()), expected, "{file:?}");
    }
    for file in ["", "7", "9 8", "1 70000", "a b"] {
        assert_eq!(parse(file), None, "{file:?}");
    }
}

/// Nobody gets a port twice while the first has it, whether its node listens or is down.
#[test]
fn a_port_is_claimed_once_at_a_time() {
    let range = lasting(&EPHEMERAL_DEFAULT);
    let range = range.end - 64..range.end;
    let held = Ports::claim_in(range.clone(), 20).unwrap();
    let others = Ports::claim_in(range.clone(), 20).unwrap();
    assert!(held.numbers.iter().all(|port| !others.numbers.contains(port)));
    assert!(Ports::claim_in(range.clone(), 30).is_err());
    drop(others);

    let listening = TcpListener::bind((Ipv4Addr::LOCALHOST, held.numbers[0])).unwrap();
    let port = held.numbers[0];
    drop(held);
    let rest = Ports::claim_in(range, 40).unwrap();
    assert!(!rest.numbers.contains(&port));
    drop(listening);
}
