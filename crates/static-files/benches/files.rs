//! What a request for a file costs before anything is sent: opening, asking, reading and closing, on one thread, all in
//! memory.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use http::Method;
use http_wire::Fields;
use static_files::{Lookup, Representation, Root, Rules, SmallRead, Symlinks, Types};

fn files(c: &mut Criterion) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let deep = folder.path().join("assets/css");
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(deep.join("1k.css"), vec![b'x'; 1024]).unwrap();
    std::fs::write(deep.join("100k.css"), vec![b'x'; 100 * 1024]).unwrap();
    let path: &[u8] = b"assets/css/1k.css";

    let mut buffer = Vec::with_capacity(8192);
    let mut read = |root: &Root| {
        buffer.clear();
        let opened = root.open_cached(black_box(path)).unwrap();
        assert_eq!(
            opened.read_small(8192, &mut buffer).unwrap(),
            SmallRead::Whole
        );
        buffer.len()
    };

    let beneath = Root::new(folder.path());
    beneath.open_with(path, Lookup::Patient).unwrap();
    c.bench_function("open, read 1 KiB, close: beneath", |b| {
        b.iter(|| read(&beneath));
    });
    let follow = Root::options()
        .symlinks(Symlinks::Follow)
        .root(folder.path());
    c.bench_function("open, read 1 KiB, close: follow", |b| {
        b.iter(|| read(&follow));
    });
    let walked = Root::options()
        .kernel_containment(false)
        .root(folder.path());
    c.bench_function("open, read 1 KiB, close: walked", |b| {
        b.iter(|| read(&walked));
    });

    let full = deep.join("1k.css");
    c.bench_function("open, read 1 KiB, close: std, for comparison", |b| {
        b.iter(|| {
            let mut file = std::fs::File::open(black_box(&full)).unwrap();
            let mut buffer = Vec::with_capacity(2048);
            file.metadata().unwrap();
            std::io::Read::read_to_end(&mut file, &mut buffer).unwrap();
            buffer.len()
        });
    });

    c.bench_function("open, close", |b| {
        b.iter(|| beneath.open_cached(black_box(path)).unwrap());
    });
    c.bench_function("not found", |b| {
        b.iter(|| {
            beneath
                .open_cached(black_box(b"assets/css/none.css"))
                .unwrap_err()
        });
    });
    let types = Types::common();
    c.bench_function("content type", |b| {
        b.iter(|| types.of(black_box(path)).unwrap().len());
    });
}

fn plans(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.css"), vec![b'x'; 1024]).unwrap();
    let opened = Root::new(folder.path())
        .open_with(b"a.css", Lookup::Patient)
        .unwrap();
    let (types, rules) = (Types::common(), Rules::default());
    let mut out = Fields::with_capacity(8, 512);
    let mut answer = |request: &Fields| {
        out.clear();
        let representation =
            Representation::of(black_box(opened.metadata())).with_type(types.of(b"a.css"));
        let plan = representation.plan(&Method::GET, request, &rules);
        representation.write_fields(&plan, &mut out);
        plan.status()
    };
    let mut request = Fields::new();
    request.append("Host", "localhost").unwrap();
    c.bench_function("plan and fields: whole", |b| {
        b.iter(|| answer(&request));
    });
    request.append("If-None-Match", "\"1-1\", *").unwrap();
    c.bench_function("plan and fields: not modified", |b| {
        b.iter(|| answer(&request));
    });
    request.set("If-None-Match", "\"1-1\"").unwrap();
    request.append("Range", "bytes=10-20").unwrap();
    c.bench_function("plan and fields: one range", |b| {
        b.iter(|| answer(&request));
    });
}

criterion_group!(benches, files, plans);
criterion_main!(benches);
