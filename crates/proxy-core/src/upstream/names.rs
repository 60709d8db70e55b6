//! Names of peers: looked up without holding up the start, and again when their time to live is over, without being asked.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long an answer without a time to live counts, and a failed look-up is not tried again.
const UNTOLD_TTL: Duration = Duration::from_secs(10);
/// A shorter time to live is taken for this one: nobody is asked more often.
const TTL_MIN: Duration = Duration::from_secs(1);

/// What a look-up comes to: addresses and how long they count, or why there are none, in words.
pub type LookedUp = Result<(Vec<IpAddr>, Duration), String>;

/// Where names are looked up.
pub trait Resolve: Send + Sync {
    /// Looks a name up, both kinds of addresses.
    fn look_up<'a>(&'a self, name: &'a str) -> Pin<Box<dyn Future<Output = LookedUp> + Send + 'a>>;
}

/// A name that is looked up. All users of the same name share one.
pub struct Name {
    text: String,
    resolver: Arc<dyn Resolve>,
    found: ArcSwapOption<Found>,
    /// Grows with each change of the addresses.
    version: AtomicU64,
    busy: AtomicBool,
    looked_up: Notify,
}

/// What a look-up found.
struct Found {
    addresses: Result<Vec<IpAddr>, String>,
    until: Instant,
}

impl Name {
    /// The name, shared with everybody who uses it.
    pub fn shared(text: &str) -> Arc<Self> {
        static NAMES: LazyLock<Mutex<HashMap<String, Weak<Name>>>> = LazyLock::new(Mutex::default);
        let text = text.to_ascii_lowercase();
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = names.get(&text).and_then(Weak::upgrade) {
            return name;
        }
        names.retain(|_, name| name.strong_count() > 0);
        let name = Arc::new(Self::new(&text, Arc::new(System)));
        names.insert(text, Arc::downgrade(&name));
        name
    }

    /// A name of one's own, looked up elsewhere than the system's names are.
    pub fn new(text: &str, resolver: Arc<dyn Resolve>) -> Self {
        Self {
            text: text.to_owned(),
            resolver,
            found: ArcSwapOption::empty(),
            version: AtomicU64::new(0),
            busy: AtomicBool::new(false),
            looked_up: Notify::new(),
        }
    }

    /// The name.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A number that changes with the addresses.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The addresses as last known, without waiting. Sees to it that an answer that is too old is renewed.
    pub fn addresses(self: &Arc<Self>) -> Vec<IpAddr> {
        let found = self.found.load();
        if found
            .as_ref()
            .is_none_or(|found| found.until <= Instant::now())
        {
            self.renew();
        }
        found
            .as_ref()
            .and_then(|found| found.addresses.clone().ok())
            .unwrap_or_default()
    }

    /// Waits until the name has been looked up once.
    ///
    /// # Errors
    /// Why it has no address, in words.
    pub async fn resolved(self: &Arc<Self>) -> Result<(), String> {
        loop {
            let looked_up = self.looked_up.notified();
            if let Some(found) = &*self.found.load()
                && (found.addresses.is_ok() || found.until > Instant::now())
            {
                return found.addresses.as_ref().map(|_| ()).map_err(Clone::clone);
            }
            self.renew();
            looked_up.await;
        }
    }

    /// Looks the name up in the background, once at a time.
    fn renew(self: &Arc<Self>) {
        if self.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let name = Arc::clone(self);
        tokio::spawn(async move {
            let guard = Renewal(&name);
            let looked_up = name.resolver.look_up(&name.text).await;
            guard.done(looked_up);
        });
    }

    fn keep(&self, looked_up: LookedUp) {
        let before = self.found.load();
        let now = Instant::now();
        let found = match looked_up {
            Ok((addresses, ttl)) => Found {
                addresses: Ok(addresses),
                until: now + ttl.max(TTL_MIN),
            },
            // What was good stays good while the name server can't be reached.
            Err(why) => {
                let old = before
                    .as_ref()
                    .and_then(|before| before.addresses.clone().ok());
                Found {
                    addresses: old.ok_or(why),
                    until: now + UNTOLD_TTL,
                }
            }
        };
        let changed = before
            .as_ref()
            .is_none_or(|before| before.addresses != found.addresses);
        self.found.store(Some(Arc::new(found)));
        if changed {
            self.version.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// A look-up under way; a runtime that ends in the middle must not leave the name busy for ever.
struct Renewal<'n>(&'n Name);

impl Renewal<'_> {
    fn done(self, looked_up: LookedUp) {
        self.0.keep(looked_up);
    }
}

impl Drop for Renewal<'_> {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
        self.0.looked_up.notify_waiters();
    }
}

/// The names that this machine knows.
struct System;

impl Resolve for System {
    fn look_up<'a>(&'a self, name: &'a str) -> Pin<Box<dyn Future<Output = LookedUp> + Send + 'a>> {
        Box::pin(look_up(name))
    }
}

/// The hosts file and DNS first, which tell how long an answer counts; then whatever the system knows beyond them.
async fn look_up(name: &str) -> LookedUp {
    let resolver = resolver();
    let by_dns = match &resolver {
        Some(resolver) => resolver
            .lookup_ip(name)
            .await
            .map_err(|error| error.to_string()),
        None => Err("no usable /etc/resolv.conf".to_owned()),
    };
    if let Ok(found) = &by_dns {
        let mut addresses: Vec<IpAddr> = found.iter().collect();
        addresses.sort();
        addresses.dedup();
        if !addresses.is_empty() {
            let ttl = found
                .valid_until()
                .saturating_duration_since(std::time::Instant::now());
            return Ok((addresses, ttl.min(Duration::from_secs(3600))));
        }
    }
    let system = tokio::net::lookup_host((name, 0)).await;
    let mut addresses: Vec<IpAddr> = system
        .map(|found| found.map(|address| address.ip()).collect())
        .unwrap_or_default();
    addresses.sort();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(by_dns
            .err()
            .unwrap_or_else(|| "it has no address".to_owned()));
    }
    Ok((addresses, UNTOLD_TTL))
}

/// Each thread has its own: its sockets belong to the thread's runtime.
fn resolver() -> Option<Arc<TokioResolver>> {
    thread_local! {
        static RESOLVER: RefCell<Option<Arc<TokioResolver>>> = const { RefCell::new(None) };
    }
    RESOLVER.with_borrow_mut(|resolver| {
        if resolver.is_none() {
            let mut builder = TokioResolver::builder_tokio().ok()?;
            builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
            // Each name keeps its own answer.
            builder.options_mut().cache_size = 0;
            *resolver = Some(Arc::new(builder.build().ok()?));
        }
        resolver.clone()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[tokio::test]
    async fn the_name_of_this_machine_is_found_and_shared() {
        let name = Name::shared("LOCALHOST");
        assert!(Arc::ptr_eq(&name, &Name::shared("localhost")));
        name.resolved().await.expect("localhost has an address");
        assert!(name.addresses().iter().all(IpAddr::is_loopback));
        assert!(!name.addresses().is_empty());
        assert_eq!(name.version(), 1);
    }

    #[tokio::test]
    async fn a_name_without_address_says_why() {
        let name = Name::shared("no-such-name.invalid");
        let why = name
            .resolved()
            .await
            .expect_err("the top-level domain is reserved for this");
        assert!(!why.is_empty());
        assert!(name.addresses().is_empty());
    }

    /// Answers as told, and counts how often it was asked.
    #[derive(Default)]
    struct Script {
        answers: Mutex<VecDeque<LookedUp>>,
        asked: AtomicUsize,
        held: AtomicBool,
    }

    impl Script {
        fn new(answers: impl IntoIterator<Item = LookedUp>) -> Arc<Self> {
            Arc::new(Self {
                answers: Mutex::new(answers.into_iter().collect()),
                ..Self::default()
            })
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::Relaxed)
        }
    }

    impl Resolve for Script {
        fn look_up<'a>(
            &'a self,
            _name: &'a str,
        ) -> Pin<Box<dyn Future<Output = LookedUp> + Send + 'a>> {
            Box::pin(async move {
                self.asked.fetch_add(1, Ordering::Relaxed);
                while self.held.load(Ordering::Relaxed) {
                    tokio::task::yield_now().await;
                }
                let mut answers = self.answers.lock().unwrap();
                answers
                    .pop_front()
                    .unwrap_or_else(|| Err("script is over".to_owned()))
            })
        }
    }

    fn at(last: u8) -> IpAddr {
        [127, 0, 0, last].into()
    }

    fn good(last: u8, seconds: u64) -> LookedUp {
        Ok((vec![at(last)], Duration::from_secs(seconds)))
    }

    fn bad(why: &str) -> LookedUp {
        Err(why.to_owned())
    }

    /// Lets look-ups under way come to their end.
    async fn settle(name: &Arc<Name>) {
        while name.busy.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn is_looked_up_again_when_its_time_to_live_is_over() {
        let script = Script::new([good(1, 30), good(2, 30)]);
        let name = Arc::new(Name::new("app", script.clone()));
        name.resolved().await.unwrap();
        tokio::time::advance(Duration::from_secs(29)).await;
        assert_eq!(name.addresses(), [at(1)]);
        settle(&name).await;
        assert_eq!((script.asked(), name.version()), (1, 1));
        tokio::time::advance(Duration::from_secs(2)).await;
        // Nobody waits for the second look-up: the old address is good until there is a new one.
        assert_eq!(name.addresses(), [at(1)]);
        settle(&name).await;
        assert_eq!(name.addresses(), [at(2)]);
        assert_eq!((script.asked(), name.version()), (2, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_good_stays_good_while_look_ups_fail() {
        let script = Script::new([good(1, 5), bad("timed out"), good(1, 5)]);
        let name = Arc::new(Name::new("app", script.clone()));
        name.resolved().await.unwrap();
        for asked in [2, 3] {
            tokio::time::advance(UNTOLD_TTL).await;
            assert_eq!(name.addresses(), [at(1)]);
            settle(&name).await;
            assert_eq!(name.addresses(), [at(1)]);
            assert_eq!(script.asked(), asked);
            name.resolved().await.unwrap();
        }
        assert_eq!(name.version(), 1, "the addresses never changed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_was_never_found_is_tried_again_after_a_while() {
        let script = Script::new([bad("no such name"), good(7, 60)]);
        let name = Arc::new(Name::new("app", script.clone()));
        assert_eq!(name.resolved().await, Err("no such name".to_owned()));
        // The failure counts for a while, too: nobody waits anew for it.
        assert_eq!(name.resolved().await, Err("no such name".to_owned()));
        assert_eq!(script.asked(), 1);
        tokio::time::advance(UNTOLD_TTL).await;
        assert_eq!(name.resolved().await, Ok(()));
        assert_eq!(name.addresses(), [at(7)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_to_live_of_nothing_counts_as_a_second() {
        let script = Script::new([good(1, 0), good(2, 0)]);
        let name = Arc::new(Name::new("app", script.clone()));
        name.resolved().await.unwrap();
        tokio::time::advance(TTL_MIN / 2).await;
        assert_eq!(name.addresses(), [at(1)]);
        settle(&name).await;
        assert_eq!(script.asked(), 1);
        tokio::time::advance(TTL_MIN).await;
        name.addresses();
        settle(&name).await;
        assert_eq!((script.asked(), name.addresses()), (2, vec![at(2)]));
    }

    #[tokio::test]
    async fn many_who_ask_at_once_cause_one_look_up() {
        let script = Script::new([good(1, 60)]);
        script.held.store(true, Ordering::Relaxed);
        let name = Arc::new(Name::new("app", script.clone()));
        let waiting: Vec<_> = (0..10)
            .map(|_| {
                let name = Arc::clone(&name);
                tokio::spawn(async move { name.resolved().await })
            })
            .collect();
        while script.asked() == 0 {
            assert!(name.addresses().is_empty(), "asking does not wait");
            tokio::task::yield_now().await;
        }
        script.held.store(false, Ordering::Relaxed);
        for waiter in waiting {
            waiter.await.unwrap().unwrap();
        }
        assert_eq!(script.asked(), 1);
    }

    #[test]
    fn a_look_up_that_was_cut_off_does_not_block_the_next() {
        let script = Script::new([good(1, 60)]);
        script.held.store(true, Ordering::Relaxed);
        let name = Arc::new(Name::new("app", script.clone()));
        let runtime = || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
        };
        runtime().unwrap().block_on(async {
            name.addresses();
            while script.asked() == 0 {
                tokio::task::yield_now().await;
            }
        });
        script.held.store(false, Ordering::Relaxed);
        runtime().unwrap().block_on(name.resolved()).unwrap();
        assert_eq!(script.asked(), 2);
    }
}
