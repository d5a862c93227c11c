//! A TCP proxy between a service and a server, whose connections can be cut.

use std::net::{SocketAddr, TcpListener as StdListener};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A proxy on a port of its own; it runs on a thread of its own and ends with the value.
pub struct Proxy {
    port: u16,
    /// True while connections go through; closed with the value.
    open: watch::Sender<bool>,
}

impl Proxy {
    /// Listens on a free port and passes everything on to `target`.
    pub fn start(target: SocketAddr) -> Self {
        let listener = StdListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        listener.set_nonblocking(true).expect("a listener for tokio");
        let (open, seen) = watch::channel(true);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(serve(listener, target, seen));
        });
        Self { port, open }
    }

    /// Port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts every connection in the middle of whatever it does, and closes new ones at once.
    pub fn cut(&self) {
        self.open.send_replace(false);
    }

    /// Lets new connections through.
    pub fn resume(&self) {
        self.open.send_replace(true);
    }
}

async fn serve(listener: StdListener, target: SocketAddr, seen: watch::Receiver<bool>) {
    let listener = TcpListener::from_std(listener).expect("a listener for tokio");
    let mut closed = seen.clone();
    let accepting = async {
        loop {
            let Ok((client, _)) = listener.accept().await else { continue };
            let mut open = seen.clone();
            // Dropping the client closes it.
            if !*open.borrow_and_update() {
                continue;
            }
            tokio::spawn(async move {
                tokio::select! {
                    () = pass(client, target) => {}
                    // Any change is a cut; so is the end of the proxy.
                    _ = open.changed() => {}
                }
            });
        }
    };
    tokio::select! {
        () = accepting => {}
        () = async { while closed.changed().await.is_ok() {} } => {}
    }
}

/// Copies both ways until one side ends.
async fn pass(mut client: TcpStream, target: SocketAddr) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    drop((client.set_nodelay(true), server.set_nodelay(true)));
    drop(copy_bidirectional(&mut client, &mut server).await);
}
