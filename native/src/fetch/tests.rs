//! Downloads against a server on this machine that misbehaves in every way met in practice.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use sha2::{Digest as _, Sha256};

use super::places::Place;
use super::*;
use crate::hash::FileHash;

/// How the server treats one request; `body` is the whole file.
type Script = fn(stream: &mut TcpStream, request: &str, body: &[u8]);

/// A server written by hand, since it must do what a good one never does: break off, lie, ignore.
struct Crooked {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Crooked {
    /// Answers the n-th request as the n-th script says, and all further ones as the last.
    fn start(body: Vec<u8>, scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!(
            "http://{}/models/net-{}.pth",
            listener.local_addr().unwrap(),
            prefix(&body)
        );
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let Ok(mut stream) = stream else { continue };
                let request = read_head(&mut stream);
                log.lock().unwrap().push(request.clone());
                scripts[number.min(scripts.len() - 1)](&mut stream, &request, &body);
            }
        });
        Self { url, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

fn prefix(body: &[u8]) -> String {
    FileHash(Sha256::digest(body).into()).to_string()[..8].to_owned()
}

fn file() -> Vec<u8> {
    (0..300_000u32).map(|n| (n * 7 + n / 251) as u8).collect()
}

fn range_start(request: &str) -> Option<usize> {
    let (_, rest) = request.split_once("range: bytes=")?;
    rest.split_once('-')?.0.parse().ok()
}

fn send(stream: &mut TcpStream, head: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {head}\r\nConnection: close\r\nETag: \"v1\"\r\n\r\n");
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body));
}

/// Behaves: whole files and ranges.
fn honest(stream: &mut TcpStream, request: &str, body: &[u8]) {
    match range_start(request) {
        Some(from) if from < body.len() => {
            let (len, last) = (body.len(), body.len() - 1);
            let head = format!(
                "206 Partial\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{last}/{len}",
                len - from
            );
            send(stream, &head, &body[from..]);
        }
        Some(_) => {
            let head = format!(
                "416 No\r\nContent-Length: 0\r\nContent-Range: bytes */{}",
                body.len()
            );
            send(stream, &head, b"");
        }
        None => send(
            stream,
            &format!("200 OK\r\nContent-Length: {}", body.len()),
            body,
        ),
    }
}

/// Knows nothing of ranges.
fn whole_only(stream: &mut TcpStream, _: &str, body: &[u8]) {
    send(
        stream,
        &format!("200 OK\r\nContent-Length: {}", body.len()),
        body,
    );
}

/// Announces the file and breaks off after a third of it.
fn cut(stream: &mut TcpStream, _: &str, body: &[u8]) {
    send(
        stream,
        &format!("200 OK\r\nContent-Length: {}", body.len()),
        &body[..body.len() / 3],
    );
}

fn refuse(_: &mut TcpStream, _: &str, _: &[u8]) {}

fn missing(stream: &mut TcpStream, _: &str, _: &[u8]) {
    send(
        stream,
        "404 Not Found\r\nContent-Length: 4\r\nContent-Type: text/html",
        b"gone",
    );
}

fn portal(stream: &mut TcpStream, _: &str, _: &[u8]) {
    let page = b"<!DOCTYPE html><html><title>Welcome to our WiFi</title></html>";
    send(
        stream,
        &format!(
            "200 OK\r\nContent-Type: text/html\r\nContent-Length: {}",
            page.len()
        ),
        page,
    );
}

fn portal_in_disguise(stream: &mut TcpStream, _: &str, _: &[u8]) {
    let page = b"<html><body>Please log in</body></html>";
    let kind = "application/octet-stream";
    send(
        stream,
        &format!(
            "200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}",
            page.len()
        ),
        page,
    );
}

fn wrong(stream: &mut TcpStream, _: &str, body: &[u8]) {
    send(
        stream,
        &format!("200 OK\r\nContent-Length: {}", body.len()),
        &vec![1; body.len()],
    );
}

struct Bench {
    _folder: tempfile::TempDir,
    places: Places,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let places = Places {
            assets: vec![at("assets/weights")],
            torch_hub: Some(at("torch/hub/checkpoints")),
            cache: Some(at("cache/rekindle/weights")),
        };
        Self {
            _folder: folder,
            places,
        }
    }

    fn cache(&self) -> &Path {
        self.places.cache.as_deref().unwrap()
    }

    fn fetch(&self, server: &Crooked) -> Result<Found, FetchError> {
        self.fetch_telling(server, &Interrupt::new(), &mut |_| ())
    }

    fn fetch_telling(
        &self,
        server: &Crooked,
        interrupt: &Interrupt,
        progress: &mut dyn FnMut(Transfer),
    ) -> Result<Found, FetchError> {
        fetch(
            &WeightSource::from_url("net", &server.url),
            &self.places,
            false,
            interrupt,
            progress,
        )
    }

    fn put(&self, folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join(name), bytes).unwrap();
        folder.join(name)
    }

    /// Names of what lies in the cache, without the lock.
    fn cached(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.cache())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.ends_with(".lock"))
            .collect();
        names.sort();
        names
    }
}

#[test]
fn torchvisions_addresses_name_file_and_hash() {
    let url = "https://download.pytorch.org/models/resnet18-f37072fd.pth";
    let source = WeightSource::from_url("resnet18", url);
    assert_eq!(source.file_name, "resnet18-f37072fd.pth");
    assert_eq!(source.sha256_prefix, Some("f37072fd"));
    let source = WeightSource::from_url("x", "https://example.org/swag-vit.pth");
    assert_eq!(source.sha256_prefix, None);
}

#[test]
fn a_download_is_told_of_checked_and_kept() {
    let (bench, body) = (Bench::new(), file());
    let server = Crooked::start(body.clone(), vec![honest]);
    let mut told = Vec::new();
    let found = bench
        .fetch_telling(&server, &Interrupt::new(), &mut |t| told.push(t))
        .unwrap();
    assert_eq!(found.place, Place::Download);
    assert_eq!(fs::read(&found.path).unwrap(), body);
    assert_eq!(bench.cached(), [format!("net-{}.pth", prefix(&body))]);
    let all = body.len() as u64;
    assert_eq!(
        told.last(),
        Some(&Transfer {
            received: all,
            total: Some(all)
        })
    );
    assert!(told.is_sorted_by_key(|t| t.received));

    let again = bench.fetch(&server).unwrap();
    assert_eq!((again.place, again.sha256), (Place::Cache, found.sha256));
    assert_eq!(
        server.requests().len(),
        1,
        "asked the server for what lies in the cache"
    );
}

#[test]
fn a_cut_connection_is_taken_up_where_it_broke() {
    let (bench, body) = (Bench::new(), file());
    let server = Crooked::start(body.clone(), vec![cut, honest]);
    let found = bench.fetch(&server).unwrap();
    assert_eq!(fs::read(found.path).unwrap(), body);
    let requests = server.requests();
    assert_eq!(range_start(&requests[1]), Some(body.len() / 3));
    assert!(requests[1].contains("if-range: \"v1\""), "{}", requests[1]);
}

#[test]
fn a_later_run_goes_on_with_what_an_earlier_one_left() {
    let (bench, body) = (Bench::new(), file());
    let server = Crooked::start(body.clone(), vec![cut, refuse, refuse, refuse, honest]);
    let error = bench.fetch(&server).unwrap_err();
    let third = body.len() as u64 / 3;
    assert!(
        matches!(error, FetchError::BrokenOff { received, .. } if received == third),
        "{error}"
    );
    let found = bench.fetch(&server).unwrap();
    assert_eq!(fs::read(found.path).unwrap(), body);
    assert_eq!(
        range_start(server.requests().last().unwrap()),
        Some(body.len() / 3)
    );
}

#[test]
fn a_server_that_ignores_ranges_sends_everything_again() {
    let (bench, body) = (Bench::new(), file());
    let server = Crooked::start(body.clone(), vec![cut, whole_only]);
    assert_eq!(fs::read(bench.fetch(&server).unwrap().path).unwrap(), body);
}

#[test]
fn a_complete_part_needs_no_second_download() {
    let (bench, body) = (Bench::new(), file());
    let server = Crooked::start(body.clone(), vec![honest]);
    bench.put(
        bench.cache(),
        &format!("net-{}.pth.part", prefix(&body)),
        &body,
    );
    assert_eq!(fs::read(bench.fetch(&server).unwrap().path).unwrap(), body);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn leftovers_of_another_file_are_thrown_away() {
    let (bench, body) = (Bench::new(), file());
    let server = Crooked::start(body.clone(), vec![honest]);
    let part = format!("net-{}.pth.part", prefix(&body));
    // Shorter than the file: the sum is wrong. Longer: the server says so.
    for leftover in [vec![9; 1000], vec![9; body.len() + 1000]] {
        bench.put(bench.cache(), &part, &leftover);
        let found = bench.fetch(&server).unwrap();
        assert_eq!(fs::read(&found.path).unwrap(), body);
        fs::remove_file(found.path).unwrap();
    }
}

#[test]
fn a_wrong_file_is_refused_and_not_kept() {
    let bench = Bench::new();
    let server = Crooked::start(file(), vec![wrong]);
    let error = bench.fetch(&server).unwrap_err();
    assert!(matches!(error, FetchError::WrongHash { .. }), "{error}");
    assert!(bench.cached().is_empty(), "{:?}", bench.cached());
}

#[test]
fn login_pages_are_recognised_by_type_and_by_content() {
    for script in [portal as Script, portal_in_disguise] {
        let bench = Bench::new();
        let server = Crooked::start(file(), vec![script]);
        let error = bench.fetch(&server).unwrap_err();
        assert!(matches!(error, FetchError::WebPage { .. }), "{error}");
        assert!(bench.cached().is_empty(), "{:?}", bench.cached());
    }
}

#[test]
fn a_missing_file_and_a_dead_server_say_what_to_put_where() {
    let bench = Bench::new();
    let server = Crooked::start(file(), vec![missing]);
    let error = bench.fetch(&server).unwrap_err();
    assert!(
        matches!(error, FetchError::Status { status: 404, .. }),
        "{error}"
    );
    let help = error.help().unwrap();
    assert!(
        help.contains(&server.url) && help.contains(&bench.cache().display().to_string()),
        "{help}"
    );

    let server = Crooked::start(file(), vec![refuse]);
    let error = bench.fetch(&server).unwrap_err();
    assert!(matches!(error, FetchError::Unreachable { .. }), "{error}");
}

#[test]
fn offline_never_asks_and_names_the_file_to_put() {
    let bench = Bench::new();
    let server = Crooked::start(file(), vec![honest]);
    let source = WeightSource::from_url("net", &server.url);
    let error = fetch(&source, &bench.places, true, &Interrupt::new(), &mut |_| ()).unwrap_err();
    assert!(matches!(error, FetchError::Offline { .. }), "{error}");
    let file = bench.cache().join(source.file_name);
    assert!(error.help().unwrap().contains(&file.display().to_string()));
    assert!(server.requests().is_empty());
}

#[test]
fn an_interrupt_stops_the_download_and_keeps_what_came() {
    let (bench, body) = (Bench::new(), file());
    let server = Crooked::start(body.clone(), vec![honest]);
    let interrupt = Interrupt::new();
    let mut stop = |transfer: Transfer| {
        if transfer.received > 0 {
            interrupt.raise();
        }
    };
    let error = bench
        .fetch_telling(&server, &interrupt, &mut stop)
        .unwrap_err();
    assert!(matches!(error, FetchError::Interrupted(_)), "{error}");
    assert!(bench.cached().iter().any(|name| name.ends_with(".part")));
    assert_eq!(fs::read(bench.fetch(&server).unwrap().path).unwrap(), body);
}

#[test]
fn places_are_searched_in_order_and_damaged_files_passed_over() {
    let (bench, body) = (Bench::new(), file());
    let server = Crooked::start(body.clone(), vec![honest]);
    let source = WeightSource::from_url("net", &server.url);
    let hub = bench.places.torch_hub.clone().unwrap();
    assert_eq!(locate(&source, &bench.places), None);

    bench.put(bench.cache(), source.file_name, &body);
    assert_eq!(locate(&source, &bench.places).unwrap().place, Place::Cache);
    bench.put(&hub, source.file_name, &body[..1000]);
    assert_eq!(locate(&source, &bench.places).unwrap().place, Place::Cache);
    bench.put(&hub, source.file_name, &body);
    assert_eq!(
        locate(&source, &bench.places).unwrap().place,
        Place::TorchHub
    );
    let asset = bench.put(&bench.places.assets[0], "net.safetensors", b"converted");
    let found = locate(&source, &bench.places).unwrap();
    assert_eq!((found.place, found.path), (Place::Assets, asset));
}
