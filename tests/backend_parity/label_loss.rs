//! The losses of rows of scores with labels.

use crate::array::*;
use crate::common::cases::{LABEL_LOSSES, kinds};
use smore::engine::backend::{Backend, LabelLoss, Reference};
use smore::engine::program::ops::label_loss::LossOfLabels;
use smore::engine::rng::{Rng, below, stream};

pub struct Case {
    pub loss: LabelLoss,
    pub offsets: Vec<u32>,
    pub labels: Vec<u32>,
    /// Rows of `offsets` before those of the scores.
    pub first: usize,
    pub row_weights: Array,
    pub scores: Array,
}

impl Case {
    /// Scores of magnitude `scale`; up to `most` labels a row, and rows without any.
    pub fn random(rng: &mut Rng, rows: usize, entities: usize, most: usize, scale: f64) -> Case {
        let first = rows % 3;
        let (mut offsets, mut labels) = (vec![0], Vec::new());
        for _ in 0..first + rows + 1 {
            let count = below(rng, most.min(entities) as u64 + 1) as usize;
            labels.extend(distinct(rng, count, entities));
            offsets.push(labels.len() as u32);
        }
        Case {
            loss: LabelLoss::CrossEntropy { smoothing: 0.0 },
            offsets,
            labels,
            first,
            row_weights: Array::new(1, rows, |_, i| if i == 3 { 0.0 } else { random(rng) + 1.5 }),
            scores: Array::random(rng, rows, entities, scale),
        }
    }

    /// Losses, and what the scores have become.
    pub fn run<B: Backend>(&self, backend: &B) -> [Array; 2] {
        let mut scores = self.scores.on(backend);
        let mut losses = Array::junk(1, self.scores.rows).on(backend);
        let [offsets, labels] = [&self.offsets, &self.labels].map(|index| backend.index(index).unwrap());
        let row_weights = self.row_weights.on(backend);
        backend.run(LossOfLabels {
            loss: self.loss,
            offsets: &offsets,
            labels: &labels,
            first: self.first,
            row_weights: row_weights.column(),
            scores: scores.mat_mut(),
            losses: losses.column_mut(),
        });
        [losses.read(), scores.read()]
    }

    fn is_label(&self, row: usize, e: usize) -> bool {
        let bounds = [0, 1].map(|i| self.offsets[self.first + row + i] as usize);
        self.labels[bounds[0]..bounds[1]].contains(&(e as u32))
    }

    fn num_labels(&self, row: usize) -> f64 {
        f64::from(self.offsets[self.first + row + 1] - self.offsets[self.first + row])
    }
}

pub fn check_label_loss<B: Backend>(backend: &B) {
    let mut rng = stream(8, "label loss", 0);
    let sizes =
        COUNTS.into_iter().flat_map(|rows| [1, 2, 17, 64, 300, 5000].map(|entities| (rows, entities)));
    for (i, (rows, entities)) in sizes.filter(|(rows, entities)| rows * entities <= 200_000).enumerate() {
        let scale = [1.0, 8.0, 64.0][i % 3];
        let mut case = Case::random(&mut rng, rows, entities, [1, 3, 400][i % 3], scale);
        for loss in kinds(&LABEL_LOSSES) {
            case.loss = loss;
            let what = format!("{rows} rows of {entities}, scale {scale}, {loss:?}");
            let ([losses, got], [want_losses, want]) = (case.run(backend), case.run(&Reference));
            let weight = |i: usize| case.row_weights.at(0, i);
            let mass = |i: usize| match loss {
                LabelLoss::CrossEntropy { .. } | LabelLoss::Logistic { per_label: true, .. } => {
                    case.num_labels(i)
                }
                LabelLoss::Logistic { .. } => 1.0,
            };
            // What is added up: for each label its distance from the maximum, or all losses.
            assert_close(&format!("{what}, losses"), &losses, &want_losses, |_, i| {
                let terms = match loss {
                    LabelLoss::CrossEntropy { .. } => mass(i) * (2.0 * scale + (entities as f64).ln()),
                    LabelLoss::Logistic { .. } => {
                        (mass(i) * entities as f64 + case.num_labels(i)) * (scale + 1.0)
                    }
                };
                rounding(entities, weight(i) * terms)
            });
            // The exponents are as large as the scores, and so are what they lose. A label's derivative is a difference,
            // and so is every one where labels are smoothed.
            let smoothed = matches!(
                loss,
                LabelLoss::CrossEntropy { smoothing: 0.25 } | LabelLoss::Logistic { smoothing: 0.25, .. }
            );
            assert_close(&format!("{what}, derivatives"), &got, &want, |i, e| {
                let of_label = if case.is_label(i, e) { 1.0 } else { 0.0 };
                let of_all = if smoothed { mass(i) / entities as f64 } else { 0.0 };
                let magnitude = want.at(i, e).abs() + weight(i) * (of_label + of_all);
                rounding(entities, magnitude * (1.0 + 2.0 * scale)) + 3e-38 * (1.0 + weight(i) * mass(i))
            });
        }
    }
}

pub fn check_nan<B: Backend>(backend: &B) {
    let mut rng = stream(8, "label loss nan", 0);
    for loss in kinds(&LABEL_LOSSES) {
        for _ in 0..30 {
            let mut case = Case::random(&mut rng, 6, 130, 3, 8.0);
            case.row_weights = case.row_weights.map(|_| 1.0);
            case.loss = loss;
            let [clean, _] = case.run(backend);
            case.scores.set(2, below(&mut rng, 130) as usize, f64::NAN);
            let [losses, _] = case.run(backend);
            for i in 0..6 {
                let (loss, clean) = (losses.at(0, i), clean.at(0, i));
                assert!(
                    if i == 2 { loss.is_nan() } else { loss == clean },
                    "loss {i} is {loss}, {:?}",
                    case.loss
                );
            }
        }
    }
}
