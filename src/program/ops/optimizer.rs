//! Optimizers: their steps, and the state that they keep beside a table.

/// How values follow their gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Optimizer {
    /// Adam (Kingma and Ba 2015): two moments for each number.
    #[default]
    Adam,
    /// Adagrad (Duchi, Hazan and Singer 2011): a sum of squares for each number.
    Adagrad,
    /// Adagrad with one sum a row, of the means of its squares, as DGL-KE has it.
    RowwiseAdagrad,
    /// Gradient descent: nothing is kept.
    Sgd,
}

impl Optimizer {
    /// Columns of [`Parameters::first`](crate::backend::Parameters::first) and
    /// [`Parameters::second`](crate::backend::Parameters::second) for a table of so many columns.
    pub fn state(self, cols: usize) -> [usize; 2] {
        match self {
            Optimizer::Adam => [cols, cols],
            Optimizer::Adagrad => [cols, 0],
            Optimizer::RowwiseAdagrad => [1, 0],
            Optimizer::Sgd => [0, 0],
        }
    }

    /// Step `t` of rows, and that of networks, which learn at a share of their rate.
    pub fn steps(self, learning_rate: f64, network_rate: f64, t: u64) -> [OptimizerStep; 2] {
        [learning_rate, learning_rate * network_rate].map(|rate| self.step(rate, t))
    }

    /// Step `t` (from 1).
    pub fn step(self, learning_rate: f64, t: u64) -> OptimizerStep {
        let adagrad = AdagradStep { rate: learning_rate as f32, epsilon: 1e-10 };
        match self {
            Optimizer::Adam => OptimizerStep::Adam(AdamStep::new(learning_rate, t)),
            Optimizer::Adagrad => OptimizerStep::Adagrad(adagrad),
            Optimizer::RowwiseAdagrad => OptimizerStep::RowwiseAdagrad(adagrad),
            Optimizer::Sgd => OptimizerStep::Sgd { rate: learning_rate as f32 },
        }
    }
}

/// One step of an optimizer. `g` is the gradient of a number `p`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OptimizerStep {
    /// `first` and `second` are running means of g and g^2.
    Adam(AdamStep),
    /// `first += g^2`, `p -= rate g / (sqrt(first) + epsilon)`.
    Adagrad(AdagradStep),
    /// `first += mean of g^2 over the row`, `p -= rate g / (sqrt(first) + epsilon)`.
    RowwiseAdagrad(AdagradStep),
    /// `p -= rate g`.
    Sgd {
        /// The learning rate.
        rate: f32,
    },
}

impl OptimizerStep {
    /// Whose step it is.
    pub fn optimizer(self) -> Optimizer {
        match self {
            OptimizerStep::Adam(_) => Optimizer::Adam,
            OptimizerStep::Adagrad(_) => Optimizer::Adagrad,
            OptimizerStep::RowwiseAdagrad(_) => Optimizer::RowwiseAdagrad,
            OptimizerStep::Sgd { .. } => Optimizer::Sgd,
        }
    }
}

/// One step of Adagrad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdagradStep {
    /// The learning rate.
    pub rate: f32,
    /// Added to the root of the sum.
    pub epsilon: f32,
}

/// One step of Adam (Kingma and Ba 2015), with its bias corrections worked out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// Learning rate divided by `1 - beta1^t`.
    pub rate: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// `1 / (1 - beta2^t)`.
    pub second_correction: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
}

impl AdamStep {
    /// Step `t` (from 1) with the usual betas.
    pub fn new(learning_rate: f64, t: u64) -> Self {
        let (beta1, beta2) = (0.9f64, 0.999f64);
        let t = t as f64;
        AdamStep {
            rate: (learning_rate / (1.0 - beta1.powf(t))) as f32,
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            second_correction: (1.0 / (1.0 - beta2.powf(t))) as f32,
            epsilon: 1e-8,
        }
    }
}

/// Whose step a program means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// Of rows of entities and relations.
    Rows,
    /// Of networks, which learn at a share of the rate.
    Networks,
}

operations! {
    /// Steps of optimizers.
    Optimizers:

    /// A step on the rows `groups.ids` of a table, whose state is the step's; a row's gradient is the sum of the rows
    /// `groups.members` of `grads`, added in that order. Other rows and their state stay.
    OptimizeRows { step: Step, groups: Groups, grads: In, table: Table }
    /// The same on all rows.
    Optimize { step: Step, grads: In, table: Table }
}

impl<O: Operands> OptimizeRows<O> {
    fn check(&self) {
        same!(O::shape(&self.grads).1 => O::shape_of_table(&self.table).1);
    }
}

impl Described for OptimizeRows<OnPaper> {
    fn kind(&self) -> String {
        format!("{:?}", self.step).to_lowercase()
    }

    fn work(&self) -> f64 {
        10.0 * self.grads.numbers()
    }
}

impl<O: Operands> Optimize<O> {
    fn check(&self) {
        same!(O::shape(&self.grads) => O::shape_of_table(&self.table));
    }
}

impl Described for Optimize<OnPaper> {
    fn kind(&self) -> String {
        format!("{:?}", self.step).to_lowercase()
    }

    fn work(&self) -> f64 {
        10.0 * self.grads.numbers()
    }
}
