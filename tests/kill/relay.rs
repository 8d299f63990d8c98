//! A relay between the bridge and its remote: whole, stalled (connections stand, no byte passes) or cut. It
//! records the packets that pass, in their order.
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use mqtt_bridge::bridge::wire::{Decoder, Packet, Version};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Whole,
    Stalled,
    Cut,
}

/// A packet that has passed.
#[derive(Debug, Clone)]
pub struct Passed {
    pub connection: u32,
    pub from_bridge: bool,
    pub packet: Packet,
}

struct State {
    mode: Mode,
    target: SocketAddr,
    /// What the bridge has said in its last CONNECT.
    version: Version,
    connections: u32,
    open: Vec<TcpStream>,
    passed: Vec<Passed>,
}

pub struct Relay {
    state: Arc<(Mutex<State>, Condvar)>,
    pub address: SocketAddr,
}

impl Relay {
    pub fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (version, open, passed) = (Version::V5, Vec::new(), Vec::new());
        let state = State { mode: Mode::Whole, target, version, connections: 0, open, passed };
        let state = Arc::new((Mutex::new(state), Condvar::new()));
        let relay = Self { state: state.clone(), address };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                accept(&state, stream.unwrap());
            }
        });
        relay
    }

    pub fn set(&self, mode: Mode) {
        let mut state = self.state.0.lock().unwrap();
        state.mode = mode;
        if mode == Mode::Cut {
            close(&mut state);
        }
        self.state.1.notify_all();
    }

    pub fn set_target(&self, target: SocketAddr) {
        self.state.0.lock().unwrap().target = target;
    }

    /// What has passed so far.
    pub fn passed(&self) -> Vec<Passed> {
        self.state.0.lock().unwrap().passed.clone()
    }
}

fn close(state: &mut State) {
    for stream in state.open.drain(..) {
        // It may be closed already.
        let _ = stream.shutdown(Shutdown::Both);
    }
}

fn accept(shared: &Arc<(Mutex<State>, Condvar)>, near: TcpStream) {
    let mut state = shared.0.lock().unwrap();
    if state.mode == Mode::Cut {
        return;
    }
    let Ok(far) = TcpStream::connect(state.target) else { return };
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    // What a process that was killed has left behind is not kept for ever.
    state.open.retain(|stream| stream.peer_addr().is_ok());
    state.open.extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
    state.connections += 1;
    let connection = state.connections;
    for (from, to, from_bridge) in [(near.try_clone().unwrap(), far.try_clone().unwrap(), true), (far, near, false)] {
        let shared = shared.clone();
        std::thread::spawn(move || pump(&shared, from, to, connection, from_bridge));
    }
}

fn pump(shared: &(Mutex<State>, Condvar), mut from: TcpStream, mut to: TcpStream, connection: u32, from_bridge: bool) {
    let mut decoder = from_bridge.then(|| Decoder::server(1 << 20));
    let (mut bytes, mut input) = (vec![0; 65_536], Vec::new());
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        let mut state = shared.0.lock().unwrap();
        while state.mode == Mode::Stalled {
            state = shared.1.wait(state).unwrap();
        }
        if state.mode == Mode::Cut {
            break;
        }
        input.extend_from_slice(&bytes[..read]);
        let mut rest = input.as_slice();
        // The broker's first word is its answer to CONNECT.
        let decoder = decoder.get_or_insert_with(|| Decoder::client(state.version, 1 << 20));
        while let Some(packet) = decoder.decode(&mut rest).unwrap() {
            if let Packet::Connect(connect) = &packet {
                state.version = connect.version;
            }
            state.passed.push(Passed { connection, from_bridge, packet });
        }
        let left = rest.len();
        input.drain(..input.len() - left);
        drop(state);
        if to.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    // What has been written still arrives; the other direction has its own end.
    let _ = to.shutdown(Shutdown::Write);
}
