//! Serves an `nginx.conf` in a program of one's own: `cargo run -p proxy-core --example serve_configuration -- FILE [PREFIX]`.
//!
//! One thread, no master, no signals: what a program needs that embeds the engine.

use std::error::Error;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nginx_conf::{DiskLoader, Parser, Style};
use proxy_core::engine::Serving;
use proxy_core::engine::compile::{Features, Outside};
use proxy_core::engine::logs::{self, ErrorLog, Level, LogFile};
use proxy_core::engine::ports::ListenAddress;
use proxy_core::engine::process::Process;
use proxy_core::engine::zones::Zones;
use proxy_core::feature::AnyFeature;
use proxy_core::features::access_log::AccessLog;
use proxy_core::features::headers::Headers;
use proxy_core::features::index::Index;
use proxy_core::features::process_notes::ProcessNotes;
use proxy_core::features::proxy::Proxy;
use proxy_core::features::return_::Return;
use proxy_core::features::static_content::StaticContent;
use proxy_core::features::try_files::TryFiles;
use proxy_core::features::unsupported::Unsupported;
use proxy_core::features::upstream::Upstream;
use proxy_core::server::{Drain, Listener};

/// Order is behaviour: inside a phase the handlers run in this order.
const FEATURES: &[&dyn AnyFeature] = &[
    &Process,
    &ProcessNotes,
    &Unsupported,
    &Upstream,
    &AccessLog,
    &Headers,
    &Return,
    &TryFiles,
    &Proxy,
    &Index,
    &StaticContent,
];

struct World {
    prefix: PathBuf,
}

impl Outside for World {
    fn prefix(&self) -> &Path {
        &self.prefix
    }
    fn open_log(&self, path: &Path) -> io::Result<Arc<LogFile>> {
        Ok(LogFile::new(
            path.to_owned(),
            File::options().append(true).create(true).open(path)?,
        ))
    }
    fn default_error_log(&self) -> ErrorLog {
        let stderr = PathBuf::from("/dev/stderr");
        let file = self.open_log(&stderr);
        ErrorLog::new(file.into_iter().map(|file| (Level::Error, file)).collect())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let file = args.next().ok_or("name a configuration file")?;
    let prefix = args
        .next()
        .or_else(|| file.parent().map(Path::to_owned))
        .unwrap_or_default();
    let (tree, mut faults) = Parser::new(&DiskLoader).parse(&file);
    let compiled = Features::new(FEATURES).compile(
        &tree,
        &World { prefix },
        &Arc::new(Zones::default()),
        &mut faults,
    );
    eprint!(
        "{}",
        faults.render("serve_configuration", &tree.sources, Style::Line)
    );
    let compiled = compiled.ok_or("the configuration can't be used")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(logs::flush)
        .build()?;
    runtime.block_on(async {
        let serving = Serving::new(compiled.site);
        let drain = Drain::new();
        let mut tasks = tokio::task::JoinSet::new();
        for listen in compiled.listens {
            let listener = match &listen.address {
                ListenAddress::Inet(address) => {
                    Listener::new(std::net::TcpListener::bind(address)?)?
                }
                ListenAddress::Unix(path) => {
                    Listener::new(std::os::unix::net::UnixListener::bind(path)?)?
                }
            };
            let (service, drain) = (Arc::new(serving.at(listen.address)), drain.clone());
            tasks.spawn(async move { listener.serve(service, &drain).await });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok(())
    })
}
