//! The order of bytes, the limits, and what is seen when the disk fails.

use std::future::poll_fn;
use std::sync::{LazyLock, Mutex};

use http_body::Body as _;
use proptest::prelude::*;
use tokio::sync::mpsc;

use super::*;

type Given = Result<Frame<Bytes>, BodyError>;

struct Origin(mpsc::UnboundedReceiver<Given>);

impl http_body::Body for Origin {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Given>> {
        self.0.poll_recv(cx)
    }
}

#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Witness for Told {
    fn no_file(&self, error: &io::Error) {
        self.0.lock().unwrap().push(error.to_string());
    }
}

struct World {
    directory: tempfile::TempDir,
    told: Arc<Told>,
    origin: mpsc::UnboundedSender<Given>,
    ahead: ReadAhead,
}

fn world(memory_bytes: usize, file_bytes: u64) -> World {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let told = Arc::new(Told::default());
    let (origin, given) = mpsc::unbounded_channel();
    let terms = Ahead {
        memory_bytes,
        file_bytes,
        directory: path,
    };
    let witness = Arc::clone(&told) as Arc<dyn Witness>;
    let ahead = ReadAhead::new(Box::pin(Origin(given)), Arc::new(terms), witness);
    World {
        directory,
        told,
        origin,
        ahead,
    }
}

impl World {
    fn give(&self, bytes: impl Into<Bytes>) {
        self.origin.send(Ok(Frame::data(bytes.into()))).unwrap();
    }

    /// The client takes nothing until `enough` has been read ahead.
    async fn stall_until(&mut self, enough: impl Fn(&ReadAhead) -> bool) {
        poll_fn(|cx| {
            self.ahead.poll_ahead(cx);
            if enough(&self.ahead) {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }

    async fn next(&mut self) -> Option<Given> {
        poll_fn(|cx| self.ahead.poll_next(cx)).await
    }

    async fn rest(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(frame) = self.next().await {
            all.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
        all
    }

    /// Files of the directory that this process holds open, named or not.
    fn files(&self) -> usize {
        let directory = self.directory.path();
        let named = std::fs::read_dir(directory).unwrap().count();
        let open = std::fs::read_dir("/proc/self/fd").unwrap();
        let unnamed = open
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .filter(|path| path.starts_with(directory) && path != directory);
        named + unnamed.count()
    }
}

/// Bytes that differ wherever they are put in another order.
fn pattern(length: usize) -> Bytes {
    (0..length.div_ceil(4))
        .flat_map(|number| (number as u32).to_le_bytes())
        .take(length)
        .collect()
}

#[tokio::test]
async fn frames_pass_untouched_while_the_client_keeps_up() {
    let mut world = world(1 << 16, 1 << 20);
    let frame = pattern(1000);
    world.give(frame.clone());
    let passed = world.next().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(passed.as_ptr(), frame.as_ptr());
    assert_eq!(world.ahead.held_bytes(), (0, 0));
}

#[tokio::test]
async fn memory_is_filled_first_and_the_file_after_it_and_then_the_origin_waits() {
    let (memory, file) = (64 << 10, 300 << 10);
    let mut world = world(memory, file as u64);
    let all = pattern(4 << 20);
    (0..64).for_each(|part| world.give(all.slice(part << 16..(part + 1) << 16)));
    world
        .stall_until(|ahead| ahead.held_bytes().1 == file as u64)
        .await;
    // However often it is asked now, it takes no more.
    let mut held = world.ahead.held_bytes();
    for _ in 0..3 {
        world.stall_until(|_| true).await;
        assert_eq!(world.ahead.held_bytes(), held);
        held = world.ahead.held_bytes();
    }
    assert!(
        held.0 >= memory && held.0 <= memory + BLOCK_BYTES + (64 << 10),
        "{held:?}"
    );
    world.origin = mpsc::unbounded_channel().0;
    assert_eq!(world.rest().await, all);
    assert_eq!(world.files(), 0);
}

#[tokio::test]
async fn without_a_file_only_memory_is_used() {
    let mut world = world(10_000, 0);
    let all = pattern(100 * 1000);
    (0..100).for_each(|part| world.give(all.slice(part * 1000..(part + 1) * 1000)));
    world.stall_until(|ahead| ahead.held_bytes().0 > 0).await;
    assert_eq!(world.ahead.held_bytes(), (10_000, 0));
    assert_eq!(world.files(), 0);
    world.origin = mpsc::unbounded_channel().0;
    assert_eq!(world.rest().await, all);
}

#[tokio::test]
async fn where_no_file_can_be_made_nothing_is_lost() {
    let mut world = world(1000, 1 << 20);
    let gone = world.directory.path().to_owned();
    std::fs::remove_dir(&gone).unwrap();
    let all = pattern(1 << 20);
    (0..16).for_each(|part| world.give(all.slice(part << 16..(part + 1) << 16)));
    let told = Arc::clone(&world.told);
    world
        .stall_until(|_| !told.0.lock().unwrap().is_empty())
        .await;
    assert!(told.0.lock().unwrap()[0].contains(gone.to_str().unwrap()));
    world.origin = mpsc::unbounded_channel().0;
    std::fs::create_dir(&gone).unwrap();
    assert_eq!(world.rest().await, all);
    assert_eq!(told.0.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_failure_comes_after_what_was_read_before_it() {
    let mut world = world(1000, 1 << 20);
    let all = pattern(500_000);
    world.give(all.clone());
    world
        .origin
        .send(Err(BodyError::Incomplete("gone".into())))
        .unwrap();
    world.stall_until(|ahead| ahead.ended).await;
    let mut seen = Vec::new();
    let error = loop {
        match world.next().await.unwrap() {
            Ok(frame) => seen.extend_from_slice(&frame.into_data().unwrap()),
            Err(error) => break error,
        }
    };
    assert_eq!(seen, all);
    assert!(matches!(error, BodyError::Incomplete(why) if why == "gone"));
    assert!(world.next().await.is_none());
}

#[tokio::test]
async fn trailers_come_last() {
    let mut world = world(1000, 1 << 20);
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    world.give(pattern(3000));
    world
        .origin
        .send(Ok(Frame::trailers(trailers.clone())))
        .unwrap();
    world.origin = mpsc::unbounded_channel().0;
    world.stall_until(|ahead| ahead.held_bytes().0 > 0).await;
    // Memory is full: what is behind it is read when the client goes on.
    let mut data = 0;
    let last = loop {
        let frame = world.next().await.unwrap().unwrap();
        match frame.into_data() {
            Ok(bytes) => data += bytes.len(),
            Err(frame) => break frame.into_trailers().unwrap(),
        }
    };
    assert_eq!((data, last), (3000, trailers));
    assert!(world.next().await.is_none());
    assert!(world.ahead.is_end_stream());
}

#[tokio::test]
async fn nothing_stays_behind_when_the_client_leaves() {
    let mut world = world(1000, 8 << 20);
    (0..64).for_each(|_| world.give(pattern(1 << 16)));
    world
        .stall_until(|ahead| ahead.held_bytes().1 > 2 << 20)
        .await;
    assert_eq!(
        std::fs::read_dir(world.directory.path()).unwrap().count(),
        0
    );
    assert!(world.files() > 0);
    let (_, nothing) = mpsc::unbounded_channel();
    let (stream, ahead) = (Box::pin(Origin(nothing)), Arc::clone(&world.ahead.ahead));
    world.ahead = ReadAhead::new(stream, ahead, Arc::clone(&world.told) as Arc<dyn Witness>);
    while world.files() > 0 {
        tokio::task::yield_now().await;
    }
}

#[derive(Clone, Debug)]
enum Step {
    Give(usize),
    Stall,
    StallLong,
    Take(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0usize..70_000).prop_map(Step::Give),
        2 => Just(Step::Stall),
        2 => Just(Step::StallLong),
        3 => (1usize..6).prop_map(Step::Take),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn what_comes_is_what_goes_whatever_the_pace(
        steps in steps(),
        memory in 1usize..100_000,
        file in prop_oneof![Just(0u64), 1u64..1_000_000],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = world(memory, file);
            static ALL: LazyLock<Bytes> = LazyLock::new(|| pattern(70_000 * 60));
            let all = &*ALL;
            let (mut given, mut seen) = (0, Vec::new());
            for step in steps {
                match step {
                    Step::Give(length) => {
                        world.give(all.slice(given..given + length));
                        given += length;
                    }
                    Step::Stall => world.stall_until(|_| true).await,
                    Step::StallLong => {
                        let pause = tokio::time::sleep(PATIENCE * 2);
                        tokio::select! {
                            () = pause => {}
                            () = world.stall_until(|_| false) => {}
                        }
                    }
                    Step::Take(frames) => for _ in 0..frames {
                        // Waits only for what is sure to come.
                        if seen.len() == given { break }
                        let frame = world.next().await.unwrap().unwrap();
                        seen.extend_from_slice(&frame.into_data().unwrap());
                    },
                }
                let (memory_held, file_held) = world.ahead.held_bytes();
                prop_assert!(memory_held <= memory + BLOCK_BYTES + 2 * 70_000);
                prop_assert!(file_held <= file);
            }
            world.origin = mpsc::unbounded_channel().0;
            seen.extend(world.rest().await);
            prop_assert_eq!(&seen[..], &all[..given]);
            Ok(())
        })?;
    }
}
