//! Sessions over TCP: where peers are, and the door that they knock at.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use fairway_core::types::Address;
use fairway_transport::{Dial, Handle};
use tokio::net::{TcpListener, TcpStream};

use crate::metrics::Metrics;

/// Where peers are.
#[derive(Clone, Debug, Default)]
pub struct AddressBook(pub BTreeMap<Address, SocketAddr>);

impl Dial for AddressBook {
    type Stream = TcpStream;

    async fn dial(&self, peer: Address) -> io::Result<TcpStream> {
        let at = self.0.get(&peer).ok_or(io::ErrorKind::AddrNotAvailable)?;
        let stream = TcpStream::connect(at).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Gives every connection to the network, for ever.
pub async fn listen(listener: TcpListener, network: Handle<TcpStream>, metrics: Metrics) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                metrics.heard(true);
                // Without it payments are slower, nothing else.
                let _ = stream.set_nodelay(true);
                network.accept(stream);
            }
            // Out of file descriptors, or the connection is gone already. Neither lasts.
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                metrics.heard(false);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Keeps a lack of file descriptors from turning into a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
