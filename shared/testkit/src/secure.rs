//! Kafka, Postgres and Redis of one test that speak TLS only and ask for a password or a certificate.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Executor as _};

use crate::fleet::free_port;
use crate::local::{ALL, LocalServers, ROOT, Server};
use crate::proxy::Proxy;
use crate::servers::Servers;

/// User of all three servers; has to be quoted nearly everywhere.
pub const USER: &str = "stra@ta";

/// Its password: no URL, shell or configuration file takes it as it is.
pub const PASSWORD: &str = "p@ss:w/ord#%?&\"' ü";

/// User whom the servers know by the client certificate.
const CERTIFIED: &str = "certified";

/// How a user shows Kafka the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// The password itself.
    Plain,
    /// A proof of it.
    Scram256,
    /// A longer one.
    Scram512,
}

impl Mechanism {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Scram256, Self::Scram512];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Scram256 => "SCRAM-SHA-256",
            Self::Scram512 => "SCRAM-SHA-512",
        }
    }
}

/// A certificate that a server can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// A good one.
    Server,
    /// One that has expired.
    Expired,
    /// One for another host.
    WrongHost,
}

impl Identity {
    const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Expired => "expired",
            Self::WrongHost => "wronghost",
        }
    }
}

/// Three servers with certificates; removed with the value.
pub struct SecureServers {
    local: LocalServers,
    ports: Ports,
    /// Between the clients and the listener of Kafka that shows the certificate of the moment.
    kafka: Proxy,
}

/// Ports of what speaks TLS.
#[derive(Clone, Copy)]
struct Ports {
    /// Kafka with passwords.
    sasl: u16,
    /// Kafka with client certificates.
    mutual: u16,
    /// Kafka with a certificate that has expired, and with one for another host.
    bad: [u16; 2],
    redis: u16,
}

impl SecureServers {
    /// Starts them and makes the users.
    pub async fn start() -> Self {
        let [sasl, mutual, redis] = [free_port(), free_port(), free_port()];
        let ports = Ports { sasl, mutual, bad: [free_port(), free_port()], redis };
        let kafka = Proxy::start(on_loopback(sasl));
        let local = LocalServers::start_prepared(ALL, |local| {
            let made = Command::new(Path::new(ROOT).join("scripts/certificates.sh"))
                .arg(pki(local))
                .status()
                .unwrap_or_else(|e| panic!("scripts/certificates.sh does not run: {e}"));
            assert!(made.success(), "the certificates cannot be made");
            let home = local.home(Server::Kafka).join("kafka");
            fs::create_dir_all(&home).unwrap_or_else(|e| panic!("{}: {e}", home.display()));
            for identity in [Identity::Server, Identity::Expired, Identity::WrongHost] {
                write_keystore(local, identity);
            }
            fs::write(home.join("extra.properties"), kafka_properties(local, ports, kafka.port()))
                .expect("kafka's listeners");
        })
        .await;
        let servers = Self { local, ports, kafka };
        tokio::join!(servers.set_up_postgres(), servers.set_up_redis());
        servers.set_kafka_password(PASSWORD).await;
        servers
    }

    /// Path of a file that `scripts/certificates.sh` made.
    pub fn file(&self, name: &str) -> String {
        pki(&self.local).join(name).display().to_string()
    }

    /// What a service is told to reach all three with user and password.
    pub fn variables(&self, mechanism: Mechanism) -> Vec<(&'static str, String)> {
        vec![
            ("KAFKA_BROKERS", format!("localhost:{}", self.kafka.port())),
            ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL".into()),
            ("KAFKA_SASL_MECHANISM", mechanism.name().into()),
            ("KAFKA_USERNAME", USER.into()),
            ("KAFKA_PASSWORD", PASSWORD.into()),
            ("KAFKA_CA", self.file("ca.pem")),
            ("POSTGRES_HOST", "localhost".into()),
            ("POSTGRES_PORT", self.local.port(Server::Postgres).to_string()),
            ("POSTGRES_USER", USER.into()),
            ("POSTGRES_PASSWORD", PASSWORD.into()),
            ("POSTGRES_DB", "dwh".into()),
            ("POSTGRES_SSLMODE", "verify-full".into()),
            ("POSTGRES_CA", self.file("ca.pem")),
            ("REDIS_HOST", "localhost".into()),
            ("REDIS_PORT", self.ports.redis.to_string()),
            ("REDIS_TLS", "true".into()),
            ("REDIS_USERNAME", USER.into()),
            ("REDIS_PASSWORD", PASSWORD.into()),
            ("REDIS_CA", self.file("ca.pem")),
        ]
    }

    /// The same, where Kafka and Postgres know the user by a client certificate.
    pub fn variables_of_certified(&self) -> Vec<(&'static str, String)> {
        let mut variables = self.variables(Mechanism::Plain);
        variables.retain(|(name, _)| {
            !matches!(
                *name,
                "KAFKA_USERNAME" | "KAFKA_PASSWORD" | "POSTGRES_PASSWORD" | "KAFKA_SASL_MECHANISM"
            )
        });
        for (name, value) in &mut variables {
            match *name {
                "KAFKA_BROKERS" => *value = format!("localhost:{}", self.ports.mutual),
                "KAFKA_SECURITY_PROTOCOL" => *value = "SSL".into(),
                "POSTGRES_USER" => *value = CERTIFIED.into(),
                _ => {}
            }
        }
        for server in ["KAFKA", "POSTGRES", "REDIS"] {
            let [certificate, key] = match server {
                "KAFKA" => ["KAFKA_CERTIFICATE", "KAFKA_KEY"],
                "POSTGRES" => ["POSTGRES_CERTIFICATE", "POSTGRES_KEY"],
                _ => ["REDIS_CERTIFICATE", "REDIS_KEY"],
            };
            variables.push((certificate, self.file("client.pem")));
            variables.push((key, self.file("client.key")));
        }
        variables
    }

    /// Servers reached with user and password.
    pub fn servers(&self, mechanism: Mechanism) -> Servers {
        Servers::at(self.variables(mechanism))
    }

    /// Has a server show another certificate from now on, to those who connect.
    pub async fn show(&self, server: Server, identity: Identity) {
        match server {
            Server::Kafka => {
                let Ports { sasl, bad: [expired, wrong_host], .. } = self.ports;
                self.kafka.lead_to(on_loopback(match identity {
                    Identity::Server => sasl,
                    Identity::Expired => expired,
                    Identity::WrongHost => wrong_host,
                }));
            }
            Server::Postgres => {
                self.give_to_postgres(identity);
                self.local.signal(Server::Postgres, "-HUP");
            }
            Server::Redis => {
                let (certificate, key) =
                    (format!("{}.pem", identity.name()), format!("{}.key", identity.name()));
                // Both at once: a key that does not fit its certificate is refused.
                let arguments = [
                    "CONFIG",
                    "SET",
                    "tls-cert-file",
                    &self.file(&certificate),
                    "tls-key-file",
                    &self.file(&key),
                ];
                self.redis_command(&arguments).await;
            }
        }
    }

    /// Gives the user of a server another password.
    pub async fn set_password(&self, server: Server, password: &str) {
        match server {
            Server::Kafka => self.set_kafka_password(password).await,
            Server::Postgres => {
                let quoted = password.replace('\'', "''");
                self.postgres_statement(&format!("alter role \"{USER}\" password '{quoted}'")).await;
            }
            Server::Redis => {
                let password = format!(">{password}");
                self.redis_command(&["ACL", "SETUSER", USER, "resetpass", &password]).await;
            }
        }
    }

    /// Sets the proofs of the password; that of PLAIN stands in Kafka's configuration.
    async fn set_kafka_password(&self, password: &str) {
        // Kafka takes one of them at a time.
        tokio::join!(
            self.set_proof(Mechanism::Scram256, password),
            self.set_proof(Mechanism::Scram512, password)
        );
    }

    async fn set_proof(&self, mechanism: Mechanism, password: &str) {
        let mut tool = self.local.script("scripts/kafka.sh", Server::Kafka);
        tool.args(["configs", "--alter", "--entity-type", "users", "--entity-name", USER]);
        tool.args(["--add-config", &format!("{}=[password={password}]", mechanism.name())]);
        let done = tokio::task::spawn_blocking(move || tool.output()).await.expect("no panic");
        let done = done.unwrap_or_else(|e| panic!("scripts/kafka.sh does not run: {e}"));
        assert!(done.status.success(), "no password: {}", String::from_utf8_lossy(&done.stderr));
    }

    async fn set_up_postgres(&self) {
        let data = self.postgres_data();
        fs::write(
            data.join("pg_hba.conf"),
            format!(
                "local all all trust\nhostssl all {CERTIFIED} all cert\n\
                 hostssl all all all scram-sha-256\nhostnossl all all all reject\n"
            ),
        )
        .expect("pg_hba.conf");
        self.give_to_postgres(Identity::Server);
        fs::copy(pki(&self.local).join("ca.pem"), data.join("ca.pem")).expect("the CA");
        let quoted = PASSWORD.replace('\'', "''");
        for statement in [
            format!("create role \"{USER}\" superuser login password '{quoted}'"),
            format!("create role {CERTIFIED} superuser login"),
            "alter system set ssl_ca_file = 'ca.pem'".to_owned(),
            "alter system set ssl_cert_file = 'server.pem'".to_owned(),
            "alter system set ssl_key_file = 'server.key'".to_owned(),
            "alter system set ssl = on".to_owned(),
        ] {
            self.postgres_statement(&statement).await;
        }
        self.local.signal(Server::Postgres, "-HUP");
    }

    /// Puts certificate and key where Postgres reads them, as its own files.
    fn give_to_postgres(&self, identity: Identity) {
        let data = self.postgres_data();
        let owner = fs::metadata(&data).expect("the data directory");
        for end in ["pem", "key"] {
            let place = data.join(format!("server.{end}"));
            let made = pki(&self.local).join(format!("{}.{end}", identity.name()));
            fs::copy(made, &place).expect("a file for postgres");
            chown(&place, Some(owner.uid()), Some(owner.gid())).expect("its owner");
        }
    }

    fn postgres_data(&self) -> PathBuf {
        self.local.home(Server::Postgres).join("postgres/data")
    }

    /// Runs a statement as the owner of the cluster.
    async fn postgres_statement(&self, statement: &str) {
        let options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.local.port(Server::Postgres))
            .username("de")
            .password("engineer")
            .database("dwh");
        let mut connection = options.connect().await.expect("postgres lets its owner in");
        connection.execute(statement).await.unwrap_or_else(|e| panic!("{statement}: {e}"));
    }

    async fn set_up_redis(&self) {
        let password = format!(">{PASSWORD}");
        for arguments in [
            &["CONFIG", "SET", "tls-ca-cert-file", &self.file("ca.pem"), "tls-auth-clients", "optional"][..],
            &[
                "CONFIG",
                "SET",
                "tls-cert-file",
                &self.file("server.pem"),
                "tls-key-file",
                &self.file("server.key"),
            ],
            &["CONFIG", "SET", "tls-port", &self.ports.redis.to_string()],
            &["ACL", "SETUSER", USER, "on", &password, "~*", "&*", "+@all"],
        ] {
            self.redis_command(arguments).await;
        }
    }

    /// Runs a command on the port without TLS, as the default user.
    async fn redis_command(&self, arguments: &[&str]) {
        let client = redis::Client::open(("127.0.0.1", self.local.port(Server::Redis))).expect("an address");
        let mut connection = client.get_multiplexed_async_connection().await.expect("redis answers");
        let mut command = redis::cmd(arguments[0]);
        command.arg(&arguments[1..]);
        command.query_async::<()>(&mut connection).await.unwrap_or_else(|e| panic!("{arguments:?}: {e}"));
    }
}

/// Where the certificates are.
fn pki(local: &LocalServers) -> PathBuf {
    local.home(Server::Kafka).join("certificates")
}

fn on_loopback(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

/// Kafka wants key, certificate and CA in one file.
fn write_keystore(local: &LocalServers, identity: Identity) {
    let parts = [format!("{}.key", identity.name()), format!("{}.pem", identity.name()), "ca.pem".to_owned()];
    let read = |part| fs::read_to_string(pki(local).join(part)).expect("a certificate");
    let place = pki(local).join(format!("{}.keystore.pem", identity.name()));
    fs::write(place, parts.map(read).concat()).expect("the keystore");
}

/// Listeners with TLS; clients are told to come by the port `advertised`.
fn kafka_properties(local: &LocalServers, ports: Ports, advertised: u16) -> String {
    // The file is read as Latin-1, and its backslashes escape; inside of the quotes there is another such layer.
    let quoted = PASSWORD.replace('"', "\\\\\"").replace('ü', "\\u00fc");
    let (pki, plain) = (pki(local), local.port(Server::Kafka));
    let (pki, controller) = (pki.display(), local.port_in("KAFKA_CONTROLLER_PORT"));
    let Ports { sasl, mutual, bad: [expired, wrong_host], .. } = ports;
    format!(
        "listeners=PLAINTEXT://127.0.0.1:{plain},SASL_SSL://127.0.0.1:{sasl},MUTUAL://127.0.0.1:{mutual},\
         EXPIRED://127.0.0.1:{expired},WRONGHOST://127.0.0.1:{wrong_host},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SASL_SSL://localhost:{advertised},\
         MUTUAL://localhost:{mutual},EXPIRED://localhost:{expired},WRONGHOST://localhost:{wrong_host}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL,MUTUAL:SSL,\
         EXPIRED:SSL,WRONGHOST:SSL\n\
         sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
         listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=\
         org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
         listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
         org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
         listener.name.sasl_ssl.plain.sasl.jaas.config=\
         org.apache.kafka.common.security.plain.PlainLoginModule required \"user_{USER}\"=\"{quoted}\";\n\
         ssl.keystore.type=PEM\n\
         ssl.keystore.location={pki}/server.keystore.pem\n\
         listener.name.expired.ssl.keystore.location={pki}/expired.keystore.pem\n\
         listener.name.wronghost.ssl.keystore.location={pki}/wronghost.keystore.pem\n\
         ssl.truststore.type=PEM\n\
         ssl.truststore.location={pki}/ca.pem\n\
         listener.name.mutual.ssl.client.auth=required\n"
    )
}
