// Moving and adding rows; dropout. CPU twin: src/backend/cpu/rows.rs; launchers: src/backend/cuda/rows.rs.
//
// Each kernel that moves rows comes in two widths: one float a thread, and four (`..4`), for which every row
// must start at a multiple of 16 bytes and have a multiple of four columns.
#include "common.cuh"

/// out[i] = table[rows[i]].
KERNEL(256, gather, (Mat table, const u32* rows, MatMut out)) {
    Cell c = cell(out.rows, out.cols);
    if (c.inside) out.row(c.row)[c.col] = table.row(rows[c.row])[c.col];
}
KERNEL(256, gather4, (Mat table, const u32* rows, MatMut out)) {
    Cell c = cell(out.rows, out.cols / 4);
    if (c.inside) *four(out.row(c.row), c.col) = *four(table.row(rows[c.row]), c.col);
}

/// out[rows[i]] = from[i]; the row numbers are distinct.
KERNEL(256, scatter, (Mat from, const u32* rows, MatMut out)) {
    Cell c = cell(from.rows, from.cols);
    if (c.inside) out.row(rows[c.row])[c.col] = from.row(c.row)[c.col];
}
KERNEL(256, scatter4, (Mat from, const u32* rows, MatMut out)) {
    Cell c = cell(from.rows, from.cols / 4);
    if (c.inside) *four(out.row(rows[c.row]), c.col) = *four(from.row(c.row), c.col);
}

/// out = from.
KERNEL(256, copy, (Mat from, MatMut out)) {
    Cell c = cell(out.rows, out.cols);
    if (c.inside) out.row(c.row)[c.col] = from.row(c.row)[c.col];
}
KERNEL(256, copy4, (Mat from, MatMut out)) {
    Cell c = cell(out.rows, out.cols / 4);
    if (c.inside) *four(out.row(c.row), c.col) = *four(from.row(c.row), c.col);
}

/// out = value.
KERNEL(256, fill, (float value, MatMut out)) {
    Cell c = cell(out.rows, out.cols);
    if (c.inside) out.row(c.row)[c.col] = value;
}
KERNEL(256, fill4, (float value, MatMut out)) {
    Cell c = cell(out.rows, out.cols / 4);
    if (c.inside) *four(out.row(c.row), c.col) = make_float4(value, value, value, value);
}

/// to += from.
KERNEL(256, add, (Mat from, MatMut to)) {
    Cell c = cell(to.rows, to.cols);
    if (c.inside) to.row(c.row)[c.col] += from.row(c.row)[c.col];
}
KERNEL(256, add4, (Mat from, MatMut to)) {
    Cell c = cell(to.rows, to.cols / 4);
    if (c.inside) *four(to.row(c.row), c.col) = *four(to.row(c.row), c.col) + *four(from.row(c.row), c.col);
}

/// to[ids[g]] += the sum of the rows members[offsets[g]..offsets[g + 1]] of `from`, added in that order. A thread
/// has one V of one group. Floor: 8 bytes per number of a group, and 4 per member.
template <class V>
__device__ __forceinline__ void add_groups(u32 groups, const u32* ids, const u32* offsets, const u32* members,
                                           Mat from, MatMut to) {
    Cell c = cell(groups, to.cols / width<V>());
    if (!c.inside) return;
    V* target = (V*)to.row(ids[c.row]) + c.col;
    V sum = *target;
    u32 end = offsets[c.row + 1];
#pragma unroll 4
    for (u32 i = offsets[c.row]; i < end; i++) sum = sum + ((const V*)from.row(members[i]))[c.col];
    *target = sum;
}
KERNEL(256, add_groups1, (u32 groups, const u32* ids, const u32* offsets, const u32* members, Mat from, MatMut to)) {
    add_groups<float>(groups, ids, offsets, members, from, to);
}
KERNEL(256, add_groups4, (u32 groups, const u32* ids, const u32* offsets, const u32* members, Mat from, MatMut to)) {
    add_groups<float4>(groups, ids, offsets, members, from, to);
}

/// The twin of `Dropout` in src/program/ops/dropout.rs.
struct Dropout {
    u32 threshold, key0, key1;
    float scale;
};
__device__ __forceinline__ u32 mix(u32 x) {
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

/// x = 0 where the hash of its place is below the threshold, else x * scale. Floor: 8 bytes per number.
KERNEL(256, dropout, (Dropout d, MatMut x)) {
    Cell c = cell(x.rows, x.cols);
    if (!c.inside) return;
    u32 hash = mix(mix(d.key0 ^ mix(c.row + d.key1)) + c.col * 0x9e3779b9u);
    float* at = x.row(c.row) + c.col;
    *at = hash >= d.threshold ? *at * d.scale : 0.0f;
}
