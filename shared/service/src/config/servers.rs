//! How to reach Kafka, Postgres and Redis: one set of variables each, checked as a whole.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisConnectionInfo,
    TlsCertificates,
};
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::reader::{ConfigError, Identity, Reader, Secret};

/// How a client shows Kafka who it is, and whether it encrypts.
#[derive(Debug, Clone)]
pub struct KafkaSecurity {
    /// `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.
    pub protocol: &'static str,
    /// User and password, where the protocol has SASL.
    pub sasl: Option<Sasl>,
    /// CAs to trust; those of the system where absent.
    pub ca: Option<PathBuf>,
    /// Client certificate.
    pub identity: Option<Identity>,
}

/// User and password for Kafka.
#[derive(Debug, Clone)]
pub struct Sasl {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: &'static str,
    /// User.
    pub username: String,
    /// Its password.
    pub password: Secret,
}

impl KafkaSecurity {
    pub(super) fn read(reader: &Reader<'_>) -> Result<Self, ConfigError> {
        const PROTOCOL: &str = "KAFKA_SECURITY_PROTOCOL";
        let protocols = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"].map(|word| (word, word));
        let protocol = reader.choice(PROTOCOL, &protocols)?;
        let mechanisms = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"].map(|word| (word, word));
        let mechanism = reader.choice("KAFKA_SASL_MECHANISM", &mechanisms)?;
        let username = reader.value("KAFKA_USERNAME");
        let password = reader.secret("KAFKA_PASSWORD", "KAFKA_PASSWORD_FILE")?;
        let ca = reader.certificates("KAFKA_CA")?;
        let identity = reader.identity("KAFKA_CERTIFICATE", "KAFKA_KEY")?;
        let sasl = match (protocol.starts_with("SASL"), username, password) {
            (true, Some(username), Some(password)) => Some(Sasl { mechanism, username, password }),
            (true, ..) => {
                return Err(reader.refused(PROTOCOL, "SASL needs KAFKA_USERNAME and KAFKA_PASSWORD"));
            }
            (false, None, None) => None,
            (false, ..) => {
                let why = "KAFKA_USERNAME and KAFKA_PASSWORD are only used with SASL_SSL or SASL_PLAINTEXT";
                return Err(reader.refused(PROTOCOL, why));
            }
        };
        if !protocol.ends_with("SSL") && (ca.is_some() || identity.is_some()) {
            let why = "KAFKA_CA, KAFKA_CERTIFICATE and KAFKA_KEY are only used with SSL or SASL_SSL";
            return Err(reader.refused(PROTOCOL, why));
        }
        Ok(Self { protocol, sasl, ca, identity })
    }
}

/// How to reach Postgres, and with how many connections.
#[derive(Clone)]
pub struct PostgresSettings {
    options: PgConnectOptions,
    /// Connections of the consumer loops.
    pub worker_connections: u32,
    /// Connections of HTTP requests.
    pub http_connections: u32,
}

impl fmt::Debug for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.options;
        f.debug_struct("PostgresSettings")
            .field("host", &options.get_host())
            .field("port", &options.get_port())
            .field("user", &options.get_username())
            .field("database", &options.get_database())
            .field("sslmode", &options.get_ssl_mode())
            .field("worker_connections", &self.worker_connections)
            .field("http_connections", &self.http_connections)
            .finish()
    }
}

impl PostgresSettings {
    pub(super) fn read(reader: &Reader<'_>) -> Result<Self, ConfigError> {
        let options = match reader.secret("DATABASE_URL", "DATABASE_URL_FILE")? {
            Some(url) => Self::from_url(reader, &url)?,
            None => Self::from_parts(reader)?,
        };
        let connections = |name| -> Result<u32, ConfigError> {
            let number = reader.positive(name)?;
            u32::try_from(number).map_err(|e| reader.refused(name, e.to_string()))
        };
        Ok(Self {
            options: options.disable_statement_logging(),
            worker_connections: connections("POSTGRES_WORKER_CONNECTIONS")?,
            http_connections: connections("POSTGRES_HTTP_CONNECTIONS")?,
        })
    }

    /// What connections are made with.
    pub fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// Each part is given to the driver as it is, so that any character may stand in it.
    fn from_parts(reader: &Reader<'_>) -> Result<PgConnectOptions, ConfigError> {
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(reader.text("POSTGRES_HOST").trim_matches(['[', ']']))
            .port(reader.parsed("POSTGRES_PORT")?)
            .username(&reader.text("POSTGRES_USER"))
            .database(&reader.text("POSTGRES_DB"));
        if let Some(password) = reader.secret("POSTGRES_PASSWORD", "POSTGRES_PASSWORD_FILE")? {
            options = options.password(password.expose());
        }
        Self::with_tls(reader, options, Self::ssl_mode(reader)?)
    }

    /// What the URL does not say of TLS comes from the variables.
    fn from_url(reader: &Reader<'_>, url: &Secret) -> Result<PgConnectOptions, ConfigError> {
        let options = url.expose().parse::<PgConnectOptions>().map_err(|_| {
            let why = "it must read postgres://user:password@host:port/database, what is special in it \
                       as %XX; or set POSTGRES_HOST, POSTGRES_USER and so on, where nothing is special";
            ConfigError::new("DATABASE_URL", why)
        })?;
        let query = url.expose().split_once('?').map(|(_, query)| query).unwrap_or_default();
        let mode = match query
            .split('&')
            .any(|pair| pair.starts_with("sslmode=") || pair.starts_with("ssl-mode="))
        {
            true => options.get_ssl_mode(),
            false => Self::ssl_mode(reader)?,
        };
        Self::with_tls(reader, options, mode)
    }

    fn ssl_mode(reader: &Reader<'_>) -> Result<PgSslMode, ConfigError> {
        let modes = [
            ("disable", PgSslMode::Disable),
            ("prefer", PgSslMode::Prefer),
            ("require", PgSslMode::Require),
            ("verify-ca", PgSslMode::VerifyCa),
            ("verify-full", PgSslMode::VerifyFull),
        ];
        reader.choice("POSTGRES_SSLMODE", &modes)
    }

    fn with_tls(
        reader: &Reader<'_>,
        mut options: PgConnectOptions,
        mode: PgSslMode,
    ) -> Result<PgConnectOptions, ConfigError> {
        options = options.ssl_mode(mode);
        if let Some(ca) = reader.certificates("POSTGRES_CA")? {
            if !matches!(mode, PgSslMode::VerifyCa | PgSslMode::VerifyFull) {
                let why = "it is only used with POSTGRES_SSLMODE=verify-full or verify-ca: the others \
                           check no certificate";
                return Err(reader.refused("POSTGRES_CA", why));
            }
            options = options.ssl_root_cert(ca);
        }
        if let Some(identity) = reader.identity("POSTGRES_CERTIFICATE", "POSTGRES_KEY")? {
            options = options.ssl_client_cert(identity.certificate).ssl_client_key(identity.key);
        }
        Ok(options)
    }
}

/// How to reach Redis.
#[derive(Clone)]
pub struct RedisSettings(Client);

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = self.0.get_connection_info();
        let (address, redis) = (info.addr(), info.redis_settings());
        // The address in words, not the debug form: that one holds certificates.
        write!(f, "{address} as {:?}, database {}", redis.username().unwrap_or("default"), redis.db())
    }
}

impl RedisSettings {
    pub(super) fn read(reader: &Reader<'_>) -> Result<Self, ConfigError> {
        let tls = reader.choice("REDIS_TLS", &[("false", false), ("true", true)])?;
        let url = reader.secret("REDIS_URL", "REDIS_URL_FILE")?;
        let info = match &url {
            Some(url) => url.expose().into_connection_info().map_err(|_| {
                let why = "it must read redis[s]://[user:password@]host:port[/database], what is special \
                           in it as %XX; or set REDIS_HOST, REDIS_PASSWORD and so on, where nothing is special";
                ConfigError::new("REDIS_URL", why)
            })?,
            None => Self::address(reader, tls)?,
        };
        let encrypted = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        if tls && !encrypted {
            return Err(reader.refused("REDIS_TLS", "REDIS_URL says otherwise; let it begin with rediss://"));
        }
        let info = Self::with_user(reader, info)?;
        let root_cert = reader.certificates("REDIS_CA")?;
        let identity = reader.identity("REDIS_CERTIFICATE", "REDIS_KEY")?;
        if !encrypted {
            if root_cert.is_some() || identity.is_some() {
                let why = "REDIS_CA, REDIS_CERTIFICATE and REDIS_KEY are only used with true";
                return Err(reader.refused("REDIS_TLS", why));
            }
            return Client::open(info).map(Self).map_err(|e| ConfigError::new("REDIS_HOST", e.to_string()));
        }
        let read = |name, path: PathBuf| fs::read(path).map_err(|e| reader.refused(name, e.to_string()));
        let root_cert = root_cert.map(|path| read("REDIS_CA", path)).transpose()?;
        let client_tls = match identity {
            Some(Identity { certificate, key }) => Some(ClientTlsConfig {
                client_cert: read("REDIS_CERTIFICATE", certificate)?,
                client_key: read("REDIS_KEY", key)?,
            }),
            None => None,
        };
        Client::build_with_tls(info, TlsCertificates { client_tls, root_cert })
            .map(Self)
            .map_err(|e| ConfigError::new("REDIS_CA", e.to_string()))
    }

    /// What connections are made with.
    pub fn client(&self) -> Client {
        self.0.clone()
    }

    fn address(reader: &Reader<'_>, tls: bool) -> Result<ConnectionInfo, ConfigError> {
        let host = reader.text("REDIS_HOST").trim_matches(['[', ']']).to_owned();
        let port = reader.parsed("REDIS_PORT")?;
        let address = match tls {
            true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            false => ConnectionAddr::Tcp(host, port),
        };
        address.into_connection_info().map_err(|e| ConfigError::new("REDIS_HOST", e.to_string()))
    }

    /// Where the URL names no password, the one of the variables is used.
    fn with_user(reader: &Reader<'_>, info: ConnectionInfo) -> Result<ConnectionInfo, ConfigError> {
        let username = reader.value("REDIS_USERNAME");
        let password = reader.secret("REDIS_PASSWORD", "REDIS_PASSWORD_FILE")?;
        if info.redis_settings().password().is_some() {
            return Ok(info);
        }
        let mut redis: RedisConnectionInfo = info.redis_settings().clone();
        match (username, password) {
            (None, None) => return Ok(info),
            (Some(_), None) => return Err(reader.refused("REDIS_USERNAME", "it needs REDIS_PASSWORD, too")),
            (username, Some(password)) => {
                redis = redis.set_password(password.expose());
                if let Some(username) = username {
                    redis = redis.set_username(username);
                }
            }
        }
        Ok(info.set_redis_settings(redis))
    }
}
