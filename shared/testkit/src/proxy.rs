//! A TCP proxy between a service and a server, whose connections can be cut, or hang.

use std::net::{SocketAddr, TcpListener as StdListener};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passage {
    /// They go through.
    To(SocketAddr),
    /// They stay and bring nothing.
    Hung,
    /// They are closed.
    Cut,
}

/// A proxy on a port of its own; it runs on a thread of its own and ends with the value.
pub struct Proxy {
    port: u16,
    target: SocketAddr,
    /// Closed with the value.
    passage: watch::Sender<Passage>,
}

impl Proxy {
    /// Listens on a free port and passes everything on to `target`.
    pub fn start(target: SocketAddr) -> Self {
        let listener = StdListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        listener.set_nonblocking(true).expect("a listener for tokio");
        let (passage, seen) = watch::channel(Passage::To(target));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(serve(listener, seen));
        });
        Self { port, target, passage }
    }

    /// Port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts every connection in the middle of whatever it does, and closes new ones at once.
    pub fn cut(&self) {
        self.passage.send_replace(Passage::Cut);
    }

    /// Has connections, new ones too, bring nothing any more, as if the server hung.
    pub fn hang(&self) {
        self.passage.send_replace(Passage::Hung);
    }

    /// Lets new connections through; those that hung are closed.
    pub fn resume(&self) {
        self.lead_to(self.target);
    }

    /// Leads new connections to another server; the others are closed.
    pub fn lead_to(&self, target: SocketAddr) {
        self.passage.send_replace(Passage::To(target));
    }
}

async fn serve(listener: StdListener, seen: watch::Receiver<Passage>) {
    let listener = TcpListener::from_std(listener).expect("a listener for tokio");
    let mut closed = seen.clone();
    let accepting = async {
        loop {
            let Ok((client, _)) = listener.accept().await else { continue };
            tokio::spawn(carry(client, seen.clone()));
        }
    };
    tokio::select! {
        () = accepting => {}
        () = async { while closed.changed().await.is_ok() {} } => {}
    }
}

/// Serves one connection; dropping it closes it.
async fn carry(mut client: TcpStream, mut passage: watch::Receiver<Passage>) {
    let now = *passage.borrow_and_update();
    if let Passage::To(target) = now {
        tokio::select! {
            () = pass(&mut client, target) => return,
            // The end of the proxy is a cut, too.
            changed = passage.changed() => if changed.is_err() { return },
        }
    }
    if *passage.borrow_and_update() == Passage::Hung {
        drop(passage.changed().await);
    }
}

/// Copies both ways until one side ends.
async fn pass(client: &mut TcpStream, target: SocketAddr) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    drop((client.set_nodelay(true), server.set_nodelay(true)));
    drop(copy_bidirectional(client, &mut server).await);
}
