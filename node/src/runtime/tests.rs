//! A node starts over its files, answers, stops and starts again.

use super::*;
use crate::devchain::DevChain;
use crate::metrics::{Observer, serve};
use crate::rpc;
use fairway_core::driver::{Done, Step};
use fairway_core::event::Terms;
use fairway_core::input::{RequestId, Verified};
use fairway_core::types::{Amount, ChannelId, Timestamp};
use fairway_transport::SendOutcome;
use std::path::Path;

fn setup(directory: &Path) -> Setup {
    let key = SecretKey::new([7; 32], Crypto::Real).unwrap();
    let pins = crate::devchain::pins(key.address());
    let chain = ChainPin { chain_id: pins.chain_id, adjudicator: pins.adjudicator };
    Setup {
        data_dir: directory.join("node"),
        key,
        node_seed: [8; 32],
        pins,
        config: Config::default(),
        transport: transport_config(chain),
        peers: AddressBook::default(),
        chain: ChainSetup::Development(DevChain::start(Duration::from_millis(10), [].into())),
        snapshots: snapshots::Settings { every_events: 1 },
        metrics: Metrics::new(),
    }
}

async fn start(setup: &Setup) -> Result<RunningNode, StartError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    RunningNode::start(setup.clone(), listener).await
}

fn terms(setup: &Setup) -> (Terms, ChannelId) {
    let terms = Terms {
        participants: [setup.pins.me, Address::repeat_byte(9)],
        nonce: 1,
        challenge_duration: 60,
        asset: Address::ZERO,
        deposits: [Amount::wei(1), Amount::wei(2)],
    };
    let id = terms.fixed_part(setup.pins.consensus_app).channel_id();
    (terms, id)
}

/// Goal: what was answered survives the end of the process. Method: a node is killed right after an answer, and its directory
/// is free at once for the next one.
#[tokio::test]
async fn an_accepted_command_survives_a_kill() {
    let parent = tempfile::tempdir().unwrap();
    let setup = setup(parent.path());
    let node = start(&setup).await.unwrap();
    assert_eq!(node.opened().lsn, Lsn::ZERO);
    let (terms, id) = terms(&setup);
    node.handle().command(Command::Open(terms)).await.unwrap().unwrap();
    node.kill().await;

    let node = start(&setup).await.unwrap();
    assert!(node.opened().lsn >= Lsn(3), "pins, objective, prefund: {:?}", node.opened());
    let known = move |driver: &Driver| driver.node().state().channel(id).map(|c| c.signed);
    let waited = timeout(Duration::from_secs(10), node.handle().when(known)).await;
    assert!(waited.unwrap().unwrap().is_some());
    node.kill().await;
}

/// Goal: a start goes on from the newest snapshot that is sound, and comes to the same. Method: a node that keeps one after every
/// event; then the newest rots, then the log goes back.
#[tokio::test]
async fn a_start_goes_on_from_a_snapshot() {
    let parent = tempfile::tempdir().unwrap();
    let setup = setup(parent.path());
    let node = start(&setup).await.unwrap();
    let (opened, id) = terms(&setup);
    node.handle().command(Command::Open(opened)).await.unwrap().unwrap();
    let prefund = |d: &Driver| d.node().state().channels().next().and_then(|c| c.signed);
    timeout(Duration::from_secs(10), node.handle().when(prefund)).await.unwrap().unwrap();
    while snapshots::list(&setup.data_dir).unwrap().len() < 2 {
        node.handle().when(|_| Some(())).await.unwrap();
    }
    node.kill().await;

    let whole = setup.data_dir.clone();
    let list = snapshots::list(&whole).unwrap();
    let [(newest, path), (older, _)] = &list[..] else { panic!("{list:?}") };
    let lines = crate::checkpoint::read(&whole).unwrap();
    assert!(lines.iter().all(crate::checkpoint::Checkpoint::verify));

    let quiet = Setup { snapshots: snapshots::Settings { every_events: 0 }, ..setup.clone() };
    let node = start(&quiet).await.unwrap();
    assert_eq!(node.opened().from, *newest);
    let known = move |d: &Driver| d.node().state().channel(id).map(|_| ());
    timeout(Duration::from_secs(10), node.handle().when(known)).await.unwrap().unwrap();
    node.kill().await;

    let good = fs::read(path).unwrap();
    let mut bytes = good.clone();
    bytes[40] ^= 1;
    fs::write(path, bytes).unwrap();
    let node = start(&quiet).await.unwrap();
    assert_eq!(node.opened().from, *older);
    node.kill().await;

    fs::write(path, good).unwrap();
    for file in ["000001.log", "tail.0", "tail.1"] {
        fs::remove_file(whole.join(file)).unwrap();
    }
    let text = start(&quiet).await.err().unwrap().to_string();
    assert!(text.contains("the log ends at record"), "{text}");

    // The snapshot of a node that lived elsewhere.
    let other = Setup { data_dir: parent.path().join("other"), ..setup.clone() };
    let node = start(&other).await.unwrap();
    let (mut more, _) = terms(&setup);
    for _ in 0..4 {
        more.nonce += 1;
        node.handle().command(Command::Open(more.clone())).await.unwrap().unwrap();
    }
    while snapshots::list(&other.data_dir).unwrap().is_empty() {
        node.handle().when(|_| Some(())).await.unwrap();
    }
    node.kill().await;
    // Into a directory of its own: a snapshot that was being written may still come into the old one.
    let mixed = parent.path().join("mixed");
    crate::files::create(&mixed).unwrap();
    for entry in fs::read_dir(&other.data_dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            fs::rename(entry.path(), mixed.join(entry.file_name())).unwrap();
        }
    }
    fs::rename(whole.join(snapshots::FOLDER), mixed.join(snapshots::FOLDER)).unwrap();
    let quiet = Setup { data_dir: mixed, ..quiet };
    let text = start(&quiet).await.err().unwrap().to_string();
    assert!(text.contains("the log is another one at record"), "{text}");
}

/// Goal: an orderly stop answers what was asked before, refuses what is asked after, and leaves a whole log. Method: commands are
/// given, the stop follows at once; the next start must know what was accepted.
#[tokio::test]
async fn a_stop_finishes_what_was_taken_and_takes_nothing_more() {
    let parent = tempfile::tempdir().unwrap();
    let setup = setup(parent.path());
    let node = start(&setup).await.unwrap();
    let handle = node.handle().clone();
    let (terms, id) = terms(&setup);
    let (asked, stopped) = tokio::join!(
        handle.command(Command::Open(terms.clone())),
        node.stop(Duration::from_secs(60))
    );
    assert_eq!(stopped.unwrap(), Stop::InOrder);
    assert_eq!(handle.command(Command::Open(terms)).await, Err(Stopped));
    asked.expect("it was in the inbox before the stop").expect("good terms");

    let node = start(&setup).await.unwrap();
    assert_eq!(node.opened().findings, []);
    let known = move |driver: &Driver| driver.node().state().channel(id).map(|c| c.signed);
    assert!(node.handle().when(known).await.unwrap().is_some());
    assert_eq!(node.stop(Duration::from_secs(60)).await.unwrap(), Stop::InOrder);
}

/// Goal: after an orderly stop nothing is learned again and nothing folded anew. Method: blocks without logs of ours wait, the node stops;
/// the next start finds them in the log, and begins at a snapshot of its end. A kill leaves no snapshot, and `every_events = 0` neither.
#[tokio::test]
async fn a_stop_writes_everything_and_a_snapshot_of_it() {
    let parent = tempfile::tempdir().unwrap();
    let rare = snapshots::Settings { every_events: 1_000_000 };
    let setup = Setup { snapshots: rare, ..setup(parent.path()) };
    let waits = |d: &Driver| (d.staged() > 0).then(|| d.node().state().lsn());
    let node = start(&setup).await.unwrap();
    let seen = timeout(Duration::from_secs(10), node.handle().when(waits)).await.unwrap().unwrap();
    node.kill().await;
    assert_eq!(snapshots::list(&setup.data_dir).unwrap(), []);
    let node = start(&setup).await.unwrap();
    assert!(node.opened().lsn < seen, "what had not been forced is lost in a crash");

    let seen = timeout(Duration::from_secs(10), node.handle().when(waits)).await.unwrap().unwrap();
    assert_eq!(node.stop(Duration::from_secs(60)).await.unwrap(), Stop::InOrder);
    let node = start(&setup).await.unwrap();
    let Opened { lsn, from, .. } = *node.opened();
    assert!(lsn >= seen, "{lsn} and {seen}");
    assert_eq!(from, lsn);
    let lines = crate::checkpoint::read(&setup.data_dir).unwrap();
    assert_eq!(lines.iter().map(|line| line.lsn).collect::<Vec<_>>(), [lsn]);
    node.kill().await;

    let never = snapshots::Settings { every_events: 0 };
    let setup = Setup { data_dir: parent.path().join("other"), snapshots: never, ..setup };
    let node = start(&setup).await.unwrap();
    assert_eq!(node.stop(Duration::from_secs(60)).await.unwrap(), Stop::InOrder);
    assert_eq!(snapshots::list(&setup.data_dir).unwrap(), []);
}

/// Goal: whoever asks a node that was told to stop hears so at once, and whoever asked before is answered. Method: the node is held in a
/// look while it is told to stop, and asked over HTTP before and after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_says_so() {
    let parent = tempfile::tempdir().unwrap();
    let setup = setup(parent.path());
    let node = start(&setup).await.unwrap();
    let handle = node.handle().clone();
    let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let settings = rpc::Settings { listen: anywhere, ..rpc::Settings::default() };
    let server = rpc::Server::start(handle.clone(), &setup.data_dir, settings).await.unwrap();
    let observer = Observer::new(setup.metrics.clone());
    observer.attach(handle.clone(), setup.data_dir.clone(), 0);
    let door = TcpListener::bind(anywhere).await.unwrap();
    let watched = door.local_addr().unwrap();
    let watcher = tokio::spawn(serve(door, observer));
    let up = |d: &Driver| d.node().state().chain().head().filter(|_| d.node().chain_is_up());
    timeout(Duration::from_secs(10), handle.when(up)).await.unwrap().unwrap();

    let _ = rustls::crypto::ring::default_provider().install_default();
    // Each request knocks anew: what is kept open says nothing about the door.
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    let http = http.pool_max_idle_per_host(0).build().unwrap();
    let ready = format!("http://{watched}/readyz");
    let call = format!("http://{}/rpc", server.tcp().unwrap());
    assert_eq!(http.get(&ready).send().await.unwrap().status(), 200);
    assert_eq!(http.post(&call).send().await.unwrap().status(), 401, "it wants a token");

    let (held, holds) = oneshot::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let mut held = Some(held);
    let holding = tokio::spawn({
        let handle = handle.clone();
        let look = move |_: &Driver| {
            held.take()?.send(()).unwrap();
            tokio::task::block_in_place(|| released.recv()).unwrap();
            Some(())
        };
        async move { handle.when(look).await }
    });
    holds.await.unwrap();
    let local = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    let local = local.unix_socket(server.socket()).build().unwrap();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"fairway_status"}"#;
    // Whoever carries a request out has a handle of its own.
    let handles = node.stopping.receiver_count();
    let before = tokio::spawn(local.post("http://localhost/rpc").body(body).send());
    while node.stopping.receiver_count() == handles {
        tokio::task::yield_now().await;
    }
    let stopping = tokio::spawn(node.stop(Duration::from_secs(60)));
    let mut told = handle.stopping.clone();
    told.wait_for(|stop| *stop).await.unwrap();

    for (request, what) in [(http.get(&ready), "\"stop\""), (http.post(&call), "-32004")] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 503);
        let text = answer.text().await.unwrap();
        assert!(
            text.contains("draining: the node was told to stop") && text.contains(what),
            "{text}"
        );
    }
    release.send(()).unwrap();
    assert_eq!(holding.await.unwrap(), Ok(()), "what was asked before is answered");
    assert_eq!(stopping.await.unwrap().unwrap(), Stop::InOrder);
    server.finish(Duration::from_secs(60)).await;
    let answer = before.await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.text().await.unwrap().contains("\"result\""), "it was asked before the stop");
    assert!(http.post(&call).send().await.unwrap_err().is_connect(), "nobody is let in any more");
    watcher.abort();
}

/// Method: no time at all is as long as any deadline that passes.
#[tokio::test]
async fn a_stop_that_takes_too_long_is_a_kill() {
    let parent = tempfile::tempdir().unwrap();
    let setup = setup(parent.path());
    let node = start(&setup).await.unwrap();
    let after = Duration::ZERO;
    assert_eq!(node.stop(after).await.unwrap(), Stop::Dropped { after });
    start(&setup).await.unwrap().kill().await;
}

/// Goal: what a node has to say when it stops reaches its peer. Method: Alice promises a channel to Bob and stops at once; Bob's
/// node must know the channel although Alice's is gone.
#[tokio::test]
async fn what_waits_for_a_peer_is_sent_before_the_end() {
    let parent = tempfile::tempdir().unwrap();
    let (mut alice, mut bob) = (setup(parent.path()), setup(parent.path()));
    bob.data_dir = parent.path().join("bob");
    bob.key = SecretKey::new([9; 32], Crypto::Real).unwrap();
    bob.pins.me = bob.key.address();
    let (door, door_of_bob) =
        (TcpListener::bind("127.0.0.1:0").await, TcpListener::bind("127.0.0.1:0").await);
    let door_of_bob = door_of_bob.unwrap();
    let at = door_of_bob.local_addr().unwrap();
    alice.peers = AddressBook([(bob.pins.me, at)].into());
    alice.chain = bob.chain.clone();
    let bobs = RunningNode::start(bob.clone(), door_of_bob).await.unwrap();
    let alices = RunningNode::start(alice.clone(), door.unwrap()).await.unwrap();
    let peer = bob.pins.me;
    let sessions = alices.sessions.clone();
    let up = move |_: &Driver| (!sessions.sessions().is_empty()).then_some(());
    timeout(Duration::from_secs(10), alices.handle().when(up)).await.unwrap().unwrap();
    let mut terms = terms(&alice).0;
    terms.participants[1] = peer;
    let id = terms.fixed_part(alice.pins.consensus_app).channel_id();
    alices.handle().command(Command::Open(terms)).await.unwrap().unwrap();
    assert_eq!(alices.stop(Duration::from_secs(60)).await.unwrap(), Stop::InOrder);
    let known = move |driver: &Driver| driver.node().state().channel(id).map(|_| ());
    timeout(Duration::from_secs(10), bobs.handle().when(known)).await.unwrap().unwrap();
    bobs.kill().await;
}

#[tokio::test]
async fn a_second_node_over_the_same_files_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let setup = setup(parent.path());
    let node = start(&setup).await.unwrap();
    let second = start(&setup).await.err();
    assert!(matches!(second, Some(StartError::Files(FilesError::InUse { .. }))));
    node.kill().await;
    start(&setup).await.unwrap().kill().await;
}

#[tokio::test]
async fn a_log_of_another_key_is_refused_with_its_directory() {
    let parent = tempfile::tempdir().unwrap();
    let mut setup = setup(parent.path());
    let node = start(&setup).await.unwrap();
    // The pins are durable once the node rests.
    node.handle().when(|d| (d.durable() > Lsn::ZERO).then_some(())).await.unwrap();
    node.kill().await;
    setup.pins.chain_id += 1;
    let text = start(&setup).await.err().unwrap().to_string();
    assert!(text.contains("/node: the log is pinned to"), "{text}");
}

#[tokio::test]
async fn a_node_that_is_gone_answers_nobody() {
    let parent = tempfile::tempdir().unwrap();
    let setup = setup(parent.path());
    let node = start(&setup).await.unwrap();
    let handle = node.handle().clone();
    node.kill().await;
    let (terms, _) = terms(&setup);
    assert_eq!(handle.command(Command::Open(terms)).await, Err(Stopped));
    assert_eq!(handle.when(|_| Some(())).await, Err(Stopped));
}

/// Goal: a wall clock that is set back while the node is stopped costs nothing but the times of log lines. Method: the log is begun by a
/// driver whose clock is an hour ahead, over the same files; then the node starts by the wall.
#[tokio::test]
async fn a_clock_that_was_set_back_over_a_restart_changes_only_times() {
    let parent = tempfile::tempdir().unwrap();
    let setup = setup(parent.path());
    let ahead = Timestamp(WallClock::start().now().0 + 3_600_000);
    let (mut terms, id) = terms(&setup);
    let mut dir = DataDir::open(&setup.data_dir).unwrap();
    let (key, config) = (setup.key.clone(), setup.config.clone());
    let files = dir.read().unwrap();
    let opened = Driver::open(&files, setup.pins, key, config, Start::Normal, ahead);
    let mut driver = opened.unwrap();
    let (request, command) = (RequestId(1), Command::Open(terms.clone()));
    driver.input(ahead, Verified::Plain(Input::Command { request, command }));
    loop {
        let done = match driver.next(ahead) {
            Step::Repair(repair) => dir.repair(&repair).map(|()| Done::Repaired),
            Step::Append(writes) => dir.append(&writes).map(|()| Done::Appended),
            Step::Sync(set) => dir.sync(&set).map(|()| Done::Synced),
            Step::Release(_) => continue,
            Step::Wait { .. } => break,
        };
        driver.done(done.unwrap());
    }
    drop((driver, dir));

    let node = start(&setup).await.unwrap();
    let signed =
        move |d: &Driver| d.node().state().channel(id).filter(|c| c.signed.is_some()).map(|_| ());
    timeout(Duration::from_secs(10), node.handle().when(signed)).await.unwrap().unwrap();
    terms.nonce += 1;
    node.handle().command(Command::Open(terms)).await.unwrap().unwrap();
    node.kill().await;
    let lines = crate::events::list(&crate::events::Source::at(&setup.data_dir)).unwrap();
    assert!(lines.windows(2).all(|w| w[0].time_ms <= w[1].time_ms), "{lines:?}");
    assert!(lines.last().unwrap().time_ms >= ahead.0);
    assert!(lines.len() >= 5, "pins, and two channels: {lines:?}");
}

/// Goal: a peer with a session that sends garbage as fast as it can costs its own messages alone: they are refused and counted, and the node
/// answers meanwhile. Method: a stranger's network over real sockets, a thousand messages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_a_peer_is_refused_and_counted() {
    const FLOOD: u64 = 1_000;
    let parent = tempfile::tempdir().unwrap();
    let setup = setup(parent.path());
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (me, at) = (setup.pins.me, door.local_addr().unwrap());
    let node = RunningNode::start(setup.clone(), door).await.unwrap();
    let stranger = SecretKey::new([9; 32], Crypto::Real).unwrap();
    let identity = Identity::new(&stranger, Crypto::Real, [3; 32]);
    let (book, clock) = (AddressBook([(me, at)].into()), WallClock::start());
    let (network, peer, mut events) =
        Network::new(setup.transport.clone(), identity, [5; 32], clock, book).unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(network.run());
    peer.connect(me).unwrap();
    let up = timeout(Duration::from_secs(10), events.next()).await.unwrap();
    assert!(matches!(up, Some(NetEvent::Up { .. })), "{up:?}");
    let flooding = tokio::spawn(async move {
        let mut sent = 0;
        while sent < FLOOD {
            match peer.send(me, vec![0xff; 1_000]) {
                SendOutcome::Queued => sent += 1,
                SendOutcome::Full => tokio::task::yield_now().await,
                other => panic!("{other:?} after {sent}"),
            }
        }
        peer
    });
    let command = node.handle().command(Command::Open(terms(&setup).0));
    timeout(Duration::from_secs(10), command).await.unwrap().unwrap().unwrap();
    let refused = |driver: &Driver| {
        let dropped: u64 = driver.node().dropped().values().sum();
        (dropped >= FLOOD).then_some(dropped)
    };
    let counted = timeout(Duration::from_secs(30), node.handle().when(refused)).await;
    assert_eq!(counted.unwrap().unwrap(), FLOOD);
    drop(flooding.await.unwrap());
    node.kill().await;
}
