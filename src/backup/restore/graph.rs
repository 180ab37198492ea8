//! Which piece of work may run now: after what it needs, beside what it does not disturb, the longest way first.
//!
//! PostgreSQL would let two conflicting statements wait for each other on the server, each holding a connection;
//! here the second one is simply not begun, and the worker takes another piece. Pure: it knows no server.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

/// A piece of work by its number.
pub(super) type TaskId = usize;

/// What a piece of work does to a table, as PostgreSQL locks it (manual, table 13.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Lock {
    /// Reads rows.
    Read,
    /// Writes rows.
    Write,
    /// Analyses it.
    Analyze,
    /// Builds an index.
    Build,
    /// Makes a foreign key from or to it.
    Reference,
    /// Alters it.
    Alter,
}

impl Lock {
    const ALL: [Self; 6] = [Self::Read, Self::Write, Self::Analyze, Self::Build, Self::Reference, Self::Alter];

    /// Whether the two can be held at once.
    fn goes_with(self, other: Self) -> bool {
        use Lock::{Alter, Analyze, Build, Read, Reference, Write};
        match (self, other) {
            (Alter, _) | (_, Alter) => false,
            (Read, _) | (_, Read) | (Write, Write | Analyze) | (Analyze, Write) | (Build, Build) => true,
            (Write | Analyze | Build | Reference, _) => false,
        }
    }
}

/// A piece of work and what is known of it.
#[derive(Debug)]
struct Task<W> {
    work: W,
    /// The tables it locks.
    locks: Vec<(u32, Lock)>,
    /// How long it takes, in any unit that is the same for all.
    cost: u64,
    needs: Vec<TaskId>,
}

/// Pieces of work and what each needs.
#[derive(Debug)]
pub(super) struct Graph<W> {
    tasks: Vec<Task<W>>,
}

impl<W> Graph<W> {
    pub(super) fn new() -> Self {
        Self { tasks: Vec::new() }
    }

    /// Adds a piece of work that locks tables and may begin when all it `needs` is done.
    pub(super) fn add(&mut self, work: W, cost: u64, locks: Vec<(u32, Lock)>, needs: Vec<TaskId>) -> TaskId {
        self.tasks.push(Task { work, locks, cost, needs });
        self.tasks.len() - 1
    }

    /// Makes a piece of work that was added before wait for another one as well.
    pub(super) fn also_needs(&mut self, task: TaskId, need: TaskId) {
        self.tasks[task].needs.push(need);
    }
}

/// What a worker is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Do this.
    Do(TaskId),
    /// Nothing can begin now, but something will end.
    Wait,
    /// Everything is done.
    Done,
}

/// The state of going through a graph.
#[derive(Debug)]
pub(super) struct Schedule<W> {
    tasks: Vec<Task<W>>,
    needed_by: Vec<Vec<TaskId>>,
    /// How many of its needs are not done.
    missing: Vec<usize>,
    /// The longest way from its beginning to the end of everything.
    ways: Vec<u64>,
    ready: BTreeSet<(Reverse<u64>, TaskId)>,
    held: HashMap<(u32, Lock), usize>,
    running: usize,
    left: usize,
}

impl<W> Schedule<W> {
    /// Prepares to go through `graph`; `None` if something in it needs itself.
    pub(super) fn new(graph: Graph<W>) -> Option<Self> {
        let tasks = graph.tasks;
        let mut needed_by = vec![Vec::new(); tasks.len()];
        for (id, task) in tasks.iter().enumerate() {
            task.needs.iter().for_each(|need| needed_by[*need].push(id));
        }
        let missing: Vec<usize> = tasks.iter().map(|task| task.needs.len()).collect();
        let order = in_order(&missing, &needed_by)?;
        let mut ways = vec![0; tasks.len()];
        for id in order.into_iter().rev() {
            let after = needed_by[id].iter().map(|next| ways[*next]).max().unwrap_or(0);
            ways[id] = tasks[id].cost.max(1) + after;
        }
        let ready = (0..tasks.len()).filter(|id| missing[*id] == 0).map(|id| (Reverse(ways[id]), id)).collect();
        let left = tasks.len();
        Some(Self { tasks, needed_by, missing, ways, ready, held: HashMap::new(), running: 0, left })
    }

    /// What to do next.
    pub(super) fn next(&mut self) -> Turn {
        if self.left == 0 {
            return Turn::Done;
        }
        let Some(entry) = self.ready.iter().find(|(_, id)| self.may_begin(*id)).copied() else { return Turn::Wait };
        self.ready.remove(&entry);
        for lock in &self.tasks[entry.1].locks {
            *self.held.entry(*lock).or_default() += 1;
        }
        self.running += 1;
        Turn::Do(entry.1)
    }

    /// The work of a task.
    pub(super) fn work(&self, id: TaskId) -> &W {
        &self.tasks[id].work
    }

    /// All work, done or not.
    pub(super) fn all(&self) -> impl Iterator<Item = &W> {
        self.tasks.iter().map(|task| &task.work)
    }

    /// How many tasks run or could run at this moment: where it is less than the workers, one may use more than its share.
    pub(super) fn could_run(&self) -> usize {
        self.running + self.ready.iter().filter(|(_, id)| self.may_begin(*id)).count()
    }

    /// A task is done.
    pub(super) fn done(&mut self, id: TaskId) {
        for lock in &self.tasks[id].locks {
            if let Some(count) = self.held.get_mut(lock) {
                *count -= 1;
            }
        }
        self.running -= 1;
        self.left -= 1;
        for next in &self.needed_by[id] {
            self.missing[*next] -= 1;
            if self.missing[*next] == 0 {
                self.ready.insert((Reverse(self.ways[*next]), *next));
            }
        }
    }

    fn may_begin(&self, id: TaskId) -> bool {
        let is_held = |table: u32, lock: Lock| self.held.get(&(table, lock)).is_some_and(|count| *count > 0);
        let is_free = |(table, lock): &(u32, Lock)| {
            Lock::ALL.into_iter().all(|other| lock.goes_with(other) || !is_held(*table, other))
        };
        self.tasks[id].locks.iter().all(is_free)
    }
}

/// All tasks, each after what it needs; `None` if there is a circle.
fn in_order(missing: &[usize], needed_by: &[Vec<TaskId>]) -> Option<Vec<TaskId>> {
    let mut missing = missing.to_vec();
    let mut order: Vec<TaskId> = (0..missing.len()).filter(|id| missing[*id] == 0).collect();
    let mut place = 0;
    while let Some(id) = order.get(place).copied() {
        place += 1;
        for next in &needed_by[id] {
            missing[*next] -= 1;
            if missing[*next] == 0 {
                order.push(*next);
            }
        }
    }
    (order.len() == missing.len()).then_some(order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Cost, locks and needs.
    type Given<'a> = (u64, &'a [(u32, Lock)], &'a [TaskId]);

    fn build(tasks: &[Given<'_>]) -> Schedule<usize> {
        let mut graph = Graph::new();
        for (number, (cost, locks, needs)) in tasks.iter().enumerate() {
            graph.add(number, *cost, locks.to_vec(), needs.to_vec());
        }
        Schedule::new(graph).unwrap()
    }

    #[test]
    fn the_longest_way_goes_first() {
        let mut schedule = build(&[(5, &[], &[]), (1, &[], &[]), (9, &[], &[1])]);
        assert_eq!(schedule.next(), Turn::Do(1), "1 is short, but 2 waits for it");
        assert_eq!(schedule.next(), Turn::Do(0));
        assert_eq!(schedule.next(), Turn::Wait);
        schedule.done(1);
        assert_eq!(schedule.next(), Turn::Do(2));
        schedule.done(0);
        schedule.done(2);
        assert_eq!(schedule.next(), Turn::Done);
    }

    #[test]
    fn indexes_are_built_side_by_side_and_altering_waits_for_them() {
        let build_lock: &[_] = &[(7, Lock::Build)];
        let mut schedule = build(&[(3, build_lock, &[]), (2, build_lock, &[]), (1, &[(7, Lock::Alter)], &[])]);
        assert_eq!((schedule.next(), schedule.next(), schedule.next()), (Turn::Do(0), Turn::Do(1), Turn::Wait));
        schedule.done(0);
        assert_eq!(schedule.next(), Turn::Wait);
        schedule.done(1);
        assert_eq!(schedule.next(), Turn::Do(2));
    }

    #[test]
    fn the_locks_conflict_as_the_manual_says() {
        use Lock::{Alter, Analyze, Build, Read, Reference, Write};
        let together = [(Read, Reference), (Write, Write), (Write, Analyze), (Build, Build), (Read, Build)];
        let apart = [(Write, Build), (Analyze, Build), (Analyze, Analyze), (Reference, Reference), (Read, Alter)];
        for (one, other) in together {
            assert!(one.goes_with(other) && other.goes_with(one), "{one:?} {other:?}");
        }
        for (one, other) in apart {
            assert!(!one.goes_with(other) && !other.goes_with(one), "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_circle_is_found() {
        let mut graph = Graph::new();
        graph.add((), 1, vec![], vec![1]);
        graph.add((), 1, vec![], vec![0]);
        assert!(Schedule::new(graph).is_none());
    }

    /// Cost, table, lock and needs.
    type AnyTask = (u64, u32, usize, Vec<usize>);

    fn any_task() -> impl Strategy<Value = AnyTask> {
        (0u64..9, 0u32..3, 0usize..6, prop::collection::vec(0usize..64, 0..4))
    }

    proptest! {
        #[test]
        fn everything_is_done_once_and_after_what_it_needs(
            shape in prop::collection::vec(any_task(), 1..60),
            workers in 1usize..5,
        ) {
            let mut graph = Graph::new();
            for (id, (cost, table, lock, needs)) in shape.iter().enumerate() {
                let needs: BTreeSet<_> = needs.iter().filter(|_| id > 0).map(|need| need % id).collect();
                graph.add(id, *cost, vec![(*table, Lock::ALL[*lock])], needs.into_iter().collect());
            }
            let needs: Vec<_> = graph.tasks.iter().map(|task| task.needs.clone()).collect();
            let mut schedule = Schedule::new(graph).unwrap();
            let (mut running, mut done) = (Vec::new(), BTreeSet::new());
            loop {
                match schedule.next() {
                    Turn::Do(id) => {
                        prop_assert!(needs[id].iter().all(|need| done.contains(need)));
                        running.push(id);
                        if running.len() < workers { continue; }
                    }
                    Turn::Wait => prop_assert!(!running.is_empty(), "stuck"),
                    Turn::Done => break,
                }
                let id = running.remove(0);
                prop_assert!(done.insert(id));
                schedule.done(id);
            }
            prop_assert_eq!(done.len(), needs.len());
        }
    }
}
