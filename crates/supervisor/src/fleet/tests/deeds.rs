//! Whatever people and the world do to a fleet.

use proptest::prelude::*;

use super::*;

/// What people and the world do to a fleet.
#[derive(Clone, Debug)]
enum Deed {
    Run(u64),
    Reload,
    ReloadTo(usize),
    Scale(usize),
    Kill(usize),
    Leave(usize),
    Manners(Manners),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let manners = prop_oneof![
        3 => Just(GOOD),
        1 => Just(BROKEN),
        1 => Just(DEAF),
        1 => Just(Manners { spawns: false, ..GOOD }),
        1 => Just(Manners { boots: None, ..GOOD }),
        1 => Just(Manners { dies: Some((700, 0)), ..GOOD }),
    ];
    let deed = prop_oneof![
        4 => (1u64..3000).prop_map(Deed::Run),
        1 => (1u64..100_000).prop_map(Deed::Run),
        2 => Just(Deed::Reload),
        1 => (0usize..6).prop_map(Deed::ReloadTo),
        1 => (0usize..6).prop_map(Deed::Scale),
        2 => (0usize..6).prop_map(Deed::Kill),
        1 => (0usize..6).prop_map(Deed::Leave),
        2 => manners.prop_map(Deed::Manners),
    ];
    proptest::collection::vec(deed, 1..40)
}

impl Machine {
    /// Does it, and checks that nothing serves less than it must.
    fn suffer(&mut self, deed: &Deed) {
        let serving = self.serving();
        let pick = |number: usize| serving.get(number % serving.len().max(1)).copied();
        match deed {
            Deed::Run(millis) => self.run(*millis),
            Deed::Reload => self.fleet.reload(self.now),
            Deed::ReloadTo(workers) => self.fleet.reload_to(*workers, self.now),
            Deed::Scale(workers) => self.fleet.scale(*workers, self.now),
            Deed::Kill(number) => pick(*number)
                .into_iter()
                .for_each(|id| self.kill_from_outside(id)),
            Deed::Leave(number) => {
                if let Some(id) = pick(*number) {
                    self.fleet.leaving(id, self.now);
                }
            }
            Deed::Manners(manners) => self.manners = *manners,
        }
        self.obey();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever happens: everything that was spawned is gone after a stop, and the end is reported once.
    #[test]
    fn after_a_stop_nobody_is_left(deeds in deeds(), workers in 0usize..5, quick in any::<bool>()) {
        let policy = Policy { boot_attempts: None, ..Policy::default() };
        let mut machine = Machine::new(workers, policy);
        machine.fleet.start(machine.now);
        for deed in &deeds {
            machine.suffer(deed);
        }
        machine.fleet.stop(if quick { Ending::Quick } else { Ending::Graceful }, machine.now);
        machine.run(if quick { 6_000 } else { 32_000 });
        prop_assert!(machine.living.is_empty(), "{:?}", machine.living);
        prop_assert_eq!(machine.outcome, Some(Outcome::Asked));
        prop_assert_eq!(machine.disbanded.len() as u32 + 1, machine.fleet.last_generation);
        let spawned = machine.spawned.len();
        machine.run(100_000);
        prop_assert_eq!(machine.spawned.len(), spawned);
    }

    /// However broken the workers are: no seat is filled in a tight loop.
    #[test]
    fn spawning_is_never_a_tight_loop(
        life in 0u64..40, code in 0i32..5, workers in 1usize..4, ready in any::<bool>()
    ) {
        let policy = Policy { boot_attempts: None, ..Policy::default() };
        let mut machine = Machine::new(workers, policy);
        let boots = ready.then_some(0);
        machine.manners = Manners { boots, dies: Some((life, code)), obeys: true, spawns: true };
        machine.fleet.start(machine.now);
        machine.run(60_000);
        // Two at once, then pauses of 50 ms doubling to 5 s: at most 20 in a minute for each seat.
        prop_assert!(machine.spawned.len() <= workers * 20, "{}", machine.spawned.len());
    }

    /// A reload, whether it succeeds or not, never leaves fewer workers serving than before it.
    #[test]
    fn a_reload_costs_nobody(
        boots in proptest::option::of(0u64..5000), dies in proptest::option::of((0u64..5000, 0i32..3)),
        spawns in any::<bool>(), workers in 1usize..5, again in 0usize..3
    ) {
        let mut machine = Machine::running(workers);
        machine.manners = Manners { boots, dies, obeys: true, spawns };
        for _ in 0..=again {
            machine.fleet.reload(machine.now);
        }
        let mut before = machine.fleet.serving();
        for _ in 0..400 {
            machine.run(25);
            // Workers of the new generation that die by themselves are not the reload's doing.
            let old: usize = machine.fleet.workers()
                .filter(|(_, generation, phase)| *generation == Generation(1) && *phase == Phase::Serving)
                .count();
            if machine.fleet.generation() == Generation(1) {
                prop_assert_eq!(old, workers);
            } else if before > 0 {
                before = 0;
                prop_assert!(machine.fleet.serving() >= workers || dies.is_some());
            }
        }
    }

    /// Left in peace with good workers, the fleet always comes back to its full size, one worker for each seat.
    #[test]
    fn peace_brings_the_fleet_back_to_its_size(deeds in deeds(), workers in 1usize..5) {
        let policy = Policy { retire_timeout: Some(Duration::from_secs(10)), boot_attempts: Some(3), ..Policy::default() };
        let mut machine = Machine::running(workers);
        machine.fleet.set_policy(policy);
        for deed in &deeds {
            machine.suffer(deed);
        }
        machine.manners = GOOD;
        machine.run(400_000);
        prop_assert_eq!(machine.fleet.serving(), machine.fleet.target());
        prop_assert_eq!(machine.fleet.workers().count(), machine.fleet.target());
        prop_assert_eq!(machine.outcome, None);
        prop_assert!(!machine.fleet.is_reloading());
        prop_assert_eq!(machine.disbanded.len() as u32 + 1, machine.fleet.last_generation);
    }
}
