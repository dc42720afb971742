//! One file over HTTP: resumed where it broke off, checked, and put in its place whole or not at
//! all.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::http::{HeaderMap, Response, StatusCode, header};
use ureq::{Agent, Body};

use super::error::FetchError;
use super::places::{Found, Place};
use super::source::WeightSource;
use crate::files::{self, sync_folder};
use crate::hash::hash_file;
use crate::interrupt::Interrupt;
use crate::photos::{Content, sniff};

/// No network's weights are larger; what is larger is not weights.
const MOST_BYTES: u64 = 8 << 30;
/// Attempts in a row that bring nothing new before the download is given up.
const FRUITLESS_ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(300);
const CONNECT: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_secs(30);

/// How far a download is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// Bytes that have arrived, those of earlier attempts included.
    pub received: u64,
    /// Bytes of the whole file, where the server says so.
    pub total: Option<u64>,
}

/// A file to be downloaded.
pub(super) struct Job<'a> {
    pub(super) source: &'a WeightSource<'a>,
    pub(super) url: &'a str,
    pub(super) folder: &'a Path,
    pub(super) by_hand: String,
}

/// How one request ended.
enum Attempt {
    Complete,
    /// The connection broke; what has arrived is kept.
    Broken {
        fruitful: bool,
        why: String,
    },
    /// What was kept does not belong to the file any more, and is gone.
    StartAgain,
}

impl Job<'_> {
    /// Downloads the file, or waits for another process that is downloading it.
    pub(super) fn run(
        &self,
        interrupt: &Interrupt,
        progress: &mut dyn FnMut(Transfer),
    ) -> Result<Found, FetchError> {
        fs::create_dir_all(self.folder).map_err(|cause| self.write_error(self.folder, cause))?;
        let target = self.folder.join(self.source.file_name);
        let _lock = self.lock(interrupt)?;
        // Whoever held the lock before may have brought the file.
        if let Some(found) = self.finished(&target, Place::Cache)? {
            return Ok(found);
        }
        let kept_before = self.kept();
        self.transfer(interrupt, progress)?;
        match self.put_in_place(&target) {
            // A wrong hash may come from what an earlier run left behind; a fresh download decides.
            Err(FetchError::WrongHash { .. }) if kept_before > 0 => {
                self.transfer(interrupt, progress)?;
                self.put_in_place(&target)
            }
            result => result,
        }
    }

    fn part(&self) -> PathBuf {
        self.folder.join(format!("{}.part", self.source.file_name))
    }

    /// Beside the part lies the server's name for this version of the file, to resume that and no
    /// other.
    fn tag(&self) -> PathBuf {
        self.folder
            .join(format!("{}.part.etag", self.source.file_name))
    }

    fn kept(&self) -> u64 {
        fs::metadata(self.part()).map_or(0, |metadata| metadata.len())
    }

    fn forget(&self) {
        let _ = fs::remove_file(self.part());
        let _ = fs::remove_file(self.tag());
    }

    fn write_error(&self, path: &Path, cause: io::Error) -> FetchError {
        FetchError::Write {
            path: path.to_owned(),
            cause,
        }
    }

    /// Keeps other processes from writing the same part.
    fn lock(&self, interrupt: &Interrupt) -> Result<File, FetchError> {
        let path = self.folder.join(format!("{}.lock", self.source.file_name));
        let file = File::create(&path).map_err(|cause| self.write_error(&path, cause))?;
        loop {
            match file.try_lock() {
                // File systems that cannot lock are left to luck; the hash is checked in any case.
                Ok(()) | Err(TryLockError::Error(_)) => return Ok(file),
                Err(TryLockError::WouldBlock) => {
                    interrupt.check()?;
                    std::thread::sleep(PAUSE);
                }
            }
        }
    }

    /// The file in its place, if it is there and the right one.
    fn finished(&self, target: &Path, place: Place) -> Result<Option<Found>, FetchError> {
        if !target.is_file() {
            return Ok(None);
        }
        let sha256 = hash_file(target).map_err(|cause| self.write_error(target, cause))?;
        let found = Found {
            path: target.to_owned(),
            place,
            sha256,
        };
        Ok(self.source.matches(sha256).then_some(found))
    }

    fn put_in_place(&self, target: &Path) -> Result<Found, FetchError> {
        let part = self.part();
        let failed = |cause| self.write_error(&part, cause);
        let sha256 = hash_file(&part).map_err(failed)?;
        if !self.source.matches(sha256) {
            self.forget();
            return Err(FetchError::WrongHash {
                url: self.url.into(),
                found: sha256.to_string(),
                wanted: self.source.sha256_prefix.unwrap_or_default().into(),
                by_hand: self.by_hand.clone(),
            });
        }
        fs::rename(&part, target).map_err(|cause| self.write_error(target, cause))?;
        sync_folder(self.folder);
        let _ = fs::remove_file(self.tag());
        Ok(Found {
            path: target.to_owned(),
            place: Place::Download,
            sha256,
        })
    }

    /// Requests the file, again and again if need be, until all of it lies in the part.
    fn transfer(
        &self,
        interrupt: &Interrupt,
        progress: &mut dyn FnMut(Transfer),
    ) -> Result<(), FetchError> {
        let agent = agent(self.url);
        let mut fruitless = 0;
        let mut restarts = 0;
        loop {
            interrupt.check()?;
            let why = match self.attempt(&agent, interrupt, progress)? {
                Attempt::Complete => return Ok(()),
                Attempt::StartAgain if restarts < FRUITLESS_ATTEMPTS => {
                    restarts += 1;
                    continue;
                }
                Attempt::StartAgain => "the server keeps changing its mind".into(),
                Attempt::Broken { fruitful: true, .. } => {
                    fruitless = 0;
                    continue;
                }
                Attempt::Broken {
                    fruitful: false,
                    why,
                } => why,
            };
            fruitless += 1;
            if fruitless >= FRUITLESS_ATTEMPTS {
                return Err(self.gave_up(why));
            }
            std::thread::sleep(PAUSE * fruitless);
        }
    }

    fn gave_up(&self, cause: String) -> FetchError {
        let (url, by_hand) = (self.url.to_owned(), self.by_hand.clone());
        match self.kept() {
            0 => FetchError::Unreachable {
                url,
                cause,
                by_hand,
            },
            received => FetchError::BrokenOff {
                url,
                received,
                by_hand,
            },
        }
    }

    fn attempt(
        &self,
        agent: &Agent,
        interrupt: &Interrupt,
        progress: &mut dyn FnMut(Transfer),
    ) -> Result<Attempt, FetchError> {
        let kept = self.kept();
        let mut request = agent.get(self.url);
        if kept > 0 {
            request = request.header(header::RANGE, format!("bytes={kept}-"));
            if let Ok(tag) = fs::read_to_string(self.tag()) {
                request = request.header(header::IF_RANGE, tag);
            }
        }
        let response = match request.call() {
            Ok(response) => response,
            Err(error) => {
                return Ok(Attempt::Broken {
                    fruitful: false,
                    why: error.to_string(),
                });
            }
        };
        let (from, total) = match response.status() {
            StatusCode::OK => (0, length(response.headers())),
            StatusCode::PARTIAL_CONTENT => match content_range(response.headers()) {
                Some((from, total)) if from == kept => (from, total),
                // An answer to another question: ask for everything.
                _ => {
                    self.forget();
                    return Ok(Attempt::StartAgain);
                }
            },
            // What is kept reaches the end of the file, or beyond it.
            StatusCode::RANGE_NOT_SATISFIABLE if kept > 0 => {
                if content_range(response.headers()).is_some_and(|(_, total)| total == Some(kept)) {
                    return Ok(Attempt::Complete);
                }
                self.forget();
                return Ok(Attempt::StartAgain);
            }
            status if status.is_server_error() => {
                return Ok(Attempt::Broken {
                    fruitful: false,
                    why: format!("status {status}"),
                });
            }
            status => {
                return Err(FetchError::Status {
                    url: self.url.into(),
                    status: status.as_u16(),
                    by_hand: self.by_hand.clone(),
                });
            }
        };
        if total.is_some_and(|total| total > MOST_BYTES) {
            return Err(FetchError::TooLarge {
                url: self.url.into(),
            });
        }
        self.receive(response, from, total, interrupt, progress)
    }

    /// Writes what arrives behind the first `from` bytes of the part.
    fn receive(
        &self,
        response: Response<Body>,
        from: u64,
        total: Option<u64>,
        interrupt: &Interrupt,
        progress: &mut dyn FnMut(Transfer),
    ) -> Result<Attempt, FetchError> {
        let web_page = || FetchError::WebPage {
            url: self.url.into(),
            by_hand: self.by_hand.clone(),
        };
        let text = |name| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        if text(header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/html")) {
            return Err(web_page());
        }
        let path = self.part();
        let failed = |cause| self.write_error(&path, cause);
        // A weak tag ("W/…") says that two versions are alike, not that they are equal.
        let tag = text(header::ETAG)
            .filter(|tag| !tag.starts_with("W/"))
            .map(str::to_owned);
        if from == 0 {
            self.forget();
            if let Some(tag) = tag {
                files::write(&self.tag(), tag.as_bytes()).map_err(|error| failed(error.cause))?;
            }
        }
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(failed)?;
        let mut body = response
            .into_body()
            .into_with_config()
            .limit(MOST_BYTES)
            .reader();
        let mut buffer = vec![0; 256 * 1024];
        let mut received = from;
        let broken = loop {
            progress(Transfer { received, total });
            interrupt.check()?;
            match body.read(&mut buffer) {
                Ok(0) => break None,
                Ok(read) => {
                    // Some portals label their page as a download.
                    if received == 0 && sniff(&buffer[..read]) == Content::Other("a web page") {
                        drop(file);
                        self.forget();
                        return Err(web_page());
                    }
                    file.write_all(&buffer[..read]).map_err(failed)?;
                    received += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Some(error.to_string()),
            }
        };
        file.sync_all().map_err(failed)?;
        let missing = total.is_some_and(|total| received < total);
        if broken.is_some() || missing {
            let why = broken.unwrap_or_else(|| "the connection was closed early".into());
            return Ok(Attempt::Broken {
                fruitful: received > from,
                why,
            });
        }
        Ok(Attempt::Complete)
    }
}

fn agent(url: &str) -> Agent {
    Agent::config_builder()
        .user_agent(concat!("rekindle/", env!("CARGO_PKG_VERSION")))
        // Compressed on the way, the file would have other lengths and ranges.
        .accept_encoding("identity")
        .http_status_as_error(false)
        // A redirect must not lead from https to http.
        .https_only(url.starts_with("https:"))
        .timeout_connect(Some(CONNECT))
        .timeout_recv_response(Some(SILENCE))
        .timeout_per_read(Some(SILENCE))
        .build()
        .into()
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// First byte and total of `Content-Range: bytes 100-199/200` or `bytes */200`.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = text.trim().strip_prefix("bytes")?.trim().split_once('/')?;
    let from = match range {
        "*" => 0,
        range => range.split_once('-')?.0.trim().parse().ok()?,
    };
    Some((from, total.trim().parse().ok()))
}
