//! Whether somebody in this network namespace has a connection to an address: Linux says so in /proc/net/tcp.
use std::net::SocketAddrV4;
use std::time::Duration;

use tokio::time::{sleep, timeout};

const EVERY: Duration = Duration::from_millis(20);
const ESTABLISHED: &str = "01";

/// Waits until there is an established connection to `address`; false where there was none within `patience`.
pub async fn established(address: SocketAddrV4, patience: Duration) -> bool {
    let seen = async {
        loop {
            let tables =
                ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| std::fs::read_to_string(table).unwrap_or_default());
            if tables.iter().any(|table| has(table, address)) {
                return;
            }
            sleep(EVERY).await;
        }
    };
    timeout(patience, seen).await.is_ok()
}

/// Whether a table has an established connection to an address. Addresses are in the machine's byte order, ports are
/// not; IPv6 sockets may be connected to IPv4 addresses.
fn has(table: &str, address: SocketAddrV4) -> bool {
    let ip = u32::from_ne_bytes(address.ip().octets());
    let plain = format!("{ip:08X}:{:04X}", address.port());
    let mapped = format!("0000000000000000{:08X}{plain}", u32::from_ne_bytes([0, 0, 0xff, 0xff]));
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(2);
        let remote = fields.next().unwrap_or_default();
        (remote == plain || remote == mapped) && fields.next() == Some(ESTABLISHED)
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn an_established_connection_is_found_and_others_are_not() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n\
                     \x20  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n\
                     \x20  1: 0311A8C0:C350 0200A8C0:075B 01 00000000:00000000\n\
                     \x20  2: 0311A8C0:C351 0300A8C0:075B 02 00000000:00000000\n";
        assert!(has(table, "192.168.0.2:1883".parse().unwrap()));
        assert!(!has(table, "192.168.0.2:1884".parse().unwrap()));
        assert!(!has(table, "192.168.0.3:1883".parse().unwrap()), "a SYN is no connection");
    }

    #[tokio::test]
    async fn a_real_one_is_seen() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        assert!(!established(address, Duration::from_millis(50)).await);
        let _connection = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        assert!(established(address, Duration::from_secs(5)).await);
    }
}
