//! A small web server for the page: static files from one folder, on this machine only.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use thiserror::Error;
use tiny_http::{Header, Method, Request, Response, Server as HttpServer, StatusCode};

use crate::interrupt::Interrupt;
use crate::ui::ExitCode;

/// Requests answered at once. A browser opens six connections to one host.
const WORKERS: usize = 6;
/// How often workers look whether they should stop.
const LOOK_UP: Duration = Duration::from_millis(200);

/// What a page that names no policy of its own may do: nothing leaves it.
const DEFAULT_POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; \
     connect-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; worker-src 'self'; \
     object-src 'none'; base-uri 'none'; form-action 'none'";

/// Why the page cannot be served.
#[derive(Debug, Error)]
pub enum ServeError {
    /// There is no page in the folder.
    #[error("there is no index.html in {}", .0.display())]
    NoPage(PathBuf),
    /// Another program listens on the port.
    #[error("port {0} is in use by another program")]
    PortInUse(u16),
    /// The port cannot be opened.
    #[error("cannot listen on port {port} ({cause})")]
    Listen {
        /// The port.
        port: u16,
        /// What the operating system says.
        #[source]
        cause: io::Error,
    },
    /// The server could not be started.
    #[error("cannot start the web server ({0})")]
    Start(String),
}

impl ServeError {
    /// How the program should end.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::NoPage(_) => ExitCode::Data,
            _ => ExitCode::Io,
        }
    }

    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NoPage(_) => Some("build the page first with `cargo xtask web`".into()),
            Self::PortInUse(port) => Some(format!(
                "stop that program, or choose another port with `--port {}`; 0 takes any free one",
                port.checked_add(1).unwrap_or(8000)
            )),
            Self::Listen { port, .. } if *port < 1024 => Some(
                "ports under 1024 belong to the system; choose a higher one with `--port`".into(),
            ),
            Self::Listen { .. } | Self::Start(_) => {
                Some("choose another port with `--port`; 0 takes any free one".into())
            }
        }
    }
}

/// A server that listens but does not answer yet.
pub struct Server {
    http: HttpServer,
    address: SocketAddr,
    root: PathBuf,
    policy: String,
}

impl Server {
    /// Listens on 127.0.0.1 at `port`; 0 takes any free one.
    ///
    /// # Errors
    /// [`ServeError`]: no page in `folder`, or no such port to be had. Another port is never tried
    /// silently.
    pub fn bind(folder: &Path, port: u16) -> Result<Self, ServeError> {
        let no_page = || ServeError::NoPage(folder.to_owned());
        let root = fs::canonicalize(folder).map_err(|_| no_page())?;
        let page = fs::read_to_string(root.join("index.html")).map_err(|_| no_page())?;
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|cause| match cause.kind() {
                io::ErrorKind::AddrInUse => ServeError::PortInUse(port),
                _ => ServeError::Listen { port, cause },
            })?;
        let address = listener
            .local_addr()
            .map_err(|cause| ServeError::Listen { port, cause })?;
        let http = HttpServer::from_listener(listener, None)
            .map_err(|error| ServeError::Start(error.to_string()))?;
        // One policy, written once: in the page, where it also holds on other hosts.
        let policy = policy_of(&page).unwrap_or_else(|| DEFAULT_POLICY.to_owned());
        Ok(Self {
            http,
            address,
            root,
            policy,
        })
    }

    /// The address to open in a browser.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Answers requests until the user interrupts.
    pub fn run(&self, interrupt: &Interrupt) {
        std::thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    while !interrupt.is_raised() {
                        match self.http.recv_timeout(LOOK_UP) {
                            Ok(Some(request)) => self.answer(request),
                            Ok(None) => {}
                            // A connection that failed before its request came; the next one may do
                            // better.
                            Err(_) => std::thread::sleep(LOOK_UP),
                        }
                    }
                });
            }
        });
    }

    fn answer(&self, request: Request) {
        let result = match self.look_up(&request) {
            Answer::File { file, mime, tag } => {
                let headers = [("Content-Type", mime), ("ETag", &tag)];
                request.respond(self.finish(Response::from_file(file), &headers))
            }
            Answer::NotModified(tag) => {
                request.respond(self.finish(Response::empty(304), &[("ETag", &tag)]))
            }
            Answer::Moved(place) => {
                request.respond(self.finish(Response::empty(301), &[("Location", &place)]))
            }
            Answer::Refused(status, text) => {
                let response = Response::from_string(text).with_status_code(StatusCode(status));
                request.respond(self.finish(response, &[("Allow", "GET, HEAD")]))
            }
        };
        // The browser has gone away; there is nobody to tell.
        drop(result);
    }

    /// Adds `headers` and those that every answer carries.
    fn finish<R: io::Read>(&self, response: Response<R>, headers: &[(&str, &str)]) -> Response<R> {
        let common = [
            // The page is rebuilt under the same names, so the browser asks each time; mostly it
            // hears "not modified".
            ("Cache-Control", "no-cache"),
            ("Content-Security-Policy", &self.policy),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
        ];
        // Weights do not get shorter by chunks, and a length shows the page how far it is.
        let response = response.with_chunked_threshold(usize::MAX);
        with_headers(with_headers(response, headers), &common)
    }

    fn look_up(&self, request: &Request) -> Answer {
        if !matches!(request.method(), Method::Get | Method::Head) {
            return Answer::Refused(405, "only GET and HEAD");
        }
        const MISSING: Answer = Answer::Refused(404, "not found");
        let Some(place) = place(request.url()) else {
            return MISSING;
        };
        // Links may point anywhere; what they lead to must lie under the root all the same.
        let Ok(mut path) = fs::canonicalize(self.root.join(&place)) else {
            return MISSING;
        };
        if !path.starts_with(&self.root) {
            return MISSING;
        }
        if path.is_dir() {
            let (url, query) = split_query(request.url());
            if !url.ends_with('/') {
                // Without the slash the page's relative addresses would point beside it. Leading
                // slashes are made one: `//host` would be another host.
                return Answer::Moved(format!("/{}/{query}", url.trim_start_matches('/')));
            }
            path.push("index.html");
        }
        let Ok(file) = File::open(&path) else {
            return MISSING;
        };
        let Some(tag) = tag(&file) else {
            return MISSING;
        };
        let asked = request
            .headers()
            .iter()
            .find(|h| h.field.equiv("If-None-Match"));
        if asked.is_some_and(|asked| asked.value.as_str().split(',').any(|t| t.trim() == tag)) {
            return Answer::NotModified(tag);
        }
        Answer::File {
            file,
            mime: mime(&path),
            tag,
        }
    }
}

enum Answer {
    File {
        file: File,
        mime: &'static str,
        tag: String,
    },
    NotModified(String),
    Moved(String),
    Refused(u16, &'static str),
}

/// Adds header lines; one that cannot go over the wire (not ASCII, or broken over lines) is left
/// out.
fn with_headers<R: io::Read>(response: Response<R>, headers: &[(&str, &str)]) -> Response<R> {
    let wire = |text: &str| !text.contains(|c: char| c.is_ascii_control());
    let lines = headers.iter().filter(|(_, value)| wire(value));
    let lines = lines.filter_map(|(name, value)| Header::from_bytes(*name, *value).ok());
    lines.fold(response, Response::with_header)
}

/// The file's size and date make a tag good enough to notice a rebuilt page.
fn tag(file: &File) -> Option<String> {
    let metadata = file.metadata().ok().filter(fs::Metadata::is_file)?;
    let since = metadata
        .modified()
        .ok()?
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Some(format!("\"{:x}-{:x}\"", metadata.len(), since.as_nanos()))
}

fn split_query(url: &str) -> (&str, &str) {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    url.split_at(end)
}

/// The relative path that a request's target names, or nothing if it names something outside or
/// hidden.
fn place(url: &str) -> Option<PathBuf> {
    let (path, _) = split_query(url);
    let path = percent_decoded(path.strip_prefix('/')?)?;
    let mut place = PathBuf::new();
    for part in path.split('/') {
        // Backslashes, colons and dots in front mean something on some system; none of our files
        // needs them.
        if part.starts_with('.') || part.contains(['\\', ':', '\0']) {
            return None;
        }
        place.push(part);
    }
    place
        .components()
        .all(|c| matches!(c, Component::Normal(_)))
        .then_some(place)
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn mime(path: &Path) -> &'static str {
    let extension = path
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "wasm" => "application/wasm",
        "txt" | "md" | "tsv" | "ts" | "wgsl" => "text/plain; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

/// The content security policy that a page's `<meta>` tag declares.
fn policy_of(page: &str) -> Option<String> {
    let lower = page.to_ascii_lowercase();
    let named = lower.find("http-equiv=\"content-security-policy\"")?;
    let start = lower[..named].rfind("<meta")?;
    let end = named + lower[named..].find('>')?;
    let content = start + lower[start..end].find("content=\"")? + "content=\"".len();
    let policy = &page[content..content + page[content..].find('"')?];
    Some(policy.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use super::*;

    const PAGE: &str = "<!doctype html>\n<meta http-equiv=\"Content-Security-Policy\"\n  \
        content=\"default-src 'none';\n    connect-src 'self'\">\n<h1>Rekindle</h1>";

    /// Sends one raw request (clients tidy paths up before they send them) and returns head and
    /// body.
    fn ask(server: &Server, request: &str) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(server.address).unwrap();
        write!(
            stream,
            "{request}\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        (
            String::from_utf8(answer[..end].to_vec()).unwrap(),
            answer[end + 4..].to_vec(),
        )
    }

    fn with_server(test: impl FnOnce(&Server, &Path)) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("www");
        fs::create_dir_all(root.join("pkg")).unwrap();
        fs::write(root.join("index.html"), PAGE).unwrap();
        fs::write(root.join("pkg/a b.wasm"), b"\0asm").unwrap();
        fs::write(root.join("model.safetensors"), vec![7; 100_000]).unwrap();
        fs::write(root.join(".hidden"), "secret").unwrap();
        fs::write(folder.path().join("secret.txt"), "secret").unwrap();
        let server = Server::bind(&root, 0).unwrap();
        let interrupt = Interrupt::new();
        std::thread::scope(|scope| {
            scope.spawn(|| server.run(&interrupt));
            // Also stops the server if the test panics.
            struct Stop<'a>(&'a Interrupt);
            impl Drop for Stop<'_> {
                fn drop(&mut self) {
                    self.0.raise();
                }
            }
            let _stop = Stop(&interrupt);
            test(&server, &root);
        });
    }

    #[test]
    fn the_page_comes_with_its_own_policy_and_the_right_types() {
        with_server(|server, _| {
            let (head, body) = ask(server, "GET /?device=cpu HTTP/1.1");
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            assert_eq!(body, PAGE.as_bytes());
            for line in [
                "Content-Type: text/html; charset=utf-8",
                "Content-Security-Policy: default-src 'none'; connect-src 'self'",
                "Cache-Control: no-cache",
                "X-Content-Type-Options: nosniff",
            ] {
                assert!(head.contains(line), "no {line} in {head}");
            }
            let (head, body) = ask(server, "GET /pkg/a%20b.wasm HTTP/1.1");
            assert!(head.contains("Content-Type: application/wasm"), "{head}");
            assert_eq!(body, b"\0asm");
        });
    }

    #[test]
    fn head_tells_the_length_without_the_file() {
        with_server(|server, _| {
            let (head, body) = ask(server, "HEAD /model.safetensors HTTP/1.1");
            assert!(head.contains("Content-Length: 100000"), "{head}");
            assert!(head.contains("application/octet-stream"), "{head}");
            assert!(body.is_empty());
            let (head, body) = ask(server, "GET /model.safetensors HTTP/1.1");
            assert!(head.contains("Content-Length: 100000"), "{head}");
            assert_eq!(body.len(), 100_000);
        });
    }

    #[test]
    fn an_unchanged_file_is_not_sent_twice_and_a_changed_one_is() {
        with_server(|server, root| {
            let (head, _) = ask(server, "GET /index.html HTTP/1.1");
            let tag = head
                .lines()
                .find_map(|l| l.strip_prefix("ETag: "))
                .unwrap()
                .to_owned();
            let again = format!("GET / HTTP/1.1\r\nIf-None-Match: {tag}");
            let (head, body) = ask(server, &again);
            assert!(
                head.starts_with("HTTP/1.1 304") && body.is_empty(),
                "{head}"
            );
            fs::write(root.join("index.html"), "a new page").unwrap();
            let (head, body) = ask(server, &again);
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            assert_eq!(body, b"a new page");
        });
    }

    #[test]
    fn nothing_outside_the_folder_is_ever_served() {
        with_server(|server, root| {
            #[cfg(unix)]
            std::os::unix::fs::symlink(root.join("../secret.txt"), root.join("link.txt")).unwrap();
            assert!(root.join("../secret.txt").exists());
            for target in [
                "/../secret.txt",
                "/%2e%2e/secret.txt",
                "/..%2fsecret.txt",
                "/%2e%2e%2fsecret.txt",
                "/pkg/../../secret.txt",
                "/pkg/%2e%2e/%2e%2e/secret.txt",
                "/..\\secret.txt",
                "/..%5csecret.txt",
                "/%252e%252e/secret.txt",
                "//etc/passwd",
                "/%2fetc/passwd",
                "/C:/Windows/win.ini",
                "/index.html%00.txt",
                "/.hidden",
                "/%ff",
                "/%zz",
                "/%2",
                "/link.txt",
                "/missing",
            ] {
                let (head, body) = ask(server, &format!("GET {target} HTTP/1.1"));
                assert!(head.starts_with("HTTP/1.1 404"), "{target}: {head}");
                assert_eq!(body, b"not found", "{target}");
            }
        });
    }

    #[test]
    fn folders_get_their_slash_and_other_methods_are_refused() {
        with_server(|server, _| {
            let (head, _) = ask(server, "GET /pkg?x=1 HTTP/1.1");
            assert!(
                head.starts_with("HTTP/1.1 301") && head.contains("Location: /pkg/?x=1"),
                "{head}"
            );
            let (head, _) = ask(server, "GET /pkg/ HTTP/1.1");
            assert!(head.starts_with("HTTP/1.1 404"), "{head}");
            let (head, _) = ask(server, "POST / HTTP/1.1\r\nContent-Length: 0");
            assert!(
                head.starts_with("HTTP/1.1 405") && head.contains("Allow: GET, HEAD"),
                "{head}"
            );
        });
    }

    #[test]
    fn many_requests_at_once_are_all_answered() {
        with_server(|server, _| {
            std::thread::scope(|scope| {
                for _ in 0..20 {
                    scope.spawn(|| {
                        let (_, body) = ask(server, "GET /model.safetensors HTTP/1.1");
                        assert_eq!(body.len(), 100_000);
                    });
                }
            });
        });
    }

    #[test]
    fn a_port_in_use_is_named_and_no_other_is_taken() {
        with_server(|server, root| {
            let error = Server::bind(root, server.address.port()).err().unwrap();
            assert!(matches!(error, ServeError::PortInUse(port) if port == server.address.port()));
            assert!(error.help().is_some_and(|help| help.contains("--port")));
        });
        let empty = tempfile::tempdir().unwrap();
        let error = Server::bind(empty.path(), 0).err().unwrap();
        assert!(matches!(error, ServeError::NoPage(_)));
    }
}
