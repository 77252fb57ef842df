//! A listener that misbehaves on purpose: it says nothing, says nonsense, or follows a script and hangs up.
//!
//! It stands for peers that no real server can be made to be. Everything else is tested against real servers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::Result;

/// A listener on a free port of 127.0.0.1, gone when dropped.
#[derive(Debug)]
pub struct StandIn {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl StandIn {
    /// Runs `serve` on a thread of its own for each connection.
    pub fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let serve = Arc::new(serve);
        let accepting = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if stop.load(Ordering::Acquire) {
                    return;
                }
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || serve(stream));
            }
        });
        Ok(Self { address, stopping, accepting: Some(accepting) })
    }

    /// Accepts, and never says a word.
    pub fn silent() -> Result<Self> {
        Self::start(|stream| drain(&stream))
    }

    /// Says `words` to whoever connects, and then only listens.
    pub fn babbling(words: &'static [u8]) -> Result<Self> {
        Self::start(move |mut stream| {
            // The peer may have hung up already; that is its good right.
            let _ = stream.write_all(words);
            drain(&stream);
        })
    }

    /// Says `words` and hangs up.
    pub fn hanging_up_after(words: &'static [u8]) -> Result<Self> {
        Self::start(move |mut stream| {
            let _ = stream.write_all(words);
        })
    }

    /// Passes connections on to `server`, and cuts them as `cut` says.
    pub fn cutting(server: SocketAddr, cut: CutAfter) -> Result<Self> {
        Self::start(move |client| {
            // An error means that one of the two has hung up, which is a cut as well.
            let _ = pass_on(&client, server, cut);
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port of 127.0.0.1 on which it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

/// When a connection that is passed on is cut.
#[derive(Clone, Copy, Debug)]
pub enum CutAfter {
    /// Once the server has sent that many bytes.
    Answered(u64),
    /// Once the client has sent that many bytes.
    Asked(u64),
}

fn pass_on(client: &TcpStream, server: SocketAddr, cut: CutAfter) -> std::io::Result<()> {
    let upstream = TcpStream::connect(server)?;
    let (asked, answered) = match cut {
        CutAfter::Asked(bytes) => (bytes, u64::MAX),
        CutAfter::Answered(bytes) => (u64::MAX, bytes),
    };
    let (asking, answering) =
        ((client.try_clone()?, upstream.try_clone()?), (upstream.try_clone()?, client.try_clone()?));
    let copy = |(from, mut to): (TcpStream, TcpStream), bytes| {
        move || {
            let _ = std::io::copy(&mut (&from).take(bytes), &mut to);
            // Both directions end with the first one.
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        }
    };
    std::thread::spawn(copy(asking, asked));
    copy(answering, answered)();
    Ok(())
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // Wakes the accept; where even that fails, the thread is already gone.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// How a scripted FTP server ends a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FtpEnding {
    /// Says 226 although it sent less than SIZE had announced.
    FalseComplete,
    /// Says 426, as a server does that lost the data connection.
    Aborted,
    /// Hangs up the control connection without a word.
    HangUp,
    /// Keeps the data connection open and silent.
    Stall,
    /// Names somebody else's address in the answer to PASV, sends everything, says 226.
    ForeignAddress,
}

/// What a scripted FTP server announces as SIZE.
pub const FTP_STAND_IN_SIZE: usize = 1000;

/// A scripted FTP server with one file of [`FTP_STAND_IN_SIZE`] bytes, whose downloads end as `ending` says.
pub fn ftp_stand_in(ending: FtpEnding) -> Result<StandIn> {
    StandIn::start(move |stream| {
        // An error here means that the client has hung up, which ends the conversation.
        let _ = converse(&stream, ending);
    })
}

fn converse(stream: &TcpStream, ending: FtpEnding) -> std::io::Result<()> {
    let mut say = stream;
    let data = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    say.write_all(b"220 ready\r\n")?;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        match line.split(' ').next().unwrap_or_default() {
            "USER" => say.write_all(b"331 password\r\n")?,
            "PASS" => say.write_all(b"230 in\r\n")?,
            "TYPE" => say.write_all(b"200 ok\r\n")?,
            "SIZE" => say.write_all(format!("213 {FTP_STAND_IN_SIZE}\r\n").as_bytes())?,
            "PASV" => {
                let port = data.local_addr()?.port();
                let host = if ending == FtpEnding::ForeignAddress { "192,0,2,1" } else { "127,0,0,1" };
                say.write_all(format!("227 passive ({host},{},{})\r\n", port >> 8, port & 255).as_bytes())?;
            }
            "RETR" => {
                say.write_all(b"150 here\r\n")?;
                let (mut sender, _) = data.accept()?;
                let part = if ending == FtpEnding::ForeignAddress { FTP_STAND_IN_SIZE } else { FTP_STAND_IN_SIZE / 2 };
                sender.write_all(&vec![b'x'; part])?;
                match ending {
                    FtpEnding::Stall => drain(&sender),
                    FtpEnding::HangUp => return Ok(()),
                    FtpEnding::Aborted => {
                        drop(sender);
                        say.write_all(b"426 lost it\r\n")?;
                    }
                    FtpEnding::FalseComplete | FtpEnding::ForeignAddress => {
                        drop(sender);
                        say.write_all(b"226 done\r\n")?;
                    }
                }
            }
            _ => say.write_all(b"500 what\r\n")?,
        }
    }
    Ok(())
}

/// Reads until the peer hangs up.
fn drain(stream: &TcpStream) {
    let mut sink = [0; 4096];
    while matches!((&mut &*stream).read(&mut sink), Ok(read) if read > 0) {}
}
