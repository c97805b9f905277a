// Adam. CPU twin: src/backend/cpu/optimizer.rs; launchers: src/backend/cuda/optimizer.rs.
//
// V is float (`..1`), or float4 (`..4`), for which every row must start at a multiple of 16 bytes and have a
// multiple of four columns. A number takes 47 instructions, most of them for an exact root and quotient, and
// with its share of the addresses 75; at 28 bytes of memory that is a third of what an H100 has time for.
#include "common.cuh"

/// The twin of `AdamStep` in src/backend/mod.rs.
struct AdamStep {
    float rate, beta1, beta2, second_correction, epsilon;
};

/// One step on a number `p` with gradient `g` and moments `m` and `v`.
__device__ __forceinline__ void update(const AdamStep& step, float g, float& p, float& m, float& v) {
    m = step.beta1 * m + (1.0f - step.beta1) * g;
    v = step.beta2 * v + (1.0f - step.beta2) * (g * g);
    p -= step.rate * m / (sqrtf(v * step.second_correction) + step.epsilon);
}
__device__ __forceinline__ void update(const AdamStep& step, float4 g, float4& p, float4& m, float4& v) {
    update(step, g.x, p.x, m.x, v.x);
    update(step, g.y, p.y, m.y, v.y);
    update(step, g.z, p.z, m.z, v.z);
    update(step, g.w, p.w, m.w, v.w);
}

/// One step on the numbers of column `col` (in Vs) of a table's row. Value and moments are under way while
/// the gradient is found.
template <class V, class Gradient>
__device__ __forceinline__ void update_at(const AdamStep& step, u32 row, u32 col, Gradient gradient,
                                          MatMut values, MatMut first, MatMut second) {
    V* to_p = (V*)values.row(row) + col;
    V* to_m = (V*)first.row(row) + col;
    V* to_v = (V*)second.row(row) + col;
    V p = *to_p, m = *to_m, v = *to_v;
    update(step, gradient(), p, m, v);
    *to_p = p;
    *to_m = m;
    *to_v = v;
}

/// Adam on the rows `ids[g]`, whose gradient is the sum of the rows `members[offsets[g]..offsets[g + 1]]` of
/// `grads`, added in that order. A thread has one V of one group. Floor: 24 bytes of table per number, read
/// and written once, and 4 per member.
template <class V>
__device__ __forceinline__ void adam_rows(AdamStep step, u32 groups, const u32* ids, const u32* offsets,
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
KERNEL_BLOCKS(256, 4, adam_rows1,
              (AdamStep step, u32 groups, const u32* ids, const u32* offsets, const u32* members, Mat grads,
               MatMut values, MatMut first, MatMut second)) {
    adam_rows<float>(step, groups, ids, offsets, members, grads, values, first, second);
}
KERNEL_BLOCKS(256, 4, adam_rows4,
              (AdamStep step, u32 groups, const u32* ids, const u32* offsets, const u32* members, Mat grads,
               MatMut values, MatMut first, MatMut second)) {
    adam_rows<float4>(step, groups, ids, offsets, members, grads, values, first, second);
}

/// Adam on all rows. Floor: 28 bytes per number.
template <class V>
__device__ __forceinline__ void adam(AdamStep step, Mat grads, MatMut values, MatMut first, MatMut second) {
    Cell c = cell(values.rows, values.cols / width<V>());
    if (!c.inside) return;
    auto gradient = [=]() { return ((const V*)grads.row(c.row))[c.col]; };
    update_at<V>(step, c.row, c.col, gradient, values, first, second);
}
KERNEL(256, adam1, (AdamStep step, Mat grads, MatMut values, MatMut first, MatMut second)) {
    adam<float>(step, grads, values, first, second);
}
KERNEL(256, adam4, (AdamStep step, Mat grads, MatMut values, MatMut first, MatMut second)) {
    adam<float4>(step, grads, values, first, second);
}
