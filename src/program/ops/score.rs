//! Scores of queries and entities.

use crate::program::{Gradients, Program};

/// How a query embedding is compared with an entity row: greater is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scoring {
    /// `gamma - sum |e - q|`.
    L1 {
        /// The margin.
        gamma: f32,
    },
    /// `gamma - sqrt(sum (e - q)^2)`.
    L2 {
        /// The margin.
        gamma: f32,
    },
    /// `gamma - sum relu(|e - c| - o) - inside * sum |min(|e - c|, o)|`; query rows are [c, o].
    Box {
        /// The margin.
        gamma: f32,
        /// Weight of the distance inside the box.
        inside: f32,
    },
    /// `sum q e`; for complex rows [real, imaginary] this is Re<q, conj(e)>.
    Dot,
    /// `gamma - sum |e - q|` with the modulus of complex numbers; rows are [real d, imaginary d].
    Rotation {
        /// The margin.
        gamma: f32,
    },
    /// `gamma - sum (relu(|u| c - |v| s) + inside min(|u|, r))`, where `u = A f - B e` and `v = A e + B f`: query rows are
    /// [A, B, c, s, r], entity rows [e, f]. With [A, B] = m [cos, sin] of half an angle, [c, s] those of half an aperture,
    /// r = m s and [e, f] those of half another angle, these are m times the distances of an angle from a sector of a
    /// circle, outside and inside (Zhang et al. 2021); none of the sines is worked out for a pair.
    Cone {
        /// The margin.
        gamma: f32,
        /// Weight of the distance inside the sector.
        inside: f32,
    },
    /// `gamma - sum KL(Beta(a, b) || Beta(alpha, beta))`: query rows are [alpha d, beta d], positive; entity rows x of 2d
    /// stand for [a d, b d] = [`Function::BetaParameter`](super::elementwise::Function::BetaParameter) of x. Accurate to
    /// float32 wherever alpha and beta lie; rows are worked out in float64, each once.
    Beta {
        /// The margin.
        gamma: f32,
    },
}

impl Scoring {
    /// Parts, side by side and equally wide, of a query row and of an entity row.
    pub fn parts(self) -> [usize; 2] {
        match self {
            Scoring::L1 { .. } | Scoring::L2 { .. } | Scoring::Dot => [1, 1],
            Scoring::Box { .. } => [2, 1],
            Scoring::Cone { .. } => [5, 2],
            Scoring::Rotation { .. } | Scoring::Beta { .. } => [2, 2],
        }
    }

    /// Columns of a query row for entity rows of `entity_width`.
    pub fn query_width(self, entity_width: usize) -> usize {
        let [query, entity] = self.parts();
        entity_width / entity * query
    }

    /// Floating-point operations of its formula for a column of an entity row, forward and backward.
    pub fn operations(self) -> [f64; 2] {
        match self {
            Scoring::L1 { .. } => [3.0, 3.0],
            Scoring::L2 { .. } => [3.0, 5.0],
            Scoring::Box { .. } => [7.0, 8.0],
            Scoring::Dot => [2.0, 4.0],
            Scoring::Rotation { .. } => [3.5, 7.5],
            Scoring::Cone { .. } => [7.0, 14.0],
            Scoring::Beta { .. } => [4.0, 8.0],
        }
    }
}

impl std::fmt::Display for Scoring {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Scoring::L1 { .. } => "gamma - |e - q|_1",
            Scoring::L2 { .. } => "gamma - |e - q|_2",
            Scoring::Box { .. } => "gamma - distance to box",
            Scoring::Dot => "<q, e>",
            Scoring::Rotation { .. } => "gamma - sum |e - q|, complex",
            Scoring::Cone { .. } => "gamma - distance to cone",
            Scoring::Beta { .. } => "gamma - KL(e || q)",
        })
    }
}

operations! {
    /// Scores of queries and entities.
    Score:

    /// `out[q, e] = score(queries[q], entities[e])`. A score has the same bits as in a ranking where it is `exact`; else
    /// those of [`Scoring::Dot`] come from a product of matrices.
    Scores { kind: Is(Scoring), exact: Is(bool), queries: In, entities: In, out: Out }
    /// Writes `dqueries` and `dentities` from `weights = d loss / d scores` and the scores themselves, of which
    /// [`Scoring::Dot`] needs none.
    ScoresBackward {
        kind: Is(Scoring), queries: In, entities: In, scores: In, weights: In, dqueries: Out, dentities: Out,
    }
    /// Scores of queries with candidates of their own: `out[r, n] = score(queries[r], entities[q k + n])` for the roots
    /// `r` of each query `q` (`roots[q]..roots[q + 1]`, at least one) and `n < k`, the columns of `out`.
    /// A positive is an only candidate: `k = 1`.
    PerQueryScores { kind: Is(Scoring), queries: In, entities: In, roots: Index, out: Out }
    /// **Adds** to `dqueries`, writes `dentities`; as [`ScoresBackward`] for [`PerQueryScores`], of whose shape `scores` and
    /// `weights` are.
    PerQueryScoresBackward {
        kind: Is(Scoring), queries: In, entities: In, roots: Index, scores: In, weights: In, dqueries: Out,
        dentities: Out,
    }
}

impl<O: Operands> Scores<O> {
    fn check(&self) {
        let (queries, entities) = (O::shape(&self.queries), O::shape(&self.entities));
        same!(
            queries.1 => self.kind.query_width(entities.1),
            (O::shape_of_out(&self.out).0, O::count(O::shape_of_out(&self.out).1)) => (queries.0, entities.0),
        );
    }
}

impl Described for Scores<OnPaper> {
    fn kind(&self) -> String {
        self.kind.to_string()
    }

    fn work(&self) -> f64 {
        self.kind.operations()[0] * self.out.numbers() * self.entities.cols() as f64
    }

    fn gradient(&self, gradients: &mut Gradients, program: &mut Program) {
        let Scores { kind, queries, entities, out: scores, .. } = *self;
        let Some(weights) = gradients.of(program, scores) else { return };
        let (to_queries, to_entities) =
            (gradients.target(program, queries), gradients.target(program, entities));
        let (dqueries, dentities) = (to_queries.var, to_entities.var);
        program.push(ScoresBackward { kind, queries, entities, scores, weights, dqueries, dentities });
        to_queries.finish(program);
        to_entities.finish(program);
    }
}

impl<O: Operands> ScoresBackward<O> {
    fn check(&self) {
        let (queries, entities) = (O::shape(&self.queries), O::shape(&self.entities));
        let weights = O::shape(&self.weights);
        same!(
            queries.1 => self.kind.query_width(entities.1),
            (weights.0, O::count(weights.1)) => (queries.0, entities.0),
            O::shape(&self.scores) => weights,
            O::shape_of_out(&self.dqueries) => queries,
            O::shape_of_out(&self.dentities) => entities,
        );
    }
}

impl Described for ScoresBackward<OnPaper> {
    fn kind(&self) -> String {
        self.kind.to_string()
    }

    fn work(&self) -> f64 {
        self.kind.operations()[1] * self.weights.numbers() * self.entities.cols() as f64
    }
}

impl<O: Operands> PerQueryScores<O> {
    fn check(&self) {
        same!(
            O::shape(&self.queries).1 => self.kind.query_width(O::shape(&self.entities).1),
            O::shape_of_out(&self.out).0 => O::shape(&self.queries).0,
        );
    }
}

impl Described for PerQueryScores<OnPaper> {
    fn kind(&self) -> String {
        self.kind.to_string()
    }

    fn work(&self) -> f64 {
        self.kind.operations()[0] * self.out.numbers() * self.entities.cols() as f64
    }

    fn gradient(&self, gradients: &mut Gradients, program: &mut Program) {
        let PerQueryScores { kind, queries, entities, roots, out: scores } = *self;
        let Some(weights) = gradients.of(program, scores) else { return };
        let dqueries = gradients.sum(program, queries);
        let to = gradients.target(program, entities);
        let dentities = to.var;
        program.push(PerQueryScoresBackward {
            kind,
            queries,
            entities,
            roots,
            scores,
            weights,
            dqueries,
            dentities,
        });
        to.finish(program);
    }
}

impl<O: Operands> PerQueryScoresBackward<O> {
    fn check(&self) {
        same!(
            O::shape(&self.queries).1 => self.kind.query_width(O::shape(&self.entities).1),
            O::shape(&self.weights).0 => O::shape(&self.queries).0,
            O::shape(&self.scores) => O::shape(&self.weights),
            O::shape_of_out(&self.dqueries) => O::shape(&self.queries),
            O::shape_of_out(&self.dentities) => O::shape(&self.entities),
        );
    }
}

impl Described for PerQueryScoresBackward<OnPaper> {
    fn kind(&self) -> String {
        self.kind.to_string()
    }

    fn work(&self) -> f64 {
        self.kind.operations()[1] * self.weights.numbers() * self.entities.cols() as f64
    }
}
