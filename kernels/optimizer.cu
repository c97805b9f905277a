// The optimizers. CPU twin: src/backend/cpu/optimizer.rs; launchers: src/backend/cuda/optimizer.rs.
//
// V is float (`..1`), or float4 (`..4`), for which every row must start at a multiple of 16 bytes and have a
// multiple of four columns. With Adam a number takes 47 instructions, most of them for an exact root and quotient, and
// with its share of the addresses 75; at 28 bytes of memory that is a third of what an H100 has time for.
#include "common.cuh"

/// The twin of `AdamStep` in src/program/ops/optimizer.rs.
struct AdamStep {
    static constexpr u32 STATE = 2;
    float rate, beta1, beta2, second_correction, epsilon;
};

/// One step on a number `p` with gradient `g` and moments `m` and `v`.
__device__ __forceinline__ void update(const AdamStep& step, float g, float& p, float& m, float& v) {
    m = step.beta1 * m + (1.0f - step.beta1) * g;
    v = step.beta2 * v + (1.0f - step.beta2) * (g * g);
    p -= step.rate * m / (sqrtf(v * step.second_correction) + step.epsilon);
}

/// The twin of `AdagradStep`; `s` is the sum of squares.
struct AdagradStep {
    static constexpr u32 STATE = 1;
    float rate, epsilon;
};
__device__ __forceinline__ void update(const AdagradStep& step, float g, float& p, float& s, float&) {
    s += g * g;
    p -= step.rate * g / (sqrtf(s) + step.epsilon);
}

struct SgdStep {
    static constexpr u32 STATE = 0;
    float rate;
};
__device__ __forceinline__ void update(const SgdStep& step, float g, float& p, float&, float&) { p -= step.rate * g; }

template <class Step>
__device__ __forceinline__ void update(const Step& step, float4 g, float4& p, float4& m, float4& v) {
    update(step, g.x, p.x, m.x, v.x);
    update(step, g.y, p.y, m.y, v.y);
    update(step, g.z, p.z, m.z, v.z);
    update(step, g.w, p.w, m.w, v.w);
}

/// One step on the numbers of column `col` (in Vs) of a table's row. Value and state are under way while
/// the gradient is found.
template <class V, class Step, class Gradient>
__device__ __forceinline__ void update_at(const Step& step, u32 row, u32 col, Gradient gradient, MatMut values,
                                          MatMut first, MatMut second) {
    V* to_p = (V*)values.row(row) + col;
    V* to_m = (V*)first.row(row) + col;
    V* to_v = (V*)second.row(row) + col;
    V p = *to_p, m = V(), v = V();
    if (Step::STATE > 0) m = *to_m;
    if (Step::STATE > 1) v = *to_v;
    update(step, gradient(), p, m, v);
    *to_p = p;
    if (Step::STATE > 0) *to_m = m;
    if (Step::STATE > 1) *to_v = v;
}

/// A step on the rows `ids[g]`, whose gradient is the sum of the rows `members[offsets[g]..offsets[g + 1]]` of
/// `grads`, added in that order. A thread has one V of one group. Floor: 8 bytes of values and 8 of each state per
/// number, read and written once, and 4 per member.
template <class V, class Step>
__device__ __forceinline__ void optimize_rows(Step step, u32 groups, const u32* ids, const u32* offsets,
                                              const u32* members, Mat grads, MatMut values, MatMut first,
                                              MatMut second) {
    Cell c = cell(groups, values.cols / width<V>());
    if (!c.inside) return;
    u32 begin = offsets[c.row], end = offsets[c.row + 1];
    auto gradient = [=]() {
        V sum = V();
#pragma unroll 4
        for (u32 i = begin; i < end; i++) sum = sum + ((const V*)grads.row(members[i]))[c.col];
        return sum;
    };
    update_at<V>(step, ids[c.row], c.col, gradient, values, first, second);
}

/// A step on all rows. Floor: 4 bytes more per number than above.
template <class V, class Step>
__device__ __forceinline__ void optimize(Step step, Mat grads, MatMut values, MatMut first, MatMut second) {
    Cell c = cell(values.rows, values.cols / width<V>());
    if (!c.inside) return;
    auto gradient = [=]() { return ((const V*)grads.row(c.row))[c.col]; };
    update_at<V>(step, c.row, c.col, gradient, values, first, second);
}

#define OPTIMIZER(name, Step)                                                                                   \
    KERNEL_BLOCKS(256, 4, name##_rows1,                                                                         \
                  (Step step, u32 groups, const u32* ids, const u32* offsets, const u32* members, Mat grads,    \
                   MatMut values, MatMut first, MatMut second)) {                                               \
        optimize_rows<float>(step, groups, ids, offsets, members, grads, values, first, second);                \
    }                                                                                                           \
    KERNEL_BLOCKS(256, 4, name##_rows4,                                                                         \
                  (Step step, u32 groups, const u32* ids, const u32* offsets, const u32* members, Mat grads,    \
                   MatMut values, MatMut first, MatMut second)) {                                               \
        optimize_rows<float4>(step, groups, ids, offsets, members, grads, values, first, second);               \
    }                                                                                                           \
    KERNEL(256, name##1, (Step step, Mat grads, MatMut values, MatMut first, MatMut second)) {                  \
        optimize<float>(step, grads, values, first, second);                                                    \
    }                                                                                                           \
    KERNEL(256, name##4, (Step step, Mat grads, MatMut values, MatMut first, MatMut second)) {                  \
        optimize<float4>(step, grads, values, first, second);                                                   \
    }
OPTIMIZER(adam, AdamStep)
OPTIMIZER(adagrad, AdagradStep)
OPTIMIZER(sgd, SgdStep)
#undef OPTIMIZER

/// A step of row-wise Adagrad on a row by a warp: the gradient is found twice, for its squares and to be taken.
template <class Gradient>
__device__ __forceinline__ void rowwise_step(const AdagradStep& step, u32 row, Gradient gradient, MatMut values,
                                             MatMut sums) {
    u32 lane = threadIdx.x % 32, cols = values.cols;
    float *p = values.row(row), *to_sum = sums.row(row), squares = 0.0f, sum = *to_sum;
    for (u32 k = lane; k < cols; k += 32) {
        float g = gradient(k);
        squares += g * g;
    }
    // After this every lane has read the sum that the first one overwrites.
    sum += warp_sum(squares) / (float)cols;
    float rate = step.rate / (sqrtf(sum) + step.epsilon);
    for (u32 k = lane; k < cols; k += 32) p[k] -= rate * gradient(k);
    if (lane == 0) *to_sum = sum;
}
KERNEL(256, rowwise_adagrad_rows, (AdagradStep step, u32 groups, const u32* ids, const u32* offsets,
                                   const u32* members, Mat grads, MatMut values, MatMut sums)) {
    u32 g = blockIdx.x * 8 + threadIdx.x / 32;
    if (g >= groups) return;
    u32 begin = offsets[g], end = offsets[g + 1];
    auto gradient = [=](u32 k) {
        float sum = 0.0f;
        for (u32 i = begin; i < end; i++) sum += grads.row(members[i])[k];
        return sum;
    };
    rowwise_step(step, ids[g], gradient, values, sums);
}
KERNEL(256, rowwise_adagrad, (AdagradStep step, Mat grads, MatMut values, MatMut sums)) {
    u32 row = blockIdx.x * 8 + threadIdx.x / 32;
    if (row >= values.rows) return;
    rowwise_step(step, row, [=](u32 k) { return grads.row(row)[k]; }, values, sums);
}
