//! A database per test, cloned from a template that is migrated once.

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection};
use strata_service::pg::MIGRATOR;
use uuid::Uuid;

use crate::servers::Servers;

/// Lock under which the template is made: one at a time on a server.
const TEMPLATE_LOCK: i64 = 0x0073_7472_6174_6131;

/// A database of one test, dropped with the value.
pub struct TestDatabase {
    name: String,
    servers: Servers,
    pool: PgPool,
}

impl TestDatabase {
    /// Creates a migrated database with a name of its own.
    pub async fn create(servers: &Servers) -> Self {
        let mut connection = servers.connect_postgres().await;
        let template = ensure_template(servers, &mut connection).await;
        let name = format!("strata_test_{}", Uuid::new_v4().simple());
        // Names are made here from hexadecimal digits: nothing to quote.
        let create = format!("create database {name} template {template}");
        connection.execute(create.as_str()).await.expect("the template can be cloned");
        let options = servers.postgres().database(&name);
        Self { pool: pool(options, 5), name, servers: servers.clone() }
    }

    /// Connections to this database.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Name of this database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Connection URL of this database, for a service.
    pub fn url(&self) -> String {
        self.servers.postgres().database(&self.name).to_url_lossy().to_string()
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let servers = self.servers.clone();
        let drop_it = format!("drop database if exists {} with (force)", self.name);
        let name = self.name.clone();
        block_on_thread(async move {
            let dropped = async {
                let mut connection = PgConnection::connect_with(&servers.postgres()).await?;
                connection.execute(drop_it.as_str()).await
            };
            if let Err(e) = dropped.await {
                eprintln!("database {name} stays: {e}");
            }
        });
    }
}

/// Runs a future to its end from a destructor, where the runtime of the test cannot be used.
pub(crate) fn block_on_thread(work: impl Future<Output = ()> + Send + 'static) {
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(work),
            Err(e) => eprintln!("nothing is cleaned up: {e}"),
        }
    });
    if thread.join().is_err() {
        eprintln!("cleaning up panicked");
    }
}

/// Runs the migrations that a database lacks.
pub async fn migrate(pool: &PgPool) {
    MIGRATOR.run(pool).await.expect("the migrations run");
}

fn pool(options: PgConnectOptions, connections: u32) -> PgPool {
    PgPoolOptions::new().max_connections(connections).connect_lazy_with(options)
}

/// Makes the template if it is not there and returns its name, which names the migrations.
async fn ensure_template(servers: &Servers, connection: &mut PgConnection) -> String {
    let checksums: Vec<u8> = MIGRATOR.iter().flat_map(|migration| migration.checksum.to_vec()).collect();
    let digest = Uuid::new_v3(&Uuid::NAMESPACE_OID, &checksums).simple().to_string();
    let name = format!("strata_template_{}", &digest[..16]);
    let locked =
        sqlx::query("select pg_advisory_lock($1)").bind(TEMPLATE_LOCK).execute(&mut *connection).await;
    locked.expect("the advisory lock");
    let known: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(&name)
        .fetch_one(&mut *connection)
        .await
        .expect("the list of databases");
    if !known {
        // Renamed when it is complete, so that a crash halfway leaves no template.
        let draft = format!("{name}_draft");
        for statement in
            [format!("drop database if exists {draft} with (force)"), format!("create database {draft}")]
        {
            connection.execute(statement.as_str()).await.expect("the draft of the template");
        }
        let migrating = pool(servers.postgres().database(&draft), 1);
        migrate(&migrating).await;
        migrating.close().await;
        let rename = format!("alter database {draft} rename to {name}");
        connection.execute(rename.as_str()).await.expect("the template gets its name");
    }
    let unlocked = sqlx::query("select pg_advisory_unlock($1)").bind(TEMPLATE_LOCK).execute(connection).await;
    unlocked.expect("the advisory lock is released");
    name
}
