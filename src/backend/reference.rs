//! The operations as plain loops in float64: slow, single-threaded, written from their definitions.
//!
//! The parity tests hold every other backend to this one; the finite differences of the gradient
//! tests run whole models on it. Nothing here is shared with the fast code.

pub(super) mod special;

use super::*;

/// The reference backend.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference;

type Buffer = Vec<f64>;

impl HostBuffer for Buffer {
    type Scalar = f64;

    fn as_slice(&self) -> &[f64] {
        self
    }

    fn as_mut_slice(&mut self) -> &mut [f64] {
        self
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// max(x, 0), and NaN for NaN, which `f64::max` would hide.
fn relu(x: f64) -> f64 {
    if x < 0.0 { 0.0 } else { x }
}

/// The least value, or NaN if there is one.
fn minimum(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::INFINITY, |min, x| if x < min || x.is_nan() { x } else { min })
}

fn activate(f: Activation, x: f64) -> f64 {
    match f {
        Activation::None => x,
        Activation::Relu => relu(x),
        Activation::Softplus => softplus(x),
    }
}

fn derivative(f: Activation, x: f64) -> f64 {
    match f {
        Activation::None => 1.0,
        Activation::Relu => f64::from(x > 0.0),
        Activation::Softplus => sigmoid(x),
    }
}

fn elementwise(f: Elementwise, x: f64) -> f64 {
    match f {
        Elementwise::BetaParameter => (x + 1.0).clamp(f64::from(BETA_MIN), f64::from(BETA_MAX)),
        Elementwise::Reciprocal => 1.0 / x,
    }
}

/// f' from f's value.
fn elementwise_slope(f: Elementwise, y: f64) -> f64 {
    match f {
        Elementwise::BetaParameter => f64::from(y > f64::from(BETA_MIN) && y < f64::from(BETA_MAX)),
        Elementwise::Reciprocal => -y * y,
    }
}

fn segment(offsets: &[u32], s: usize) -> std::ops::Range<usize> {
    offsets[s] as usize..offsets[s + 1] as usize
}

/// The row of the relations that each use has.
fn relation_of_uses(step: &ProjectStep<Reference>) -> Vec<usize> {
    let mut relations: Vec<usize> = (0..step.count).collect();
    for g in 0..step.groups.map_or(0, |groups| groups.ids.len()) {
        let DeviceGroups { ids, offsets, members } = step.groups.expect("it has members");
        for &use_ in &members[segment(offsets, g)] {
            relations[use_ as usize] = ids[g] as usize;
        }
    }
    relations
}

/// The windows of images: row, image, and the places of its numbers in the image.
fn windows(window: Window, images: usize) -> Vec<(usize, usize, Vec<usize>)> {
    let Window { height, width, side } = window;
    let mut all = Vec::new();
    for image in 0..images {
        for (y, x) in (0..=height - side).flat_map(|y| (0..=width - side).map(move |x| (y, x))) {
            let pixels = (0..side * side).map(|k| (y + k / side) * width + x + k % side);
            all.push((all.len(), image, pixels.collect()));
        }
    }
    all
}

/// Score of a query row with an entity row.
fn score(kind: Scoring, q: &[f64], e: &[f64]) -> f64 {
    let d = e.len();
    match kind {
        Scoring::L1 { gamma } => f64::from(gamma) - (0..d).map(|k| (q[k] - e[k]).abs()).sum::<f64>(),
        Scoring::L2 { gamma } => f64::from(gamma) - (0..d).map(|k| (q[k] - e[k]).powi(2)).sum::<f64>().sqrt(),
        Scoring::Box { gamma, inside } => {
            let a = |k: usize| (e[k] - q[k]).abs();
            let outer: f64 = (0..d).map(|k| relu(a(k) - q[d + k])).sum();
            let inner: f64 = (0..d).map(|k| a(k).min(q[d + k]).abs()).sum();
            f64::from(gamma) - outer - f64::from(inside) * inner
        }
        Scoring::Dot => (0..d).map(|k| q[k] * e[k]).sum(),
        Scoring::Beta { gamma } => {
            let d = d / 2;
            let [a, b] = [0, d].map(|first| move |k| elementwise(Elementwise::BetaParameter, e[first + k]));
            f64::from(gamma)
                - (0..d).map(|k| special::kl_of_betas([a(k), b(k)], [q[k], q[d + k]])).sum::<f64>()
        }
        Scoring::Rotation { gamma } => {
            let d = d / 2;
            f64::from(gamma) - (0..d).map(|k| (q[k] - e[k]).hypot(q[d + k] - e[d + k])).sum::<f64>()
        }
    }
}

/// Adds the gradients of `w * score`.
fn score_gradient(kind: Scoring, w: f64, q: &[f64], e: &[f64], dq: &mut [f64], de: &mut [f64]) {
    let d = e.len();
    let sign = |x: f64| if x < 0.0 { -1.0 } else { 1.0 };
    let distance = (0..d).map(|k| (q[k] - e[k]).powi(2)).sum::<f64>().sqrt();
    for k in 0..d {
        let t = q[k] - e[k];
        match kind {
            Scoring::L1 { .. } => {
                dq[k] -= w * sign(t);
                de[k] += w * sign(t);
            }
            Scoring::L2 { .. } => {
                if distance > 0.0 {
                    dq[k] -= w * t / distance;
                    de[k] += w * t / distance;
                }
            }
            Scoring::Box { inside, .. } => {
                let (a, o, inside) = (t.abs(), q[d + k], f64::from(inside));
                // Derivatives of relu(a - o) + inside |min(a, o)| by a and by o.
                let (by_a, by_o) = if a > o { (1.0, -1.0 + inside * sign(o)) } else { (inside, 0.0) };
                dq[k] -= w * by_a * sign(t);
                de[k] += w * by_a * sign(t);
                dq[d + k] -= w * by_o;
            }
            Scoring::Dot => {
                dq[k] += w * e[k];
                de[k] += w * q[k];
            }
            Scoring::Beta { .. } => {
                // Of this parameter x and the other one, y, of the same distribution: the KL's derivative by the
                // query's x is F(q) - F(e), F(x) = psi(x) - psi(x + y), and by the entity's the difference of the
                // parameters through F'.
                use special::{digamma, trigamma};
                let other = (k + d / 2) % d;
                let [x, y] = [k, other].map(|k| elementwise(Elementwise::BetaParameter, e[k]));
                let f = |x: f64, y: f64| digamma(x) - digamma(x + y);
                dq[k] += w * (f(x, y) - f(q[k], q[other]));
                let slope = elementwise_slope(Elementwise::BetaParameter, x);
                let (by_x, by_y) = (q[k] - x, q[other] - y);
                de[k] += w * slope * (by_x * trigamma(x) - (by_x + by_y) * trigamma(x + y));
            }
            Scoring::Rotation { .. } => {
                let other = (k + d / 2) % d;
                let modulus = t.hypot(q[other] - e[other]);
                if modulus > 0.0 {
                    dq[k] -= w * t / modulus;
                    de[k] += w * t / modulus;
                }
            }
        }
    }
}

impl Backend for Reference {
    type Scalar = f64;
    type Buffer = Buffer;
    type Index = Vec<u32>;
    type Reading = Vec<f64>;

    fn describe(&self) -> String {
        "reference (float64, one thread)".into()
    }

    fn scalar(value: f64) -> f64 {
        value
    }

    fn value(scalar: f64) -> f64 {
        scalar
    }

    fn zeros(&self, len: usize) -> Result<Buffer> {
        Ok(vec![0.0; len])
    }

    fn upload(&self, data: &[f64], buffer: &mut Buffer, offset: usize) -> Result<()> {
        buffer[offset..][..data.len()].copy_from_slice(data);
        Ok(())
    }

    fn read(&self, buffer: &Buffer, offset: usize, len: usize) -> Result<Vec<f64>> {
        Ok(buffer.as_slice()[offset..][..len].to_vec())
    }

    fn finish(&self, reading: Vec<f64>) -> Result<Vec<f64>> {
        Ok(reading)
    }

    fn download(&self, buffer: &Buffer, offset: usize, out: &mut [f64]) -> Result<()> {
        out.copy_from_slice(&buffer[offset..][..out.len()]);
        Ok(())
    }

    fn index(&self, data: &[u32]) -> Result<Vec<u32>> {
        Ok(data.to_vec())
    }

    fn set_index(&self, data: &[u32], index: &mut Vec<u32>) -> Result<()> {
        *index = data.to_vec();
        Ok(())
    }

    fn gather(&self, table: Mat<Buffer>, rows: &Vec<u32>, mut out: MatMut<Buffer>) {
        for (i, &row) in rows.iter().enumerate() {
            out.row(i).copy_from_slice(table.row(row as usize));
        }
    }

    fn scatter(&self, from: Mat<Buffer>, rows: &Vec<u32>, mut out: MatMut<Buffer>) {
        for (i, &row) in rows.iter().enumerate() {
            out.row(row as usize).copy_from_slice(from.row(i));
        }
    }

    fn copy(&self, from: Mat<Buffer>, mut out: MatMut<Buffer>) {
        for i in 0..from.rows {
            out.row(i).copy_from_slice(from.row(i));
        }
    }

    fn fill(&self, value: f32, mut out: MatMut<Buffer>) {
        for i in 0..out.rows {
            out.row(i).fill(f64::from(value));
        }
    }

    fn add(&self, from: Mat<Buffer>, mut to: MatMut<Buffer>) {
        for i in 0..from.rows {
            to.row(i).iter_mut().zip(from.row(i)).for_each(|(a, b)| *a += b);
        }
    }

    fn add_groups(&self, groups: &DeviceGroups<Self>, from: Mat<Buffer>, mut to: MatMut<Buffer>) {
        for (g, &id) in groups.ids.iter().enumerate() {
            for &member in &groups.members[segment(&groups.offsets, g)] {
                to.row(id as usize).iter_mut().zip(from.row(member as usize)).for_each(|(a, b)| *a += b);
            }
        }
    }

    fn dropout(&self, dropout: Dropout, mut x: MatMut<Buffer>) {
        for i in 0..x.rows {
            for (k, x) in x.row(i).iter_mut().enumerate() {
                let keeps = dropout.keeps(dropout.row(i as u32), k as u32);
                *x = if keeps { *x * f64::from(dropout.scale()) } else { 0.0 };
            }
        }
    }

    fn project(
        &self,
        kind: Projection,
        step: ProjectStep<Self>,
        relations: Mat<Buffer>,
        mut slots: MatMut<Buffer>,
    ) {
        for (i, relation) in relation_of_uses(&step).into_iter().enumerate() {
            let q = slots.row(step.inputs[i] as usize).to_vec();
            let (r, out) = (relations.row(relation), slots.row(step.output + i));
            let d = q.len() / 2;
            for k in 0..q.len() {
                out[k] = match kind {
                    Projection::Matrix => (0..q.len()).map(|j| q[j] * r[j * q.len() + k]).sum(),
                    Projection::Translate => q[k] + r[k],
                    Projection::Box { .. } if k < d => q[k] + r[k],
                    Projection::Box { offset } => q[k] + activate(offset, r[k]),
                    Projection::Product => q[k] * r[k],
                    Projection::ComplexProduct if k < d => q[k] * r[k] - q[d + k] * r[d + k],
                    Projection::ComplexProduct => q[k - d] * r[k] + q[k] * r[k - d],
                    Projection::Rotate { scale } => {
                        let (sin, cos) = (f64::from(scale) * r[k % d]).sin_cos();
                        if k < d { q[k] * cos - q[d + k] * sin } else { q[k - d] * sin + q[k] * cos }
                    }
                };
            }
        }
    }

    fn project_backward(
        &self,
        kind: Projection,
        step: ProjectStep<Self>,
        slots: Mat<Buffer>,
        relations: Mat<Buffer>,
        mut grads: MatMut<Buffer>,
        mut relation_grads: MatMut<Buffer>,
    ) {
        let uses = relation_of_uses(&step);
        if kind == Projection::Matrix {
            uses.iter().for_each(|&relation| relation_grads.row(relation).fill(0.0));
        }
        for (i, relation) in uses.into_iter().enumerate() {
            let input = step.inputs[i] as usize;
            let dout = grads.row(step.output + i).to_vec();
            let (q, r) = (slots.row(input), relations.row(relation));
            let (dq, dr) = (grads.row(input), relation_grads.row(relation));
            let d = q.len() / 2;
            if kind == Projection::Matrix {
                let d = q.len();
                for j in 0..d {
                    dq[j] = (0..d).map(|k| dout[k] * r[j * d + k]).sum();
                    (0..d).for_each(|k| dr[j * d + k] += q[j] * dout[k]);
                }
                continue;
            }
            if let Projection::Rotate { scale } = kind {
                for k in 0..d {
                    let scale = f64::from(scale);
                    let (sin, cos) = (scale * r[k]).sin_cos();
                    dq[k] = dout[k] * cos + dout[d + k] * sin;
                    dq[d + k] = dout[d + k] * cos - dout[k] * sin;
                    let (by_re, by_im) = (-q[k] * sin - q[d + k] * cos, q[k] * cos - q[d + k] * sin);
                    dr[k] = scale * (dout[k] * by_re + dout[d + k] * by_im);
                }
                continue;
            }
            for k in 0..q.len() {
                (dq[k], dr[k]) = match kind {
                    Projection::Translate => (dout[k], dout[k]),
                    Projection::Box { .. } if k < d => (dout[k], dout[k]),
                    Projection::Box { offset } => (dout[k], dout[k] * derivative(offset, r[k])),
                    Projection::Product => (dout[k] * r[k], dout[k] * q[k]),
                    Projection::Rotate { .. } | Projection::Matrix => unreachable!("done above"),
                    Projection::ComplexProduct if k < d => {
                        (dout[k] * r[k] + dout[d + k] * r[d + k], dout[k] * q[k] + dout[d + k] * q[d + k])
                    }
                    Projection::ComplexProduct => {
                        (dout[k] * r[k - d] - dout[k - d] * r[k], dout[k] * q[k - d] - dout[k - d] * q[k])
                    }
                };
            }
        }
    }

    fn linear(&self, x: Mat<Buffer>, w: Mat<Buffer>, b: Mat<Buffer>, f: Activation, mut out: MatMut<Buffer>) {
        for i in 0..x.rows {
            for j in 0..w.rows {
                let sum: f64 = x.row(i).iter().zip(w.row(j)).map(|(x, w)| x * w).sum();
                out.row(i)[j] = activate(f, sum + b.row(0)[j]);
            }
        }
    }

    fn linear_backward(
        &self,
        x: Mat<Buffer>,
        w: Mat<Buffer>,
        out: Mat<Buffer>,
        f: Activation,
        mut dout: MatMut<Buffer>,
        mut dx: MatMut<Buffer>,
        mut dw: MatMut<Buffer>,
        mut db: MatMut<Buffer>,
    ) {
        for i in 0..x.rows {
            dx.row(i).fill(0.0);
            for j in 0..w.rows {
                let d = if f == Activation::Relu && out.row(i)[j] <= 0.0 { 0.0 } else { dout.row(i)[j] };
                dout.row(i)[j] = d;
                db.row(0)[j] += d;
                for k in 0..x.cols {
                    dw.row(j)[k] += d * x.row(i)[k];
                    dx.row(i)[k] += d * w.row(j)[k];
                }
            }
        }
    }

    fn unfold(&self, window: Window, images: Mat<Buffer>, mut out: MatMut<Buffer>) {
        for (row, image, pixels) in windows(window, images.rows) {
            for (k, pixel) in pixels.into_iter().enumerate() {
                out.row(row)[k] = images.row(image)[pixel];
            }
        }
    }

    fn fold(&self, window: Window, from: Mat<Buffer>, mut out: MatMut<Buffer>) {
        (0..out.rows).for_each(|i| out.row(i).fill(0.0));
        for (row, image, pixels) in windows(window, out.rows) {
            for (k, pixel) in pixels.into_iter().enumerate() {
                out.row(image)[pixel] += from.row(row)[k];
            }
        }
    }

    fn moments(&self, x: Mat<Buffer>, mut out: MatMut<Buffer>) {
        let n = x.rows as f64;
        for k in 0..x.cols {
            let mean = (0..x.rows).map(|i| x.row(i)[k]).sum::<f64>() / n;
            out.row(0)[k] = mean;
            out.row(1)[k] = (0..x.rows).map(|i| (x.row(i)[k] - mean).powi(2)).sum::<f64>() / n;
        }
    }

    fn normalise(
        &self,
        x: Mat<Buffer>,
        moments: Mat<Buffer>,
        affine: Mat<Buffer>,
        f: Activation,
        mut out: MatMut<Buffer>,
    ) {
        for (i, k) in (0..x.rows).flat_map(|i| (0..x.cols).map(move |k| (i, k))) {
            let deviation = (moments.row(1)[k] + f64::from(NORM_EPSILON)).sqrt();
            let normal = (x.row(i)[k] - moments.row(0)[k]) / deviation;
            out.row(i)[k] = activate(f, normal * (1.0 + affine.row(0)[k]) + affine.row(1)[k]);
        }
    }

    fn normalise_backward(
        &self,
        x: Mat<Buffer>,
        moments: Mat<Buffer>,
        affine: Mat<Buffer>,
        out: Mat<Buffer>,
        f: Activation,
        mut dx: MatMut<Buffer>,
        mut daffine: MatMut<Buffer>,
    ) {
        let n = x.rows as f64;
        for k in 0..x.cols {
            let deviation = (moments.row(1)[k] + f64::from(NORM_EPSILON)).sqrt();
            let normal = |i: usize| (x.row(i)[k] - moments.row(0)[k]) / deviation;
            // By the normalised number, before its scale.
            let dout: Vec<f64> = (0..x.rows)
                .map(|i| if f == Activation::Relu && out.row(i)[k] <= 0.0 { 0.0 } else { dx.row(i)[k] })
                .collect();
            daffine.row(0)[k] = dout.iter().enumerate().map(|(i, d)| d * normal(i)).sum();
            daffine.row(1)[k] = dout.iter().sum();
            // By the mean and by the variance, on which every row has an influence.
            let scale = 1.0 + affine.row(0)[k];
            let by_mean = -scale * daffine.row(1)[k] / deviation;
            let by_variance = -0.5 * scale * daffine.row(0)[k] / (deviation * deviation);
            for (i, d) in dout.into_iter().enumerate() {
                let from_mean = x.row(i)[k] - moments.row(0)[k];
                dx.row(i)[k] = d * scale / deviation + by_mean / n + by_variance * 2.0 * from_mean / n;
            }
        }
    }

    fn blend(&self, rate: f32, from: Mat<Buffer>, mut to: MatMut<Buffer>) {
        for i in 0..from.rows {
            to.row(i)
                .iter_mut()
                .zip(from.row(i))
                .for_each(|(to, from)| *to += f64::from(rate) * (from - *to));
        }
    }

    fn elementwise(&self, f: Elementwise, x: Mat<Buffer>, mut out: MatMut<Buffer>) {
        for i in 0..x.rows {
            out.row(i).iter_mut().zip(x.row(i)).for_each(|(y, &x)| *y = elementwise(f, x));
        }
    }

    fn elementwise_backward(
        &self,
        f: Elementwise,
        out: Mat<Buffer>,
        dout: Mat<Buffer>,
        mut dx: MatMut<Buffer>,
    ) {
        for i in 0..out.rows {
            for k in 0..out.cols {
                dx.row(i)[k] = dout.row(i)[k] * elementwise_slope(f, out.row(i)[k]);
            }
        }
    }

    fn attend(
        &self,
        x: Mat<Buffer>,
        offsets: &Vec<u32>,
        mut weights: MatMut<Buffer>,
        mut out: MatMut<Buffer>,
    ) {
        for s in 0..offsets.len() - 1 {
            for k in 0..x.cols {
                let logits: Vec<f64> = segment(offsets, s).map(|i| weights.row(i)[k]).collect();
                let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = logits.iter().map(|l| (l - max).exp()).sum();
                out.row(s)[k] = 0.0;
                for (i, l) in segment(offsets, s).zip(logits) {
                    weights.row(i)[k] = (l - max).exp() / sum;
                    out.row(s)[k] += weights.row(i)[k] * x.row(i)[k];
                }
            }
        }
    }

    fn attend_backward(
        &self,
        x: Mat<Buffer>,
        offsets: &Vec<u32>,
        dout: Mat<Buffer>,
        mut weights: MatMut<Buffer>,
        mut dx: MatMut<Buffer>,
    ) {
        for s in 0..offsets.len() - 1 {
            for k in 0..x.cols {
                let mean: f64 = segment(offsets, s).map(|i| weights.row(i)[k] * x.row(i)[k]).sum();
                for i in segment(offsets, s) {
                    let (w, d) = (weights.row(i)[k], dout.row(s)[k]);
                    dx.row(i)[k] = w * d;
                    weights.row(i)[k] = w * d * (x.row(i)[k] - mean);
                }
            }
        }
    }

    fn segment_mean(&self, x: Mat<Buffer>, offsets: &Vec<u32>, mut out: MatMut<Buffer>) {
        for s in 0..offsets.len() - 1 {
            for k in 0..x.cols {
                let sum: f64 = segment(offsets, s).map(|i| x.row(i)[k]).sum();
                out.row(s)[k] = sum / segment(offsets, s).len() as f64;
            }
        }
    }

    fn segment_mean_backward(&self, dout: Mat<Buffer>, offsets: &Vec<u32>, mut dx: MatMut<Buffer>) {
        for s in 0..offsets.len() - 1 {
            for i in segment(offsets, s) {
                for k in 0..dx.cols {
                    dx.row(i)[k] = dout.row(s)[k] / segment(offsets, s).len() as f64;
                }
            }
        }
    }

    fn gated_min(&self, x: Mat<Buffer>, offsets: &Vec<u32>, gate: Mat<Buffer>, mut out: MatMut<Buffer>) {
        for s in 0..offsets.len() - 1 {
            for k in 0..x.cols {
                let min = minimum(segment(offsets, s).map(|i| x.row(i)[k]));
                out.row(s)[k] = min * sigmoid(gate.row(s)[k]);
            }
        }
    }

    fn gated_min_backward(
        &self,
        x: Mat<Buffer>,
        offsets: &Vec<u32>,
        dout: Mat<Buffer>,
        mut gate: MatMut<Buffer>,
        mut dx: MatMut<Buffer>,
    ) {
        for s in 0..offsets.len() - 1 {
            for k in 0..x.cols {
                let min = minimum(segment(offsets, s).map(|i| x.row(i)[k]));
                let (g, d) = (sigmoid(gate.row(s)[k]), dout.row(s)[k]);
                let first = segment(offsets, s).find(|&i| x.row(i)[k] == min);
                for i in segment(offsets, s) {
                    dx.row(i)[k] = if Some(i) == first { d * g } else { 0.0 };
                }
                gate.row(s)[k] = d * min * g * (1.0 - g);
            }
        }
    }

    fn scores(&self, kind: Scoring, queries: Mat<Buffer>, entities: Mat<Buffer>, mut out: MatMut<Buffer>) {
        for q in 0..queries.rows {
            for e in 0..entities.rows {
                out.row(q)[e] = score(kind, queries.row(q), entities.row(e));
            }
        }
    }

    fn scores_backward(
        &self,
        kind: Scoring,
        queries: Mat<Buffer>,
        entities: Mat<Buffer>,
        _scores: Mat<Buffer>,
        weights: Mat<Buffer>,
        mut dqueries: MatMut<Buffer>,
        mut dentities: MatMut<Buffer>,
    ) {
        (0..queries.rows).for_each(|q| dqueries.row(q).fill(0.0));
        (0..entities.rows).for_each(|e| dentities.row(e).fill(0.0));
        for q in 0..queries.rows {
            for e in 0..entities.rows {
                let w = weights.row(q)[e];
                score_gradient(kind, w, queries.row(q), entities.row(e), dqueries.row(q), dentities.row(e));
            }
        }
    }

    fn own_scores(
        &self,
        kind: Scoring,
        queries: Mat<Buffer>,
        entities: Mat<Buffer>,
        root_offsets: &Vec<u32>,
        mut out: MatMut<Buffer>,
    ) {
        let k = out.cols;
        for q in 0..root_offsets.len() - 1 {
            for root in segment(root_offsets, q) {
                for n in 0..k {
                    out.row(root)[n] = score(kind, queries.row(root), entities.row(q * k + n));
                }
            }
        }
    }

    fn own_scores_backward(
        &self,
        kind: Scoring,
        queries: Mat<Buffer>,
        entities: Mat<Buffer>,
        root_offsets: &Vec<u32>,
        _scores: Mat<Buffer>,
        weights: Mat<Buffer>,
        mut dqueries: MatMut<Buffer>,
        mut dentities: MatMut<Buffer>,
    ) {
        let k = weights.cols;
        for q in 0..root_offsets.len() - 1 {
            for e in q * k..(q + 1) * k {
                dentities.row(e).fill(0.0);
                for root in segment(root_offsets, q) {
                    let w = weights.row(root)[e - q * k];
                    let (query, entity) = (queries.row(root), entities.row(e));
                    score_gradient(kind, w, query, entity, dqueries.row(root), dentities.row(e));
                }
            }
        }
    }

    fn loss(
        &self,
        options: LossOptions,
        root_offsets: &Vec<u32>,
        positives: Mat<Buffer>,
        scores: Mat<Buffer>,
        mask: &Vec<u32>,
        mask_words: usize,
        query_weights: Mat<Buffer>,
        mut losses: MatMut<Buffer>,
        mut positive_weights: MatMut<Buffer>,
        mut weights: MatMut<Buffer>,
    ) {
        for q in 0..root_offsets.len() - 1 {
            let roots = segment(root_offsets, q);
            // The first of the best roots; a root whose score is NaN before all others.
            let best = |value: &dyn Fn(usize) -> f64| {
                let better = |r, best| value(r) > value(best) || value(r).is_nan();
                roots.clone().fold(roots.start, |best, r| if better(r, best) { r } else { best })
            };
            let weight = query_weights.row(0)[q];
            for root in roots.clone() {
                weights.row(root).fill(0.0);
                positive_weights.row(0)[root] = 0.0;
            }
            let winner = best(&|r| positives.row(0)[r]);
            let p = positives.row(0)[winner];
            let negatives: Vec<(usize, usize, f64)> = (0..scores.cols)
                .filter(|&n| mask[q * mask_words + n / 32] >> (n % 32) & 1 == 0)
                .map(|n| {
                    let root = best(&|r| scores.row(r)[n]);
                    (n, root, scores.row(root)[n])
                })
                .collect();
            let max = negatives.iter().map(|x| x.2).fold(f64::NEG_INFINITY, f64::max);
            let share =
                |s: f64| options.adversarial_temperature.map_or(1.0, |t| (f64::from(t) * (s - max)).exp());
            let total: f64 = negatives.iter().map(|x| share(x.2)).sum();
            let (loss, dp) = match options.loss {
                PoolLoss::Logistic => {
                    let mut loss = 0.5 * softplus(-p);
                    for (n, root, s) in negatives {
                        loss += 0.5 * share(s) / total * softplus(s);
                        weights.row(root)[n] = weight * 0.5 * share(s) / total * sigmoid(s);
                    }
                    (loss, -0.5 * sigmoid(-p))
                }
                PoolLoss::CrossEntropy => {
                    // Relative to the greatest of all scores.
                    let top = max.max(p);
                    let rest: f64 = negatives.iter().map(|x| (x.2 - top).exp()).sum();
                    let all = (p - top).exp() + rest;
                    for &(n, root, s) in &negatives {
                        weights.row(root)[n] = weight * (s - top).exp() / all;
                    }
                    // What the negatives add to a greatest e^p must not be lost.
                    let loss = if p == top { rest.ln_1p() } else { all.ln() + top - p };
                    (loss, -rest / all)
                }
                PoolLoss::Margin { margin } => {
                    let (mut loss, mut dp) = (0.0, 0.0);
                    for (n, root, s) in negatives {
                        let (gap, w) = (f64::from(margin) + s - p, share(s) / total);
                        // A gap that is NaN is not left out.
                        if gap > 0.0 || gap.is_nan() {
                            loss += w * gap;
                            dp -= w;
                            weights.row(root)[n] = weight * w;
                        }
                    }
                    (loss, dp)
                }
            };
            positive_weights.row(0)[winner] = weight * dp;
            losses.row(0)[q] = weight * if p.is_nan() { p } else { loss };
        }
    }

    fn label_loss(
        &self,
        loss: LabelLoss,
        labels: LabelRows<Self>,
        row_weights: Mat<Buffer>,
        mut scores: MatMut<Buffer>,
        mut losses: MatMut<Buffer>,
    ) {
        let entities = scores.cols as f64;
        for i in 0..scores.rows {
            let labels = &labels.labels[segment(labels.offsets, labels.first + i)];
            let (n, weight) = (labels.len() as f64, row_weights.row(0)[i]);
            let is_label = |e: usize| if labels.contains(&(e as u32)) { 1.0 } else { 0.0 };
            let x = scores.row(i).to_vec();
            match loss {
                LabelLoss::CrossEntropy { smoothing } => {
                    let s = f64::from(smoothing);
                    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let sum: f64 = x.iter().map(|x| (x - max).exp()).sum();
                    let target = |e: usize| (1.0 - s) * is_label(e) + s * n / entities;
                    let hit: f64 = (0..x.len()).map(|e| target(e) * (x[e] - max)).sum();
                    losses.row(0)[i] = weight * (n * sum.ln() - hit);
                    for (e, to) in scores.row(i).iter_mut().enumerate() {
                        *to = weight * (n * (x[e] - max).exp() / sum - target(e));
                    }
                }
                LabelLoss::Logistic { smoothing, per_label } => {
                    let (s, mass) = (f64::from(smoothing), if per_label { n } else { 1.0 });
                    let target = |e: usize| (1.0 - s) * is_label(e) + s * mass / entities;
                    let each = (0..x.len()).map(|e| mass * softplus(x[e]) - target(e) * x[e]);
                    losses.row(0)[i] = weight * each.sum::<f64>();
                    for (e, to) in scores.row(i).iter_mut().enumerate() {
                        *to = weight * (mass * sigmoid(x[e]) - target(e));
                    }
                }
            }
        }
    }

    fn penalise(
        &self,
        penalty: Penalty,
        row_weights: Mat<Buffer>,
        x: Mat<Buffer>,
        mut grads: MatMut<Buffer>,
        mut penalties: MatMut<Buffer>,
    ) {
        for i in 0..x.rows {
            let (weight, x, grads) = (row_weights.row(0)[i], x.row(i), grads.row(i));
            let modulus = |k: usize| match penalty {
                Penalty::ComplexCubes => x[k].hypot(x[(k + x.len() / 2) % x.len()]),
                _ => x[k].abs(),
            };
            let mut sum = 0.0;
            for k in (0..x.len()).filter(|_| weight != 0.0) {
                // Both parts of a complex number bring its modulus, times their share of its square: x^2 in all.
                sum += match penalty {
                    Penalty::Squares => x[k] * x[k],
                    Penalty::Cubes | Penalty::ComplexCubes => modulus(k) * x[k] * x[k],
                };
                grads[k] += match penalty {
                    Penalty::Squares => 2.0 * weight * x[k],
                    Penalty::Cubes | Penalty::ComplexCubes => 3.0 * weight * modulus(k) * x[k],
                };
            }
            penalties.row(0)[i] = weight * sum;
        }
    }

    fn group_squares(&self, groups: &DeviceGroups<Self>, from: Mat<Buffer>, mut squares: MatMut<Buffer>) {
        for g in 0..groups.ids.len() {
            let members = &groups.members[segment(&groups.offsets, g)];
            let sum = |k: usize| members.iter().map(|&m| from.row(m as usize)[k]).sum::<f64>();
            squares.row(0)[g] = (0..from.cols).map(|k| sum(k).powi(2)).sum();
        }
    }

    fn row_squares(&self, from: Mat<Buffer>, mut squares: MatMut<Buffer>) {
        for i in 0..from.rows {
            squares.row(0)[i] = from.row(i).iter().map(|x| x * x).sum();
        }
    }

    fn clip_factor(&self, bound: f32, squares: Mat<Buffer>, mut factor: MatMut<Buffer>) {
        let norm = squares.row(0).iter().sum::<f64>().sqrt();
        // Not `min`, which would take 1 for what is NaN as well, but by chance.
        factor.row(0)[0] = if norm > f64::from(bound) { f64::from(bound) / norm } else { 1.0 };
    }

    fn scale(&self, factor: Mat<Buffer>, mut x: MatMut<Buffer>) {
        let factor = factor.row(0)[0];
        (0..x.rows).for_each(|i| x.row(i).iter_mut().for_each(|x| *x *= factor));
    }

    fn optimize_rows(
        &self,
        step: OptimizerStep,
        groups: &DeviceGroups<Self>,
        grads: Mat<Buffer>,
        table: &mut Parameters<Self>,
    ) {
        for (g, &id) in groups.ids.iter().enumerate() {
            let members = &groups.members[segment(&groups.offsets, g)];
            let sum = |k: usize| members.iter().map(|&m| grads.row(m as usize)[k]).sum();
            let gradient: Vec<f64> = (0..table.cols).map(sum).collect();
            update(step, &gradient, id as usize, table);
        }
    }

    fn optimize(&self, step: OptimizerStep, grads: Mat<Buffer>, table: &mut Parameters<Self>) {
        for i in 0..table.rows {
            update(step, grads.row(i), i, table);
        }
    }

    fn rank(&self, kind: Scoring, task: RankTask<Self>, entities: Mat<Buffer>) -> Result<Vec<RankCount>> {
        let mut counts = Vec::new();
        for q in 0..task.root_offsets.len() - 1 {
            let scores: Vec<f64> = (0..entities.rows)
                .map(|e| {
                    segment(task.root_offsets, q)
                        .map(|root| score(kind, task.queries.row(root), entities.row(e)))
                        .fold(f64::NAN, f64::max)
                })
                .collect();
            let filter = &task.filter[segment(task.filter_offsets, q)];
            for &target in &task.targets[segment(task.target_offsets, q)] {
                let threshold = scores[target as usize];
                let mut count = RankCount::default();
                for (e, &score) in scores.iter().enumerate() {
                    if e as u32 == target || filter.contains(&(e as u32)) {
                        continue;
                    }
                    count.better += u32::from(score > threshold || threshold.is_nan());
                    count.equal += u32::from(score == threshold);
                }
                counts.push(count);
            }
        }
        Ok(counts)
    }
}

/// A step on row `i`.
fn update(step: OptimizerStep, gradient: &[f64], i: usize, table: &mut Parameters<Reference>) {
    assert!(!table.interleaved, "only a mapped table is interleaved");
    assert_eq!(table.state, step.optimizer().state(table.cols), "the state of a table is its optimizer's");
    let cols = table.cols;
    let mean = gradient.iter().map(|g| g * g).sum::<f64>() / cols as f64;
    if let OptimizerStep::RowwiseAdagrad(_) = step {
        table.first[i] += mean;
    }
    for (k, &g) in gradient.iter().enumerate() {
        let at = i * cols + k;
        table.values[at] -= match step {
            OptimizerStep::Adam(step) => {
                let [b1, b2, rate, correction, epsilon] =
                    [step.beta1, step.beta2, step.rate, step.second_correction, step.epsilon].map(f64::from);
                table.first[at] = b1 * table.first[at] + (1.0 - b1) * g;
                table.second[at] = b2 * table.second[at] + (1.0 - b2) * g * g;
                rate * table.first[at] / ((table.second[at] * correction).sqrt() + epsilon)
            }
            OptimizerStep::Adagrad(step) => {
                table.first[at] += g * g;
                f64::from(step.rate) * g / (table.first[at].sqrt() + f64::from(step.epsilon))
            }
            OptimizerStep::RowwiseAdagrad(step) => {
                f64::from(step.rate) * g / (table.first[i].sqrt() + f64::from(step.epsilon))
            }
            OptimizerStep::Sgd { rate } => f64::from(rate) * g,
        };
    }
}
