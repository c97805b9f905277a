//! The operations on the CPU: all cores, AVX2 or AVX-512 chosen at run time.
//!
//! Work is split in chunks of fixed size, never by the number of threads, and every sum has a fixed
//! order, so that results repeat bit for bit on one instruction set whatever the number of threads.
//!
//! Reading order: [`memory`] (buffers, parallel rows), [`math`] (exp and softplus that vectorise), then
//! a file per family of operations: [`rows`], [`elementwise`], [`project`], [`linear`], [`segment`], [`geometry`] (one
//! functor per score), [`score`] (their shared launcher), [`beta`] (a score of its own, on the functions of [`special`]), [`loss`], [`label_loss`], [`optimizer`], [`rank`].

pub mod beta;
pub mod clip;
pub mod convolution;
pub mod elementwise;
pub mod geometry;
pub mod label_loss;
pub mod linear;
pub mod loss;
pub mod math;
pub mod matrix;
pub mod memory;
pub mod normalise;
pub mod optimizer;
pub mod penalty;
pub mod project;
pub mod rank;
pub mod rows;
pub mod score;
pub mod segment;
pub mod special;

use super::*;
use crate::storage::mmap::Numbers;
use memory::Buffer;

/// The CPU; threads are rayon's global pool.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu;

type View<'a> = Mat<'a, Buffer>;
type ViewMut<'a> = MatMut<'a, Buffer>;

impl Backend for Cpu {
    type Scalar = f32;
    type Buffer = Buffer;
    type Index = Vec<u32>;
    type Reading = Vec<f32>;

    fn describe(&self) -> String {
        let arch = format!("{:?}", pulp::Arch::new()).to_lowercase();
        let simd = match arch.as_str() {
            a if a.starts_with("v4") => "AVX-512",
            a if a.starts_with("v3") => "AVX2",
            a if a.starts_with("neon") => "NEON",
            _ => "no SIMD",
        };
        format!("CPU, {}, {simd}", crate::table::counted(rayon::current_num_threads(), "thread", "threads"))
    }

    fn scalar(value: f64) -> f32 {
        value as f32
    }

    fn value(scalar: f32) -> f64 {
        f64::from(scalar)
    }

    fn zeros(&self, len: usize) -> Result<Buffer> {
        Buffer::zeros(len)
    }

    fn map(&self, numbers: Numbers) -> Result<Buffer> {
        Ok(Buffer::File(numbers))
    }

    fn upload(&self, data: &[f32], buffer: &mut Buffer, offset: usize) -> Result<()> {
        buffer.as_mut_slice()[offset..][..data.len()].copy_from_slice(data);
        Ok(())
    }

    fn read(&self, buffer: &Buffer, offset: usize, len: usize) -> Result<Vec<f32>> {
        Ok(buffer.as_slice()[offset..][..len].to_vec())
    }

    fn finish(&self, reading: Vec<f32>) -> Result<Vec<f32>> {
        Ok(reading)
    }

    fn download(&self, buffer: &Buffer, offset: usize, out: &mut [f32]) -> Result<()> {
        out.copy_from_slice(&buffer.as_slice()[offset..][..out.len()]);
        Ok(())
    }

    fn index(&self, data: &[u32]) -> Result<Vec<u32>> {
        Ok(data.to_vec())
    }

    fn set_index(&self, data: &[u32], index: &mut Vec<u32>) -> Result<()> {
        index.clear();
        index.extend_from_slice(data);
        Ok(())
    }

    fn gather(&self, table: View, rows: &Vec<u32>, out: ViewMut) {
        rows::gather(table, rows, out);
    }

    fn scatter(&self, from: View, rows: &Vec<u32>, out: ViewMut) {
        rows::scatter(from, rows, out);
    }

    fn copy(&self, from: View, out: ViewMut) {
        rows::copy(from, out);
    }

    fn fill(&self, value: f32, out: ViewMut) {
        rows::fill(value, out);
    }

    fn unfold(&self, window: Window, images: View, out: ViewMut) {
        convolution::unfold(window, images, out);
    }

    fn fold(&self, window: Window, windows: View, out: ViewMut) {
        convolution::fold(window, windows, out);
    }

    fn moments(&self, x: View, out: ViewMut) {
        normalise::moments(x, out);
    }

    fn normalise(&self, x: View, moments: View, affine: View, f: Activation, out: ViewMut) {
        normalise::normalise(x, moments, affine, f, out);
    }

    fn normalise_backward(
        &self,
        x: View,
        moments: View,
        affine: View,
        out: View,
        f: Activation,
        dx: ViewMut,
        daffine: ViewMut,
    ) {
        normalise::normalise_backward(x, moments, affine, out, f, dx, daffine);
    }

    fn blend(&self, rate: f32, from: View, to: ViewMut) {
        normalise::blend(rate, from, to);
    }

    fn elementwise(&self, f: Elementwise, x: View, out: ViewMut) {
        elementwise::elementwise(f, x, out);
    }

    fn elementwise_backward(&self, f: Elementwise, out: View, dout: View, dx: ViewMut) {
        elementwise::elementwise_backward(f, out, dout, dx);
    }

    fn add(&self, from: View, to: ViewMut) {
        rows::add(from, to);
    }

    fn add_groups(&self, groups: &DeviceGroups<Self>, from: View, to: ViewMut) {
        rows::add_groups(groups, from, to);
    }

    fn dropout(&self, dropout: Dropout, x: ViewMut) {
        rows::dropout(dropout, x);
    }

    fn project(&self, kind: Projection, step: ProjectStep<Self>, relations: View, slots: ViewMut) {
        project::project(kind, step, relations, slots);
    }

    fn project_backward(
        &self,
        kind: Projection,
        step: ProjectStep<Self>,
        slots: View,
        relations: View,
        grads: ViewMut,
        relation_grads: ViewMut,
    ) {
        project::project_backward(kind, step, slots, relations, grads, relation_grads);
    }

    fn linear(&self, x: View, w: View, b: View, f: Activation, out: ViewMut) {
        linear::linear(x, w, b, f, out);
    }

    fn linear_backward(
        &self,
        x: View,
        w: View,
        out: View,
        f: Activation,
        dout: ViewMut,
        dx: ViewMut,
        dw: ViewMut,
        db: ViewMut,
    ) {
        linear::linear_backward(x, w, out, f, dout, dx, dw, db);
    }

    fn attend(&self, x: View, offsets: &Vec<u32>, weights: ViewMut, out: ViewMut) {
        segment::attend(x, offsets, weights, out);
    }

    fn attend_backward(&self, x: View, offsets: &Vec<u32>, dout: View, weights: ViewMut, dx: ViewMut) {
        segment::attend_backward(x, offsets, dout, weights, dx);
    }

    fn segment_mean(&self, x: View, offsets: &Vec<u32>, out: ViewMut) {
        segment::mean(x, offsets, out);
    }

    fn segment_mean_backward(&self, dout: View, offsets: &Vec<u32>, dx: ViewMut) {
        segment::mean_backward(dout, offsets, dx);
    }

    fn gated_min(&self, x: View, offsets: &Vec<u32>, gate: View, out: ViewMut) {
        segment::gated_min(x, offsets, gate, out);
    }

    fn gated_min_backward(&self, x: View, offsets: &Vec<u32>, dout: View, gate: ViewMut, dx: ViewMut) {
        segment::gated_min_backward(x, offsets, dout, gate, dx);
    }

    fn scores(&self, kind: Scoring, queries: View, entities: View, out: ViewMut) {
        score::scores(kind, queries, entities, out);
    }

    fn scores_backward(
        &self,
        kind: Scoring,
        queries: View,
        entities: View,
        scores: View,
        weights: View,
        dqueries: ViewMut,
        dentities: ViewMut,
    ) {
        score::scores_backward(kind, queries, entities, scores, weights, dqueries, dentities);
    }

    fn own_scores(&self, kind: Scoring, queries: View, entities: View, roots: &Vec<u32>, out: ViewMut) {
        score::own_scores(kind, queries, entities, roots, out);
    }

    fn own_scores_backward(
        &self,
        kind: Scoring,
        queries: View,
        entities: View,
        roots: &Vec<u32>,
        scores: View,
        weights: View,
        dqueries: ViewMut,
        dentities: ViewMut,
    ) {
        score::own_scores_backward(kind, queries, entities, roots, scores, weights, dqueries, dentities);
    }

    fn loss(
        &self,
        options: LossOptions,
        root_offsets: &Vec<u32>,
        positives: View,
        scores: View,
        mask: &Vec<u32>,
        mask_words: usize,
        query_weights: View,
        losses: ViewMut,
        positive_weights: ViewMut,
        weights: ViewMut,
    ) {
        let input = loss::Input { root_offsets, positives, scores, mask, mask_words, query_weights };
        loss::loss(options, input, losses, positive_weights, weights);
    }

    fn label_loss(
        &self,
        loss: LabelLoss,
        labels: LabelRows<Self>,
        row_weights: View,
        scores: ViewMut,
        losses: ViewMut,
    ) {
        label_loss::label_loss(loss, labels, row_weights, scores, losses);
    }

    fn group_squares(&self, groups: &DeviceGroups<Self>, from: View, squares: ViewMut) {
        clip::group_squares(groups, from, squares);
    }

    fn row_squares(&self, from: View, squares: ViewMut) {
        clip::row_squares(from, squares);
    }

    fn clip_factor(&self, bound: f32, squares: View, factor: ViewMut) {
        clip::clip_factor(bound, squares, factor);
    }

    fn scale(&self, factor: View, x: ViewMut) {
        clip::scale(factor, x);
    }

    fn penalise(&self, penalty: Penalty, row_weights: View, x: View, grads: ViewMut, penalties: ViewMut) {
        penalty::penalise(penalty, row_weights, x, grads, penalties);
    }

    fn optimize_rows(
        &self,
        step: OptimizerStep,
        groups: &DeviceGroups<Self>,
        grads: View,
        table: &mut Parameters<Self>,
    ) {
        optimizer::optimize_rows(step, groups, grads, table);
    }

    fn optimize(&self, step: OptimizerStep, grads: View, table: &mut Parameters<Self>) {
        optimizer::optimize(step, grads, table);
    }

    fn rank(&self, kind: Scoring, task: RankTask<Self>, entities: View) -> Result<Vec<RankCount>> {
        Ok(rank::rank(kind, task, entities))
    }
}
