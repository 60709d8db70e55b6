//! A worker whose number the master learns at the very moment of its end. Alone in its file: it collects every child of the
//! process.

use std::error::Error;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Command;

use rustix::process::{WaitId, WaitIdOptions, getpid, kill_process, waitid};
use supervisor::{
    Config, Ending, Event, Exit, Master, Pid, Policy, Program, Signal, SpawnOrder, Spawned,
    WorkerId,
};

/// Tells the numbers of workers by a pipe, as a template does, when the signal comes.
struct Late {
    worker: Option<WorkerId>,
    heard: PipeReader,
    told: PipeWriter,
    strangers: Vec<Pid>,
    gone: Vec<String>,
}

impl Program for Late {
    type Order = ();
    type Report = ();

    fn spawn(&mut self, order: SpawnOrder, _: &mut Master) -> Result<Spawned, Box<dyn Error>> {
        self.worker = Some(order.worker);
        kill_process(getpid(), Signal::USR1)?;
        Ok(Spawned::Later)
    }

    /// After the waiting of this turn and before children are collected: the number is told, and the process has ended.
    fn on_signal(&mut self, _: Signal, _: &mut Master) {
        #[expect(clippy::zombie_processes, reason = "the master collects it")]
        let child = Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
        let pid = Pid::from_child(&child);
        self.told
            .write_all(&pid.as_raw_pid().to_ne_bytes())
            .unwrap();
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        rustix::io::retry_on_intr(|| waitid(WaitId::Pid(pid), ended)).unwrap();
    }

    fn on_source(&mut self, _: u64, master: &mut Master) {
        let mut pid = [0; size_of::<i32>()];
        self.heard.read_exact(&mut pid).unwrap();
        let pid = Pid::from_raw(i32::from_ne_bytes(pid)).unwrap();
        master.started(self.worker.unwrap(), pid);
    }

    fn on_child(&mut self, pid: Pid, _: Exit, master: &mut Master) {
        self.strangers.push(pid);
        master.stop(Ending::Kill);
    }

    fn on_event(&mut self, event: &Event, master: &mut Master) {
        if matches!(event, Event::Gone { .. }) {
            self.gone.push(event.to_string());
            master.stop(Ending::Kill);
        }
    }

    fn sources(&self) -> Vec<(u64, BorrowedFd<'_>)> {
        vec![(1, self.heard.as_fd())]
    }
}

#[test]
fn the_end_of_a_worker_is_never_taken_for_a_strangers() {
    let (heard, told) = std::io::pipe().unwrap();
    let mut late = Late {
        worker: None,
        heard,
        told,
        strangers: Vec::new(),
        gone: Vec::new(),
    };
    let mut master = Master::new(Config {
        policy: Policy::default(),
        workers: 1,
        lanes: 1,
        signals: vec![Signal::USR1],
    })
    .unwrap();
    master.run(&mut late).unwrap();
    assert_eq!(late.strangers, []);
    assert!(
        late.gone[0].contains("exited with code 7"),
        "{:?}",
        late.gone
    );
}
