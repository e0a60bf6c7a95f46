//! Tuning: which algorithm, with which parameters, meets an objective.
//!
//! Every algorithm of the scenario is tried over a logarithmic grid of what can be set
//! about it, then ever finer around its best settings (successive refinement). All see
//! the same arrivals. The few best are judged by runs that took no part in the choice.

mod goal;
mod space;

use rayon::prelude::*;

use crate::driver::Stop;
use crate::driver::model::ModelError;
use crate::progress::{Progress, Stage};
use crate::results::Row;
use crate::run;
use crate::scenario::Scenario;
use crate::statistics::{Comparison, Summary};

pub use goal::{Condition, Goal, GoalError, Objective, column};
pub use space::Candidate;

/// Runs of a candidate in each round of the search.
const ROUNDS: [u32; 3] = [3, 5, 5];
/// Candidates of each algorithm that are refined.
const REFINED: usize = 3;
/// Candidates that are judged at the end.
const FINALISTS: usize = 8;
/// Runs that judge them.
const JUDGING: u32 = 30;

/// A candidate and what its runs found.
#[derive(Clone, Debug)]
pub struct Tried {
    /// What was tried.
    pub candidate: Candidate,
    /// Its runs.
    pub rows: Vec<Row>,
    /// Runs that met every condition.
    pub met: usize,
    /// By which share of the bounds the runs missed them, added up; 0 if all were met.
    missed: f64,
    /// Mean of the objective, the more the better; `None` if no run knows it.
    score: Option<f64>,
}

/// What tuning found.
#[derive(Clone, Debug)]
pub struct Tuned {
    /// Everything that was tried in the search, in order.
    pub searched: Vec<Tried>,
    /// The best, judged by runs of their own, the best first.
    pub finalists: Vec<Tried>,
    /// Whether the search was stopped on its way.
    pub interrupted: bool,
}

/// Searches what meets `goal` on the traffic of `scenario`.
///
/// # Errors
/// [`ModelError`].
pub fn tune(
    scenario: &Scenario,
    goal: &Goal,
    progress: Progress,
    stop: &Stop,
) -> Result<Tuned, ModelError> {
    let mut searched: Vec<Tried> = Vec::new();
    let mut todo = space::grid(scenario);
    for (round, runs) in (1_u32..).zip(ROUNDS) {
        let stage = progress.stage(&format!("round {round}"), todo.len() as u64);
        searched.extend(evaluate(scenario, &todo, runs, goal, &stage, stop)?);
        stage.end(&format!("{} settings, {runs} runs each", todo.len()));
        let known: Vec<&Candidate> = searched.iter().map(|one| &one.candidate).collect();
        let mut next = Vec::new();
        for best in best_of_each(scenario, &searched) {
            for neighbour in best.candidate.around(scenario, round) {
                if !known.contains(&&neighbour) && !next.contains(&neighbour) {
                    next.push(neighbour);
                }
            }
        }
        todo = next;
    }
    let mut order: Vec<&Tried> = searched.iter().collect();
    order.sort_by(|one, other| other.rank().total_cmp(&one.rank()));
    let finalists: Vec<Candidate> = order
        .iter()
        .take(FINALISTS)
        .map(|one| one.candidate.clone())
        .collect();
    let fresh = Scenario {
        seed: scenario.seed ^ 0x5EED,
        ..scenario.clone()
    };
    let stage = progress.stage("judging", finalists.len() as u64);
    let mut finalists = evaluate(&fresh, &finalists, JUDGING, goal, &stage, stop)?;
    stage.end(&format!(
        "{} settings, {JUDGING} runs of another seed each",
        finalists.len()
    ));
    finalists.sort_by(|one, other| other.rank().total_cmp(&one.rank()));
    Ok(Tuned {
        searched,
        finalists,
        interrupted: stop.requested(),
    })
}

fn best_of_each<'a>(scenario: &Scenario, all: &'a [Tried]) -> Vec<&'a Tried> {
    let mut best = Vec::new();
    for algorithm in &scenario.algorithms {
        let of_it = |one: &&Tried| one.candidate.algorithm.label == algorithm.label;
        let mut own: Vec<&Tried> = all.iter().filter(of_it).collect();
        own.sort_by(|one, other| other.rank().total_cmp(&one.rank()));
        best.extend(own.into_iter().take(REFINED));
    }
    best
}

fn evaluate(
    scenario: &Scenario,
    candidates: &[Candidate],
    runs: u32,
    goal: &Goal,
    stage: &Stage,
    stop: &Stop,
) -> Result<Vec<Tried>, ModelError> {
    let tried = candidates
        .par_iter()
        .map(|candidate| {
            let found = run::rows(&candidate.scenario(scenario, runs), stop)?;
            stage.step();
            Ok(found.map(|rows| Tried::new(candidate, rows, goal)))
        })
        .collect::<Result<Vec<Option<Tried>>, ModelError>>()?;
    Ok(tried.into_iter().flatten().collect())
}

impl Tried {
    fn new(candidate: &Candidate, rows: Vec<Row>, goal: &Goal) -> Self {
        let missed = |row: &Row| -> f64 { goal.conditions.iter().map(|one| one.missed(row)).sum() };
        let met = rows.iter().filter(|row| missed(row) == 0.0).count();
        let objective = &goal.objective;
        let values: Vec<f64> = rows
            .iter()
            .filter_map(|row| row.figure(&objective.column))
            .collect();
        let sign = if objective.more { 1.0 } else { -1.0 };
        Self {
            candidate: candidate.clone(),
            met,
            missed: rows.iter().map(missed).sum(),
            score: Summary::without_bootstrap(&values).map(|found| sign * found.mean),
            rows,
        }
    }

    /// Whether every run met every condition.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.met == self.rows.len() && self.score.is_some()
    }

    /// What meets the conditions comes first, by the objective; what does not, by how far it misses.
    fn rank(&self) -> f64 {
        match self.score {
            Some(score) if self.holds() => 2.0 + score / (1.0 + score.abs()),
            _ => -self.missed,
        }
    }

    /// The values of `column`, by run.
    #[must_use]
    pub fn values(&self, column: &str) -> Vec<f64> {
        self.rows
            .iter()
            .filter_map(|row| row.figure(column))
            .collect()
    }

    /// The share of all runs that meet the conditions, at least, with 95 % confidence:
    /// when n of n did, 0.05^(1/n) (Clopper and Pearson 1934). `None` if one did not.
    #[must_use]
    pub fn assured(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "a few runs")]
        let n = self.rows.len() as f64;
        self.holds().then(|| 0.05_f64.powf(1.0 / n))
    }

    /// Against `other` on the same arrivals, by the objective.
    #[must_use]
    pub fn against(&self, other: &Self, column: &str) -> Option<Comparison> {
        Comparison::paired(&other.values(column), &self.values(column))
    }
}
