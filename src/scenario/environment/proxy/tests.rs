use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::super::ports;
use super::*;
use crate::bridge::wire::{Ack, Packet, Version, encode};
use crate::scenario::plan::{Acknowledgement, Acknowledgements, Direction, Fault, FaultKind, Parameters, Side};

const BRIEF: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(5);

struct Setting {
    proxy: Proxy,
    client: TcpStream,
    server: TcpStream,
    remote: TcpListener,
}

fn under(kind: FaultKind, parameters: Parameters) -> Link {
    let (start, end) = (Duration::ZERO, LONG);
    Link::under([(0, &Fault { kind, on: Side::Remote, parameters, when: None, start, end })])
}

async fn setting() -> Setting {
    let remote = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut proxy = Proxy::open(ports::free().unwrap(), &remote.local_addr().unwrap().to_string()).unwrap();
    proxy.set(&Link::OPEN).await.unwrap();
    let client = TcpStream::connect(proxy.address).await.unwrap();
    let (server, _) = remote.accept().await.unwrap();
    Setting { proxy, client, server, remote }
}

impl Setting {
    async fn put(&mut self, fault: FaultKind) {
        let link = under(fault, Parameters::None);
        self.proxy.set(&link).await.unwrap();
        self.proxy.verify(link.door).await.unwrap();
    }

    async fn heal(&mut self) {
        for _ in 0..2 {
            self.proxy.set(&Link::OPEN).await.unwrap();
        }
    }

    /// The next connection that carries something; probes carry nothing.
    async fn accepted(&mut self, expected: &[u8]) -> TcpStream {
        loop {
            let (mut server, _) = timeout(LONG, self.remote.accept()).await.unwrap().unwrap();
            let mut bytes = vec![0; expected.len()];
            if server.read_exact(&mut bytes).await.is_ok() {
                assert_eq!(bytes, expected);
                return server;
            }
        }
    }
}

async fn expect(stream: &mut TcpStream, expected: &[u8]) {
    let mut bytes = vec![0; expected.len()];
    timeout(LONG, stream.read_exact(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(bytes, expected);
}

async fn expect_silence(stream: &mut TcpStream) {
    let mut byte = [0];
    assert!(timeout(BRIEF, stream.read(&mut byte)).await.is_err(), "something passed: {byte:?}");
}

async fn expect_reset(stream: &mut TcpStream) {
    let end = timeout(LONG, stream.read(&mut [0])).await.unwrap();
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

/// What stalls does so in both directions, and everything arrives in order after the heal.
async fn stalls_and_resumes(fault: FaultKind) -> Setting {
    let mut setting = setting().await;
    setting.client.write_all(b"before").await.unwrap();
    expect(&mut setting.server, b"before").await;
    setting.put(fault).await;
    setting.client.write_all(b" during").await.unwrap();
    setting.server.write_all(b"answer").await.unwrap();
    expect_silence(&mut setting.server).await;
    expect_silence(&mut setting.client).await;
    setting.client.write_all(b" still").await.unwrap();
    setting.heal().await;
    expect(&mut setting.server, b" during still").await;
    expect(&mut setting.client, b"answer").await;
    setting
}

#[tokio::test]
async fn a_cut_stalls_and_new_connections_time_out() {
    let mut setting = stalls_and_resumes(FaultKind::Cut).await;
    setting.put(FaultKind::Cut).await;
    setting.put(FaultKind::Cut).await;
    // A connection that is tried during the cut comes about at its next SYN after the heal.
    let address = setting.proxy.address;
    let trying = tokio::spawn(TcpStream::connect(address));
    sleep(BRIEF).await;
    assert!(!trying.is_finished());
    setting.heal().await;
    setting.proxy.verify(Door::Open).await.unwrap();
    let mut late = timeout(LONG, trying).await.unwrap().unwrap().unwrap();
    late.write_all(b"late").await.unwrap();
    setting.accepted(b"late").await;
}

#[tokio::test]
async fn a_disconnect_stalls_and_new_connections_are_refused() {
    let mut setting = stalls_and_resumes(FaultKind::Disconnect).await;
    setting.put(FaultKind::Disconnect).await;
    setting.put(FaultKind::Disconnect).await;
    setting.heal().await;
    setting.proxy.verify(Door::Open).await.unwrap();
}

#[tokio::test]
async fn a_pause_stalls_and_new_connections_hang_until_the_heal() {
    let mut setting = stalls_and_resumes(FaultKind::Pause).await;
    setting.put(FaultKind::Pause).await;
    let mut hanging = TcpStream::connect(setting.proxy.address).await.unwrap();
    hanging.write_all(b"CONNECT").await.unwrap();
    expect_silence(&mut hanging).await;
    setting.heal().await;
    setting.accepted(b"CONNECT").await.write_all(b"CONNACK").await.unwrap();
    expect(&mut hanging, b"CONNACK").await;
}

#[tokio::test]
async fn a_refuse_leaves_established_connections_alone() {
    let mut setting = setting().await;
    setting.put(FaultKind::Refuse).await;
    setting.client.write_all(b"goes on").await.unwrap();
    expect(&mut setting.server, b"goes on").await;
    setting.heal().await;
    setting.proxy.verify(Door::Open).await.unwrap();
    setting.client.write_all(b" and on").await.unwrap();
    expect(&mut setting.server, b" and on").await;
}

#[tokio::test]
async fn a_reset_is_seen_on_both_sides_and_by_every_new_connection() {
    let mut setting = setting().await;
    setting.put(FaultKind::Reset).await;
    expect_reset(&mut setting.client).await;
    expect_reset(&mut setting.server).await;
    setting.proxy.verify(Door::Reset).await.unwrap();
    setting.heal().await;
    setting.proxy.verify(Door::Open).await.unwrap();
}

#[tokio::test]
async fn the_end_of_a_connection_waits_for_the_heal_behind_its_bytes() {
    let mut setting = setting().await;
    setting.put(FaultKind::Cut).await;
    setting.client.write_all(b"last words").await.unwrap();
    drop(setting.client);
    expect_silence(&mut setting.server).await;
    setting.proxy.set(&Link::OPEN).await.unwrap();
    expect(&mut setting.server, b"last words").await;
    assert_eq!(timeout(LONG, setting.server.read(&mut [0])).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn a_stall_in_the_middle_of_a_flood_loses_nothing() {
    let Setting { mut proxy, mut client, mut server, .. } = setting().await;
    const TOTAL: usize = 64 << 20;
    let byte = |index: usize| (index % 251) as u8;
    let writing = tokio::spawn(async move {
        for start in (0..TOTAL).step_by(1 << 16) {
            let chunk: Vec<u8> = (start..start + (1 << 16)).map(byte).collect();
            client.write_all(&chunk).await.unwrap();
        }
        client.shutdown().await.unwrap();
    });
    let reading = tokio::spawn(async move {
        let (mut chunk, mut total) = (vec![0; 1 << 16], 0);
        loop {
            let length = server.read(&mut chunk).await.unwrap();
            if length == 0 {
                return total;
            }
            assert!(chunk[..length].iter().enumerate().all(|(index, seen)| *seen == byte(total + index)));
            total += length;
        }
    });
    for _ in 0..5 {
        sleep(Duration::from_millis(5)).await;
        proxy.set(&under(FaultKind::Cut, Parameters::None)).await.unwrap();
        sleep(Duration::from_millis(5)).await;
        proxy.set(&Link::OPEN).await.unwrap();
    }
    writing.await.unwrap();
    assert_eq!(timeout(LONG, reading).await.unwrap().unwrap(), TOTAL);
}

#[tokio::test]
async fn it_knows_how_many_connections_there_are() {
    let Setting { proxy, client, server, .. } = setting().await;
    timeout(LONG, proxy.connected()).await.unwrap();
    drop((client, server));
    timeout(LONG, proxy.doorway.passed().wait_for(|passed| *passed == 0)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_half_open_link_passes_one_way_and_new_connections_time_out() {
    let mut setting = setting().await;
    let half = under(FaultKind::HalfOpen, Parameters::HalfOpen { passes: Direction::ToRemote });
    setting.proxy.set(&half).await.unwrap();
    setting.proxy.verify(Door::TimeOut).await.unwrap();
    setting.client.write_all(b"there").await.unwrap();
    expect(&mut setting.server, b"there").await;
    setting.server.write_all(b"answer").await.unwrap();
    expect_silence(&mut setting.client).await;
    setting.heal().await;
    expect(&mut setting.client, b"answer").await;
    setting.proxy.verify(Door::Open).await.unwrap();
}

#[tokio::test]
async fn chosen_acknowledgements_are_swallowed_and_all_else_passes() {
    let mut setting = setting().await;
    let puback = |packet_id| {
        let mut bytes = Vec::new();
        encode(&Packet::Puback(Ack::success(packet_id)), Version::V4, &mut bytes);
        bytes
    };
    let only = Acknowledgements { packets: vec![Acknowledgement::Puback], every: 2 };
    setting.server.write_all(&puback(1)).await.unwrap();
    expect(&mut setting.client, &puback(1)).await;
    setting.proxy.set(&under(FaultKind::DropPackets, Parameters::DropPackets { only })).await.unwrap();
    let ping: &[u8] = &[0xD0, 0];
    setting.server.write_all(&[&puback(2), ping, &puback(3), ping].concat()).await.unwrap();
    expect(&mut setting.client, &[&puback(2), ping, ping].concat()).await;
    setting.heal().await;
    setting.server.write_all(&[puback(4), puback(5)].concat()).await.unwrap();
    expect(&mut setting.client, &[puback(4), puback(5)].concat()).await;
}

#[tokio::test]
async fn a_delay_and_a_throttle_take_their_time_and_lose_nothing() {
    let mut setting = setting().await;
    let delay = Parameters::Delay { by: BRIEF, jitter: Duration::ZERO, only: None };
    setting.proxy.set(&under(FaultKind::Delay, delay)).await.unwrap();
    let begun = std::time::Instant::now();
    setting.client.write_all(b"there").await.unwrap();
    expect(&mut setting.server, b"there").await;
    assert!(begun.elapsed() >= BRIEF, "{:?}", begun.elapsed());
    let throttle = Parameters::Throttle { bytes_per_second: 1000 };
    setting.proxy.set(&under(FaultKind::Throttle, throttle)).await.unwrap();
    let begun = std::time::Instant::now();
    setting.server.write_all(&[b'a'; 500]).await.unwrap();
    expect(&mut setting.client, &[b'a'; 500]).await;
    assert!(begun.elapsed() >= 2 * BRIEF, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_proxy_that_is_a_process_of_its_own_does_as_it_is_told() {
    let remote = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (listen, control) = (ports::free().unwrap(), ports::free().unwrap());
    let target = remote.local_addr().unwrap().to_string();
    let serving = tokio::spawn(async move { serve(listen, &target, control).await });
    let mut proxy = ProxyClient::connect(control).await.unwrap();
    let (connected, client) = tokio::join!(proxy.connected(), TcpStream::connect(listen));
    connected.unwrap();
    let (mut client, (mut server, _)) = (client.unwrap(), remote.accept().await.unwrap());
    proxy.set(&under(FaultKind::Cut, Parameters::None)).await.unwrap().unwrap();
    client.write_all(b"late").await.unwrap();
    expect_silence(&mut server).await;
    // Whoever controls it may come back later: the link stays as it is.
    drop(proxy);
    let mut proxy = ProxyClient::connect(control).await.unwrap();
    expect_silence(&mut server).await;
    proxy.set(&Link::OPEN).await.unwrap().unwrap();
    expect(&mut server, b"late").await;
    let mut stream = TcpStream::connect(control).await.unwrap();
    stream.write_all(b"nonsense\n").await.unwrap();
    expect(&mut stream, br#"{"answer":"failed","why":"not understood: "#).await;
    serving.abort();
}
