//! Names of peers: looked up without holding up the start, and again when their time to live is over, without being asked.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use tokio::sync::Notify;

/// How long an answer without a time to live counts, and a failed look-up is not tried again.
const UNTOLD_TTL: Duration = Duration::from_secs(10);
/// A shorter time to live is taken for this one: nobody is asked more often.
const TTL_MIN: Duration = Duration::from_secs(1);

/// A name that is looked up. All users of the same name share one.
pub struct Name {
    text: String,
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
        let name = Arc::new(Self {
            text: text.clone(),
            found: ArcSwapOption::empty(),
            version: AtomicU64::new(0),
            busy: AtomicBool::new(false),
            looked_up: Notify::new(),
        });
        names.insert(text, Arc::downgrade(&name));
        name
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
            let looked_up = look_up(&name.text).await;
            guard.done(looked_up);
        });
    }

    fn keep(&self, looked_up: Result<(Vec<IpAddr>, Duration), String>) {
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
    fn done(self, looked_up: Result<(Vec<IpAddr>, Duration), String>) {
        self.0.keep(looked_up);
    }
}

impl Drop for Renewal<'_> {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
        self.0.looked_up.notify_waiters();
    }
}

/// The hosts file and DNS first, which tell how long an answer counts; then whatever the system knows beyond them.
async fn look_up(name: &str) -> Result<(Vec<IpAddr>, Duration), String> {
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
                .saturating_duration_since(Instant::now());
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

    #[test]
    fn what_was_good_stays_good_while_look_ups_fail() {
        let name = Name::shared("kept.invalid");
        let address: IpAddr = [127, 0, 0, 9].into();
        name.keep(Ok((vec![address], Duration::from_secs(5))));
        name.keep(Err("timed out".to_owned()));
        assert_eq!(
            name.found
                .load()
                .as_ref()
                .and_then(|found| found.addresses.clone().ok()),
            Some(vec![address])
        );
        assert_eq!(name.version(), 1);
    }
}
