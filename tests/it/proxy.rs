//! What proxies say of their clients, and what the log says of proxies that do not tell.

use crate::support::{Folder, Server, accountd};
use serde_json::json;

#[test]
fn the_client_is_the_one_that_its_proxy_names() {
    let server = Server::with(json!({"trusted_proxies": ["127.0.0.1", "10.0.0.0/8"]}));
    for (nth, (headers, client)) in [
        (
            &[("X-Forwarded-For", "198.51.100.7:4711")][..],
            "198.51.100.7",
        ),
        (
            &[("X-Forwarded-For", "1.1.1.1,\t[2001:db8::1]:4711 , 10.0.0.1")],
            "2001:db8::1",
        ),
        (&[("X-Forwarded-For", "\"[2001:db8::2]\"")], "2001:db8::2"),
        (
            &[
                ("X-Forwarded-For", "198.51.100.8"),
                ("X-Forwarded-For", "10.0.0.1"),
            ],
            "198.51.100.8",
        ),
        (
            &[(
                "Forwarded",
                "for=1.1.1.1, for=\"[2001:db8::3]:4711\";proto=https",
            )],
            "2001:db8::3",
        ),
        (
            &[
                ("Forwarded", "for=198.51.100.9"),
                ("forwarded", "FOR=10.0.0.1;by=_x"),
            ],
            "198.51.100.9",
        ),
        (
            &[
                ("X-Forwarded-For", "198.51.100.10"),
                ("Forwarded", "for=198.51.100.10"),
            ],
            "198.51.100.10",
        ),
        (
            &[
                ("X-Forwarded-For", "198.51.100.11"),
                ("Forwarded", "proto=https"),
            ],
            "198.51.100.11",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        server.send("GET", &format!("/is-clear-{nth}"), headers, b"");
        let line = server.lines.wait(&format!("/is-clear-{nth} "));
        assert!(
            line.contains(&format!(" info {client} GET ")),
            "{headers:?}: {line}"
        );
    }
    assert!(!server.lines.all().concat().contains("of the proxy"));
}

#[test]
fn a_proxy_that_does_not_tell_is_named_once_and_its_client_is_unknown() {
    let server = Server::with(json!({"trusted_proxies": ["127.0.0.1"]}));
    for (nth, headers) in [
        &[("X-Forwarded-For", "1.1.1.1, unknown")][..],
        &[("X-Forwarded-For", "_hidden")],
        &[("Forwarded", "for=_hidden")],
        &[("Forwarded", "for=\", for=198.51.100.7")],
        &[
            ("X-Forwarded-For", "198.51.100.7"),
            ("Forwarded", "for=203.0.113.9"),
        ],
        &[
            ("X-Forwarded-For", "198.51.100.7"),
            ("Forwarded", "for=127.0.0.1"),
        ],
    ]
    .into_iter()
    .enumerate()
    {
        server.send("GET", &format!("/is-unclear-{nth}"), headers, b"");
        let line = server.lines.wait(&format!("/is-unclear-{nth} "));
        assert!(line.contains(" info - GET "), "{headers:?}: {line}");
    }
    let all = server.lines.all();
    let said: Vec<&String> = all
        .iter()
        .filter(|line| line.contains("of the proxy"))
        .collect();
    assert_eq!(said.len(), 1, "{said:?}");
    let expected = "Z info X-Forwarded-For of the proxy 127.0.0.1 has \"unknown\" instead of an address: the client's address \
                    counts as unknown";
    assert!(said[0].ends_with(expected), "{said:?}");
}

#[test]
fn a_server_on_all_addresses_that_trusts_no_proxy_warns() {
    for (listen, proxies, is_warned) in [
        ("0.0.0.0:0", json!([]), true),
        ("[::]:0", json!([]), true),
        ("0.0.0.0:0", json!(["10.0.0.0/8"]), false),
        ("127.0.0.1:0", json!([]), false),
    ] {
        let data = Folder::with(json!({"listen": listen, "trusted_proxies": proxies}));
        let mut command = accountd();
        command.arg("--data").arg(&data.0);
        let server = Server::started(data, command);
        let warned = server
            .lines
            .all()
            .iter()
            .any(|line| line.contains("listens on all addresses and trusts no proxy"));
        assert_eq!(warned, is_warned, "{listen} {proxies}");
    }
}
