//! Starts the bridge in the order in which nothing is touched before everything is known to be right, and ends it in
//! the order in which nothing that was read is lost.
mod reload;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::cache::memory::Memory;
use super::cache::sqlite::Sqlite;
use super::cache::writer::{Outlet, Request, SharedRing, Writer};
use super::cache::{Cache, CacheError};
use super::clock::Clock;
use super::config::{self, Config, Durability};
use super::core::admission::Limits;
use super::core::forwarder::{Forwarder, Settings};
use super::core::ring::Ring;
use super::core::routes::{Routes, SharedRoutes};
use super::counters::{BridgeCounters, Shared};
use super::descriptors;
use super::hub::Hub;
use super::listener::{self, Door, LocalLeg, Policy};
use super::log::UNLIMITED;
use super::metrics;
use super::remote::{RemoteLeg, Surroundings};
use super::service;
use super::state;
use super::transport::accept::Acceptor;
use super::transport::tls::{Identities, TlsError};
use super::wills::Wills;
use super::wire::Version;

pub use reload::Reload;
use reload::{Leg, Running};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// The near end of a bridge's queue in memory.
const RING_MESSAGES: usize = 1000;
const RING_BYTES: usize = 1 << 20;
/// Between looks at what nobody asks for: messages that are too old, space that nothing needs.
const CHORES: Duration = Duration::from_secs(1);
/// How long a shutdown may take before what is not committed is given up (it was never acknowledged).
const SHUTDOWN: Duration = Duration::from_secs(8);

/// Why the bridge does not start, or does not go on.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum StartError {
    #[error("{key}: {address}: {source}; stop what uses it, or choose another address")]
    Bind { key: String, address: SocketAddr, source: std::io::Error },
    #[error("{key}: {source}")]
    Tls { key: String, source: TlsError },
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error("starting the writer of the cache: {0}")]
    Thread(std::io::Error),
    #[error(
        "the writer of the cache has ended; nothing was acknowledged since; what is cached is there at the next start"
    )]
    WriterEnded,
}

impl StartError {
    /// Whether the surroundings are at fault, and not what was configured.
    pub fn is_environment(&self) -> bool {
        match self {
            Self::Cache(error) => error.is_environment(),
            _ => true,
        }
    }
}

/// Binds without listening: nobody can connect before the cache is open.
fn bind(key: String, address: SocketAddr) -> Result<Socket, StartError> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(socket)
    };
    bind().map_err(|source| StartError::Bind { key, address, source })
}

fn listen(socket: Socket, address: SocketAddr) -> Result<TcpListener, StartError> {
    let listen = || {
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    listen().map_err(|source| StartError::Bind { key: "listen".to_owned(), address, source })
}

/// Runs a bridge, or a small broker where the configuration names no bridge, until `stop` completes; what comes from
/// `reloads` is put in force meanwhile.
///
/// # Errors
/// Where it does not start; then nothing on the disk has been changed.
pub async fn run(
    config: Config,
    reloads: mpsc::Receiver<Reload>,
    stop: impl Future<Output = ()>,
) -> Result<(), StartError> {
    let mut bound = Vec::new();
    let identities = Identities::read(&config).map_err(|(key, source)| StartError::Tls { key, source })?;
    for (index, listener) in config.listeners.iter().enumerate() {
        let acceptor = Acceptor::new(listener, identities.listeners[index].clone());
        bound.push((bind(format!("listeners[{index}].bind"), listener.bind)?, listener.clone(), acceptor));
    }
    let metrics = match &config.metrics {
        Some(metrics) => Some((bind("metrics.bind".to_owned(), metrics.bind)?, metrics.bind)),
        None => None,
    };
    match &config.cache {
        Some(cache) => {
            let (sqlite, aside) = Sqlite::open_or_set_aside(&cache.path, cache.synchronous, cache.on_corruption)?;
            if let Some(folder) = shared_folder(&cache.path) {
                warn!(
                    "cache.path: other users of this machine may write to {}: they can remove or replace the cache; \
                     chmod go-w, or a directory of its own",
                    folder.display()
                );
            }
            if let Some(aside) = aside {
                warn!("the cache was corrupted or foreign; it was set aside as {}", aside.display());
            }
            run_with(sqlite, &config, identities, bound, metrics, reloads, stop).await
        }
        None => run_with(Memory::default(), &config, identities, bound, metrics, reloads, stop).await,
    }
}

/// The directory of a cache, where others may remove or rename what is not theirs (a sticky one keeps them from that).
fn shared_folder(cache: &Path) -> Option<PathBuf> {
    let folder = cache.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mode = std::fs::metadata(folder).ok()?.permissions().mode();
    (mode & 0o022 != 0 && mode & 0o1000 == 0).then(|| folder.to_owned())
}

async fn run_with<C: Cache + 'static>(
    mut cache: C,
    config: &Config,
    identities: Identities,
    bound: Vec<(Socket, config::Listener, Acceptor)>,
    metrics: Option<(Socket, SocketAddr)>,
    mut reloads: mpsc::Receiver<Reload>,
    stop: impl Future<Output = ()>,
) -> Result<(), StartError> {
    for warning in config::warnings(config) {
        warn!(target: UNLIMITED, event = "configuration", "{warning}");
    }
    let clock = Clock::start(cache.latest()?.1);
    let counters = Shared::default();
    let hub = Hub::new(config.limits.max_memory as usize, counters.clone(), clock);
    let mut routes = Routes::default();
    let mut outlets = HashMap::new();
    let mut legs = Vec::new();
    let source = config::source_leg(config);
    let bridges = config.bridges.iter().zip(identities.bridges.iter().cloned());
    for (bridge, tls) in source.iter().map(|source| (source, None)).chain(bridges) {
        let (id, restored) = cache.bridge(&bridge.name)?;
        let is_source = source.as_ref().is_some_and(|source| std::ptr::eq(source, bridge));
        if is_source {
            routes.set_source(id);
        } else {
            routes.add(id, bridge);
        }
        let usage = cache.usage(id);
        let held = restored.held.len() as u64;
        let columns = BridgeCounters {
            name: bridge.name.clone(),
            restored: usage.messages + usage.quarantined,
            queued: usage.messages.saturating_sub(held),
            in_flight: held,
            quarantined: usage.quarantined,
            cached: usage.messages,
            cached_bytes: usage.bytes,
            server: bridge.server.to_string(),
            since: clock.now(),
            limits: config.cache.as_ref().map(|cache| (cache.max_messages, cache.max_bytes)),
            ..BridgeCounters::default()
        };
        counters.lock().bridges.insert(id, columns);
        if usage.messages > 0 {
            info!(
                bridge = bridge.name,
                event = "restored",
                "bridge {}: {} messages are cached",
                bridge.name,
                usage.messages
            );
        }
        let settings = Settings {
            bridge: id,
            version: if bridge.protocol == 4 { Version::V4 } else { Version::V5 },
            config: bridge.clone(),
            max_age: config.cache.as_ref().and_then(|cache| cache.max_age),
            seed: fastrand::u64(..),
            is_source,
        };
        let ring = Ring::new(RING_MESSAGES, RING_BYTES, restored.held.iter().map(|held| held.delivery.seq));
        let ring = SharedRing::new(ring);
        outlets.insert(id, Outlet { limits: limits(config, bridge), ring: ring.clone() });
        let forwarder = Forwarder::new(settings.clone(), restored, clock.now());
        legs.push((settings, forwarder, ring, tls));
    }
    let wills = Wills::restored(&mut cache, clock.now())?;
    let (writer, requests) = Writer::new(cache, outlets, counters.clone(), clock)?;
    let mut writer = writer.keeping(&config.sessions)?.retaining(&config.retained)?;
    if let Some(cache) = config.cache.as_ref().filter(|cache| cache.durability == Durability::Deferred) {
        writer = writer.deferring(cache.commit_after);
    }
    let pulse = writer.pulse();
    let writer =
        std::thread::Builder::new().name("cache".to_owned()).spawn(move || writer.run()).map_err(StartError::Thread)?;
    tokio::spawn(remind(requests.downgrade()));
    let routes = SharedRoutes::new(routes);
    let door = Door::new(Policy::new(config), connections(config), counters.clone(), clock);
    let mut running = Running {
        identities,
        door: door.clone(),
        hub: hub.clone(),
        config: config.clone(),
        requests: requests.downgrade(),
        routes: routes.clone(),
        legs: Vec::new(),
        counters: counters.clone(),
        listeners: Vec::new(),
        state_interval: watch::channel(config.state_interval).0,
    };
    let (stop_local, local_stopped) = watch::channel(false);
    let (stop_remote, remote_stopped) = watch::channel(false);

    let mut locals = JoinSet::new();
    let mut remotes = JoinSet::new();
    for (settings, forwarder, ring, tls) in legs {
        let (configured, to_be_configured) = mpsc::unbounded_channel();
        running.legs.push(Leg { bridge: settings.bridge, name: settings.config.name.clone(), configured });
        let with = Surroundings {
            tls,
            ring,
            requests: requests.clone(),
            hub: hub.clone(),
            routes: routes.clone(),
            configured: to_be_configured,
            counters: counters.clone(),
            clock,
        };
        let leg = RemoteLeg::new(&settings, forwarder, with);
        if settings.is_source {
            info!("the source is {}", settings.config.server);
            locals.spawn(leg.run(local_stopped.clone()));
        } else {
            remotes.spawn(leg.run(remote_stopped.clone()));
        }
    }
    let interval = running.state_interval.subscribe();
    tokio::spawn(state::publish(counters.clone(), hub.clone(), clock, interval, remote_stopped.clone()));
    let leg = LocalLeg {
        requests: requests.clone(),
        hub,
        routes,
        door,
        clock,
        wills: wills.clone(),
        shutdown: local_stopped.clone(),
    };
    locals.spawn(wills.run(leg.clone()));
    for (socket, listener, acceptor) in bound {
        let tcp = listen(socket, listener.bind)?;
        if let Ok(address) = tcp.local_addr() {
            info!("listening on {address}");
        }
        let (configured, configuration) = watch::channel(listener);
        running.listeners.push(configured);
        locals.spawn(listener::serve(tcp, configuration, acceptor, leg.clone()));
    }
    drop(leg);
    if let Some((socket, address)) = metrics {
        let tcp = listen(socket, address)?;
        if let Ok(address) = tcp.local_addr() {
            info!("metrics on http://{address}/metrics");
        }
        tokio::spawn(metrics::serve(tcp, counters.clone(), clock, local_stopped, remote_stopped));
    }
    service::ready(counters, pulse);
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            // Without its writer the bridge can keep nothing any more; whoever supervises the process starts it again.
            () = requests.closed() => return Err(StartError::WriterEnded),
            Some(Reload { config, done }) = reloads.recv() => {
                running.apply(&config).await;
                drop(done);
            }
        }
    }
    service::stopping();
    info!("stopping");
    if tokio::time::timeout(SHUTDOWN, end(stop_local, locals, stop_remote, remotes, requests)).await.is_err() {
        warn!("not everything could be committed within {SHUTDOWN:?}; none of it was acknowledged");
    } else if !matches!(tokio::task::spawn_blocking(move || writer.join()).await, Ok(Ok(()))) {
        warn!("the writer of the cache did not end in order");
    }
    info!("stopped");
    Ok(())
}

/// Tells the writer that time passes, as long as anybody else talks to it.
async fn remind(requests: mpsc::WeakSender<Request>) {
    let mut ticks = tokio::time::interval(CHORES);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(requests) = requests.upgrade() else { return };
        // A full queue: the writer is busy enough, and the next tick comes.
        let _ = requests.try_send(Request::Chores);
    }
}

/// Local clients, or the source, first, so that what they have sent is committed and acknowledged; then the remotes.
async fn end(
    stop_local: watch::Sender<bool>,
    mut locals: JoinSet<()>,
    stop_remote: watch::Sender<bool>,
    mut remotes: JoinSet<()>,
    requests: mpsc::Sender<Request>,
) {
    stop_local.send_replace(true);
    while locals.join_next().await.is_some() {}
    stop_remote.send_replace(true);
    while remotes.join_next().await.is_some() {}
    drop(requests);
}

/// How many connections the descriptors allow, once there are as many as the process may have.
fn connections(config: &Config) -> usize {
    let descriptors = match descriptors::raise() {
        Ok(descriptors) => descriptors,
        Err(error) => {
            warn!("asking how many descriptors there may be: {error}; 1024 are assumed");
            1024
        }
    };
    let (allowed, wanted) = (descriptors::connections(descriptors), config.limits.max_connections);
    info!("{descriptors} descriptors: {} connections at a time", allowed.min(wanted));
    if allowed < wanted {
        warn!(
            "limits.max_connections: {wanted}: {descriptors} descriptors allow {allowed}; raise the hard limit \
             (LimitNOFILE= of the unit, ulimit -Hn)"
        );
    }
    allowed
}

fn limits(config: &Config, bridge: &config::Bridge) -> Limits {
    let cache_qos0 = bridge.cache_qos0;
    match &config.cache {
        Some(cache) => Limits {
            max_messages: cache.max_messages,
            max_bytes: cache.max_bytes,
            max_age: cache.max_age,
            when_full: cache.when_full,
            cache_qos0,
        },
        None => Limits { cache_qos0, ..Limits::NONE },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_others_may_write_to_is_named_unless_it_is_sticky() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache.db");
        for (mode, shared) in [(0o700, false), (0o755, false), (0o775, true), (0o777, true), (0o1777, false)] {
            std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(shared_folder(&cache).is_some(), shared, "{mode:o}");
        }
    }
}
