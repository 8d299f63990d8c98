//! Packets over a socket, from either side. Whoever talks to a process that is killed must expect an end at any time.
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use mqtt_bridge::bridge::wire::{Connack, Connect, Decoder, Packet, Version, encode};

const MAXIMUM_PACKET_SIZE: u32 = 1 << 20;

/// One connection.
pub struct Wire {
    pub stream: TcpStream,
    decoder: Decoder,
    version: Version,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Wire {
    /// The client's side: connects, and waits for CONNACK.
    pub fn connect(address: SocketAddr, connect: Connect, patience: Duration) -> Result<(Self, Connack)> {
        let version = connect.version;
        let stream = TcpStream::connect(address)?;
        let decoder = Decoder::client(version, MAXIMUM_PACKET_SIZE);
        let mut wire = Self::over(stream, decoder, version, patience)?;
        wire.send(&Packet::Connect(Box::new(connect)));
        match wire.receive()? {
            Packet::Connack(connack) => Ok((wire, *connack)),
            other => panic!("{} instead of CONNACK", other.name()),
        }
    }

    /// The server's side: waits for CONNECT.
    pub fn accept(stream: TcpStream, patience: Duration) -> Result<(Self, Connect)> {
        let mut wire = Self::over(stream, Decoder::server(MAXIMUM_PACKET_SIZE), Version::V5, patience)?;
        match wire.receive()? {
            Packet::Connect(connect) => {
                wire.version = connect.version;
                Ok((wire, *connect))
            }
            other => panic!("{} instead of CONNECT", other.name()),
        }
    }

    fn over(stream: TcpStream, decoder: Decoder, version: Version, patience: Duration) -> Result<Self> {
        stream.set_read_timeout(Some(patience))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, decoder, version, input: Vec::new(), output: Vec::new() })
    }

    /// Sends with the next [`receive`](Self::receive) or [`flush`](Self::flush).
    pub fn send(&mut self, packet: &Packet) {
        encode(packet, self.version, &mut self.output);
    }

    pub fn flush(&mut self) -> Result<()> {
        let written = self.stream.write_all(&self.output);
        self.output.clear();
        written
    }

    /// The next packet. An end of the connection is an error; so is nothing within the patience (`WouldBlock`).
    pub fn receive(&mut self) -> Result<Packet> {
        self.flush()?;
        loop {
            let mut input = self.input.as_slice();
            let packet = self.decoder.decode(&mut input).unwrap();
            let taken = self.input.len() - input.len();
            self.input.drain(..taken);
            if let Some(packet) = packet {
                return Ok(packet);
            }
            let mut bytes = [0; 16_384];
            match self.stream.read(&mut bytes)? {
                0 => return Err(Error::from(ErrorKind::UnexpectedEof)),
                read => self.input.extend_from_slice(&bytes[..read]),
            }
        }
    }
}
