// Clipping of gradients by their norm. CPU twin: src/backend/cpu/clip.rs; launchers: src/backend/cuda/clip.rs.
#include "common.cuh"

/// The sum of squares of `number(k)` over `cols` columns, by a warp, into squares[0, row].
template <class Number>
__device__ __forceinline__ void squares_of(u32 row, u32 cols, Number number, MatMut squares) {
    u32 lane = threadIdx.x % 32;
    float sum = 0.0f;
    for (u32 k = lane; k < cols; k += 32) {
        float x = number(k);
        sum += x * x;
    }
    sum = warp_sum(sum);
    if (lane == 0) squares.row(0)[row] = sum;
}

/// squares[0, g] = the squares of the sum of the rows members[offsets[g]..offsets[g + 1]] of `from`. A warp a group.
/// Floor: 4 bytes per number of a member.
KERNEL(256, group_squares, (u32 groups, const u32* offsets, const u32* members, Mat from, MatMut squares)) {
    u32 g = blockIdx.x * 8 + threadIdx.x / 32;
    if (g >= groups) return;
    u32 begin = offsets[g], end = offsets[g + 1];
    auto number = [=](u32 k) {
        float sum = 0.0f;
#pragma unroll 4
        for (u32 i = begin; i < end; i++) sum += from.row(members[i])[k];
        return sum;
    };
    squares_of(g, from.cols, number, squares);
}
KERNEL(256, row_squares, (Mat from, MatMut squares)) {
    u32 i = blockIdx.x * 8 + threadIdx.x / 32;
    if (i < from.rows) squares_of(i, from.cols, [=](u32 k) { return from.row(i)[k]; }, squares);
}

/// factor[0, 0] = min(1, bound / sqrt(sum of squares)), by one block; 1 where the sum is NaN.
KERNEL(256, clip_factor, (float bound, Mat squares, MatMut factor)) {
    __shared__ double warps[8];
    double sum = 0.0;
    for (u32 n = threadIdx.x; n < squares.cols; n += 256) sum += squares.row(0)[n];
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x > 0) return;
    for (u32 w = 1; w < 8; w++) sum += warps[w];
    double norm = sqrt(sum);
    factor.row(0)[0] = norm > bound ? (float)(bound / norm) : 1.0f;
}

/// x *= factor[0, 0]. Floor: 8 bytes per number.
template <class V> __device__ __forceinline__ void scale(Mat factor, MatMut x) {
    Cell c = cell(x.rows, x.cols / width<V>());
    float by = factor.row(0)[0];
    if (!c.inside || by == 1.0f) return;
    V* at = (V*)x.row(c.row) + c.col;
    V value = *at;
    for (u32 k = 0; k < width<V>(); k++) ((float*)&value)[k] *= by;
    *at = value;
}
KERNEL(256, scale1, (Mat factor, MatMut x)) { scale<float>(factor, x); }
KERNEL(256, scale4, (Mat factor, MatMut x)) { scale<float4>(factor, x); }
