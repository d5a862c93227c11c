//! What docker-compose.yml opens to the network.

use std::process::Command;

/// Published ports: the service, the variable that says on which address, the variable of the port.
const PUBLISHED: [(&str, &str, &str); 12] = [
    ("data-source", "BIND_ADDRESS", "DATA_SOURCE_PORT"),
    ("console", "BIND_ADDRESS", "CONSOLE_PORT"),
    ("ports", "BIND_ADDRESS", "STG_PORT"),
    ("ports", "BIND_ADDRESS", "DDS_PORT"),
    ("ports", "BIND_ADDRESS", "CDM_PORT"),
    ("kafka", "SERVERS_BIND_ADDRESS", "KAFKA_PORT"),
    ("postgres", "SERVERS_BIND_ADDRESS", "POSTGRES_PORT"),
    ("redis", "SERVERS_BIND_ADDRESS", "REDIS_PORT"),
    ("akhq", "SERVERS_BIND_ADDRESS", "AKHQ_PORT"),
    ("registry", "SERVERS_BIND_ADDRESS", "REGISTRY_PORT"),
    ("prometheus", "SERVERS_BIND_ADDRESS", "PROMETHEUS_PORT"),
    ("grafana", "SERVERS_BIND_ADDRESS", "GRAFANA_PORT"),
];

/// The file.
fn compose() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docker-compose.yml");
    std::fs::read_to_string(path).expect(path)
}

/// The services of the file, each with its lines.
fn services(compose: &str) -> Vec<(&str, Vec<&str>)> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    let from_there = compose.lines().skip_while(|line| *line != "services:").skip(1);
    for line in from_there.take_while(|line| line.is_empty() || line.starts_with([' ', '#'])) {
        let indented = line.len() - line.trim_start().len();
        match (indented, line.trim().strip_suffix(':')) {
            (2, Some(name)) => found.push((name, Vec::new())),
            _ => found.last_mut().expect("a service").1.push(line),
        }
    }
    found
}

#[test]
fn only_the_services_are_opened_with_them_and_every_server_on_purpose() {
    // GIVEN the ports that the file publishes
    let compose = compose();
    let mut published = Vec::new();
    for (service, lines) in services(&compose) {
        let entries = lines.iter().skip_while(|line| line.trim() != "ports:").skip(1);
        for entry in entries.map_while(|line| line.trim().strip_prefix("- ")) {
            // "${ADDRESS:-127.0.0.1}:${PORT:-5011}:5011"
            let names: Vec<&str> =
                entry.split("${").skip(1).filter_map(|part| Some(part.split_once(":-")?.0)).collect();
            let [address, port] = names[..] else { panic!("{service}: {entry} names no address and port") };
            assert!(entry.contains(&format!("${{{address}:-127.0.0.1}}:")), "{service}: {entry}");
            published.push((service, address, port));
        }
    }
    // THEN each is opened by the variable that is meant to, on loopback where nothing is said
    assert_eq!(published, PUBLISHED);
    assert_eq!(compose.matches("network_mode").count(), 0, "the host's network would publish every port");
}

#[test]
fn opened_servers_want_passwords_of_their_own() {
    let compose = compose();
    let all = services(&compose);
    let cases = [
        ("postgres", "POSTGRES_PASSWORD", "POSTGRES_PASSWORD", "engineer"),
        ("redis", "REDISCLI_AUTH", "REDIS_PASSWORD", ""),
    ];
    for (service, inside, variable, known) in cases {
        // GIVEN the first words of a server's container
        let lines = &all.iter().find(|(name, _)| *name == service).expect("a service").1;
        let told =
            |name: &str, value: &str| lines.iter().any(|line| line.trim() == format!("{name}: {value}"));
        assert!(told("OPENED", "${SERVERS_BIND_ADDRESS:-127.0.0.1}"), "{service}");
        assert!(told(inside, &format!("${{{variable}:-{known}}}")), "{service}");
        let script = lines.iter().skip_while(|line| line.trim() != "- |").skip(1);
        let script: Vec<&str> = script.take_while(|line| line.starts_with("        ")).copied().collect();
        let script = script.join("\n").replace("$$", "$");
        for (address, password, refused) in [
            ("127.0.0.1", known, false),
            ("0.0.0.0", known, true),
            ("10.1.2.3", known, true),
            ("0.0.0.0", "a password", false),
        ] {
            // WHEN it starts
            let mut run = Command::new("sh");
            let run = run.args(["-c", &script]).envs([("OPENED", address), (inside, password)]);
            let run = run.output().expect("sh");
            // THEN it refuses what everybody may reach with the password that everybody knows
            let said = String::from_utf8_lossy(&run.stderr).into_owned();
            assert_eq!(said.contains(&format!("set {variable}")), refused, "{service} {address}: {said}");
            // The image's own script, which is not here, cannot be found: 127.
            assert_eq!(run.status.code(), Some(if refused { 1 } else { 127 }), "{service} {address}: {said}");
        }
    }
    let redis = &all.iter().find(|(name, _)| *name == "redis").expect("redis").1;
    assert!(redis.iter().any(|line| line.contains(r#""--requirepass", "${REDIS_PASSWORD:-}""#)));
}
