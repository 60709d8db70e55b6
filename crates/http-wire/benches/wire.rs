//! Time for the hot paths of a server: a request head read, a response head read and written, chunks read and written.
//!
//! `httparse` is the yardstick for heads. It leaves the fields where they are; ours are copied, recognised and checked against the
//! policy (`Host`, repetitions) in the same time budget. The third line adds what an owner of `httparse`'s result usually does next.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_wire::chunked::{self, ChunkLimits, Decoder, Event};
use http_wire::head::{HeadLimits, RequestHead, RequestParser, ResponseHead, ResponseParser};
use http_wire::path::{Normalise, normalise};
use http_wire::{Known, body, date::HttpDate, encode};

const SHORT: &[u8] = b"GET /index.html HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";

const BROWSER: &[u8] = b"GET /static/css/shop.css?v=20261121 HTTP/1.1\r\n\
Host: shop.example.com\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
Accept: text/css,*/*;q=0.1\r\n\
Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Connection: keep-alive\r\n\
Referer: https://shop.example.com/products/blue-teapot\r\n\
Cookie: sessionid=ps2k8g4w2kq0x9c8d7f6s5a4; csrftoken=Hq3b1x0Yq5s9a7d2f4g6h8j0k1l3z5x7\r\n\
Sec-Fetch-Dest: style\r\n\
Priority: u=2\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
Server: appserver\r\n\
Date: Sat, 21 Nov 2026 07:00:00 GMT\r\n\
Connection: keep-alive\r\n\
Content-Type: text/html; charset=utf-8\r\n\
X-Frame-Options: DENY\r\n\
Content-Length: 1024\r\n\
Vary: Cookie\r\n\
X-Content-Type-Options: nosniff\r\n\
Referrer-Policy: same-origin\r\n\
Cross-Origin-Opener-Policy: same-origin\r\n\r\n";

fn requests(c: &mut Criterion) {
    for (name, wire) in [("short", SHORT), ("browser", BROWSER)] {
        let mut group = c.benchmark_group(format!("request head, {name}"));
        group.throughput(Throughput::Bytes(wire.len() as u64));
        let mut parser = RequestParser::new(HeadLimits::default());
        let mut head = RequestHead::default();
        group.bench_function("http-wire", |b| {
            b.iter(|| parser.parse(black_box(wire), &mut head).unwrap().unwrap());
        });
        group.bench_function("http-wire and framing", |b| {
            b.iter(|| {
                parser.parse(black_box(wire), &mut head).unwrap().unwrap();
                (body::request_framing(&head).unwrap(), head.persists())
            });
        });
        group.bench_function("httparse", |b| {
            b.iter(|| {
                let mut fields = [httparse::EMPTY_HEADER; 64];
                let mut request = httparse::Request::new(&mut fields);
                request.parse(black_box(wire)).unwrap().unwrap()
            });
        });
        group.bench_function("httparse and HeaderMap", |b| {
            b.iter(|| {
                let mut fields = [httparse::EMPTY_HEADER; 64];
                let mut request = httparse::Request::new(&mut fields);
                request.parse(black_box(wire)).unwrap().unwrap();
                let method = Method::from_bytes(request.method.unwrap().as_bytes()).unwrap();
                let mut map = HeaderMap::with_capacity(request.headers.len());
                for field in request.headers.iter() {
                    let name = HeaderName::from_bytes(field.name.as_bytes()).unwrap();
                    map.append(name, HeaderValue::from_bytes(field.value).unwrap());
                }
                (method, map)
            });
        });
    }
}

fn responses(c: &mut Criterion) {
    let mut group = c.benchmark_group("response head");
    group.throughput(Throughput::Bytes(RESPONSE.len() as u64));
    let mut parser = ResponseParser::new(HeadLimits::default());
    let mut head = ResponseHead::default();
    group.bench_function("http-wire", |b| {
        b.iter(|| {
            parser
                .parse(black_box(RESPONSE), &mut head)
                .unwrap()
                .unwrap()
        });
    });
    group.bench_function("httparse", |b| {
        b.iter(|| {
            let mut fields = [httparse::EMPTY_HEADER; 64];
            let mut response = httparse::Response::new(&mut fields);
            response.parse(black_box(RESPONSE)).unwrap().unwrap()
        });
    });
    let mut out = Vec::with_capacity(1024);
    group.bench_function("written as it was read", |b| {
        b.iter(|| {
            out.clear();
            encode::response_head(black_box(&head), &mut out);
            out.len()
        });
    });
    let mut changed = head.clone();
    group.bench_function("copied, four fields changed, written", |b| {
        b.iter(|| {
            out.clear();
            changed.clone_from(black_box(&head));
            changed.fields.remove(Known::Connection);
            changed.fields.set(Known::Server, "edge").unwrap();
            changed
                .fields
                .set(Known::Date, HttpDate::from_unix(1_795_244_400).text())
                .unwrap();
            changed.fields.append("X-Cache", "MISS").unwrap();
            encode::response_head(&changed, &mut out);
            out.len()
        });
    });
}

fn chunks(c: &mut Criterion) {
    let mut wire = Vec::new();
    for _ in 0..64 {
        chunked::write_chunk(&[b'x'; 1000], &mut wire);
    }
    wire.extend_from_slice(chunked::LAST_CHUNK);
    let mut group = c.benchmark_group("64 chunks of 1000 bytes");
    group.throughput(Throughput::Bytes(wire.len() as u64));
    let mut decoder = Decoder::new(ChunkLimits::default());
    group.bench_function("decode", |b| {
        b.iter(|| {
            decoder.reset();
            let mut rest = black_box(&wire[..]);
            let mut length = 0;
            loop {
                let step = decoder.decode(rest).unwrap();
                match step.event {
                    Event::Data(range) => length += range.len(),
                    Event::NeedMore => unreachable!(),
                    Event::End => break length,
                }
                rest = &rest[step.used..];
            }
        });
    });
    let mut out = Vec::with_capacity(wire.len());
    let data = [b'x'; 1000];
    group.bench_function("encode", |b| {
        b.iter(|| {
            out.clear();
            for _ in 0..64 {
                chunked::write_chunk(black_box(&data), &mut out);
            }
            out.len()
        });
    });
}

fn values(c: &mut Criterion) {
    c.bench_function("date, written", |b| {
        b.iter(|| HttpDate::from_unix(black_box(1_795_244_400)).text());
    });
    c.bench_function("date, read", |b| {
        b.iter(|| HttpDate::parse(black_box(b"Sat, 21 Nov 2026 07:00:00 GMT")).unwrap());
    });
    c.bench_function("path, plain", |b| {
        b.iter(|| {
            normalise(black_box(b"/static/css/shop.css"), Normalise::default())
                .unwrap()
                .len()
        });
    });
    c.bench_function("path, encoded", |b| {
        b.iter(|| {
            normalise(
                black_box(b"/static/../media/a%20b//c.png"),
                Normalise::default(),
            )
            .unwrap()
            .len()
        });
    });
}

criterion_group!(benches, requests, responses, chunks, values);
criterion_main!(benches);
