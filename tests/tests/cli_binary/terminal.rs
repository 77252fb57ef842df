//! What is asked on a terminal, and how that is left behind.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use nix::pty::openpty;
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};

use crate::support::Cli;

/// A process that has a terminal of its own, and the person before it.
struct Terminal {
    child: Child,
    person: File,
    /// The process's end, which outlives it.
    screen: File,
    seen: String,
}

impl Terminal {
    fn start(cli: &Cli, arguments: &[&str]) -> Self {
        let pty = openpty(None, None).unwrap();
        let (person, screen) = (File::from(pty.master), File::from(pty.slave));
        let asked = cli.command(arguments);
        // The terminal of its session, so that Ctrl-C is a signal.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(asked.get_program()).args(asked.get_args()).current_dir(cli.folder());
        command.envs(asked.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(screen.try_clone().unwrap()).stdout(Stdio::null()).stderr(screen.try_clone().unwrap());
        Self { child: command.spawn().unwrap(), person, screen, seen: String::new() }
    }

    fn modes(&self) -> Termios {
        tcgetattr(&self.screen).unwrap()
    }

    fn until(&mut self, text: &str) {
        let mut bytes = [0; 1024];
        while !self.seen.contains(text) {
            let length = self.person.read(&mut bytes).unwrap();
            self.seen.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
        }
    }

    fn types(&mut self, keys: &[u8]) {
        self.person.write_all(keys).unwrap();
    }

    fn code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

/// Whoever gives up at the question sees again what is typed.
#[test]
fn the_echo_comes_back_after_an_answer_and_after_ctrl_c() {
    let cli = Cli::new();
    let ask = ["secret", "set", "db-password"];
    for (keys, code) in [(&b"half of i\x03"[..], 130), (b"\x1c\x1acorrect-horse\n", 0)] {
        let mut terminal = Terminal::start(&cli, &ask);
        let before = terminal.modes();
        assert!(before.local_flags.contains(LocalFlags::ECHO));
        terminal.until("value of `db-password`: ");
        assert!(!terminal.modes().local_flags.contains(LocalFlags::ECHO), "what is typed is shown");
        terminal.types(keys);
        assert_eq!(terminal.code(), Some(code), "{keys:?}");
        assert_eq!(terminal.modes(), before, "{keys:?}");
        if code == 0 {
            terminal.until("db-password`");
            assert!(!terminal.seen.contains("horse"), "{}", terminal.seen);
        } else {
            cli.run(&["secret", "show", "db-password"]).refused(64, &["there is no"]);
        }
    }
    assert_eq!(cli.json(&["secret", "show", "db-password"])["version"], 1);
}
