// What every kernel file builds on: matrix views, the mapping of threads to cells, reductions.
//
// The files compile with NVRTC (no headers of the toolkit are needed) and, through emulator.h, as C++.
#pragma once
#ifdef SMORE_EMULATED
#include "emulator.h"
#define ASSERT(condition) assert(condition)
#define KERNEL_BLOCKS(threads, blocks, name, params) KERNEL(threads, name, params)
#else
#define KERNEL(threads, name, params) extern "C" __global__ void __launch_bounds__(threads) name params
// For a kernel that is content with this many blocks on a multiprocessor: left to itself, the compiler saves
// registers for more blocks and waits for each load before it asks for the next one.
#define KERNEL_BLOCKS(threads, blocks, name, params) \
    extern "C" __global__ void __launch_bounds__(threads, blocks) name params
#define ASSERT(condition)
#endif

typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#define NAN_F __uint_as_float(0x7fc00000u)
#define INFINITY_F __uint_as_float(0x7f800000u)

/// `rows x cols` floats, row `i` at `data + i * stride`. The twin of `RawMat` in src/backend/cuda/memory.rs.
struct Mat {
    const float* data;
    i64 stride;
    u32 rows, cols;
    __device__ __forceinline__ const float* row(i64 i) const {
        ASSERT(i >= 0 && i < rows);
        return data + i * stride;
    }
};

/// The same, to be written.
struct MatMut {
    float* data;
    i64 stride;
    u32 rows, cols;
    __device__ __forceinline__ float* row(i64 i) const {
        ASSERT(i >= 0 && i < rows);
        return data + i * stride;
    }
};

// A kernel for cells runs one thread per column of each row, in blocks of 256: see `Cuda::cells`.
// Rows are cut into groups of 256, a group's cells into blocks (gridDim.x), so that the division below is one of
// 32 bits and neighbours in a warp are neighbours in memory. Groups are counted by gridDim.y and gridDim.z, which
// are small: together they reach any number of rows, without a loop.
struct Cell {
    u32 row, col;
    bool inside;
};
__device__ __forceinline__ Cell cell(u32 rows, u32 cols) {
    u32 group = blockIdx.z * gridDim.y + blockIdx.y, i = blockIdx.x * 256 + threadIdx.x;
    u32 row = i / cols;
    Cell c = {group * 256 + row, i - row * cols, row < 256};
    c.inside = c.inside && c.row < rows;
    return c;
}

__device__ __forceinline__ float4 operator+(float4 a, float4 b) {
    return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}
__device__ __forceinline__ float4 operator-(float4 a, float4 b) {
    return make_float4(a.x - b.x, a.y - b.y, a.z - b.z, a.w - b.w);
}
__device__ __forceinline__ float4 operator*(float4 a, float4 b) {
    return make_float4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w);
}

/// Floats in a V, for kernels that work on float or float4 alike.
template <class V> __device__ constexpr u32 width() { return sizeof(V) / sizeof(float); }

/// Four floats of a row: `i` counts groups of four; the address must be a multiple of 16 bytes.
__device__ __forceinline__ const float4* four(const float* row, u32 i) { return (const float4*)row + i; }
__device__ __forceinline__ float4* four(float* row, u32 i) { return (float4*)row + i; }

__device__ __forceinline__ u32 ceil_div(u32 a, u32 b) { return (a + b - 1) / b; }

/// Columns `first..first + cols` of a matrix.
__device__ __forceinline__ Mat columns(const Mat& m, u32 first, u32 cols) {
    return {m.data + first, m.stride, m.rows, cols};
}
__device__ __forceinline__ MatMut columns(const MatMut& m, u32 first, u32 cols) {
    return {m.data + first, m.stride, m.rows, cols};
}

/// Whether every row starts on 16 bytes.
__device__ __forceinline__ bool aligned(const Mat& m) { return ((u64)m.data & 15) == 0 && m.stride % 4 == 0; }

/// Columns `col..col + 4` of a row, at once where they lie on 16 bytes; zeros beyond the matrix.
__device__ __forceinline__ float4 load4(const Mat& m, u32 row, u32 col) {
    float4 v = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (row >= m.rows) return v;
    const float* p = m.row(row) + col;
    if (col + 4 <= m.cols && ((u64)p & 15) == 0) return *(const float4*)p;
    if (col < m.cols) v.x = p[0];
    if (col + 1 < m.cols) v.y = p[1];
    if (col + 2 < m.cols) v.z = p[2];
    if (col + 3 < m.cols) v.w = p[3];
    return v;
}

/// Writes columns `col..col + 4` of a row, as far as the matrix has them.
__device__ __forceinline__ void store4(const MatMut& m, u32 row, u32 col, float4 v) {
    if (row >= m.rows) return;
    float* p = m.row(row) + col;
    if (col + 4 <= m.cols && ((u64)p & 15) == 0) {
        *(float4*)p = v;
        return;
    }
    if (col < m.cols) p[0] = v.x;
    if (col + 1 < m.cols) p[1] = v.y;
    if (col + 2 < m.cols) p[2] = v.z;
    if (col + 3 < m.cols) p[3] = v.w;
}

/// The sum over a warp, in every lane, in a fixed order.
template <class T> __device__ __forceinline__ T warp_sum(T x) {
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes >>= 1) x += __shfl_xor_sync(0xffffffffu, x, lanes);
    return x;
}

/// The greatest over a warp, in every lane; NaN only where all are.
__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes >>= 1) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, lanes));
    return x;
}

/// The numbers of all threads of a block of 256, combined in a fixed order, in every thread.
template <class Combine> __device__ __forceinline__ float block_reduce(float x, Combine combine) {
    __shared__ float warps[8];
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes >>= 1) x = combine(x, __shfl_xor_sync(0xffffffffu, x, lanes));
    // Not before everybody has read what an earlier call left.
    __syncthreads();
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = x;
    __syncthreads();
    x = warps[0];
#pragma unroll
    for (u32 w = 1; w < 8; w++) x = combine(x, warps[w]);
    return x;
}

/// max(x, 0); NaN stays NaN.
__device__ __forceinline__ float relu(float x) { return x < 0.0f ? 0.0f : x; }

/// 1 / (1 + e^-x), without overflow.
__device__ __forceinline__ float sigmoid(float x) {
    float e = expf(-fabsf(x));
    return (x >= 0.0f ? 1.0f : e) / (1.0f + e);
}

/// ln(1 + e^x), without overflow; NaN stays NaN.
__device__ __forceinline__ float softplus(float x) { return relu(x) + log1pf(expf(-fabsf(x))); }

/// 1 / sqrt(x) of positive, normal x, within 2 units in the last place.
__device__ __forceinline__ float inverse_root(float x) {
#ifdef SMORE_EMULATED
    return 1.0f / sqrtf(x);
#else
    float y;
    asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}

/// The codes of `Activation` in src/backend/cuda/mod.rs.
enum { ACTIVATION_NONE, ACTIVATION_RELU, ACTIVATION_SOFTPLUS };
__device__ __forceinline__ float activate(u32 f, float x) {
    return f == ACTIVATION_RELU ? relu(x) : f == ACTIVATION_SOFTPLUS ? softplus(x) : x;
}
__device__ __forceinline__ float4 activate(u32 f, float4 x) {
    return make_float4(activate(f, x.x), activate(f, x.y), activate(f, x.z), activate(f, x.w));
}
