// Projections by matrices: the vectors of all uses of a relation, times its matrix. CPU twin:
// src/backend/cpu/matrix.rs; launchers: src/backend/cuda/matrix.rs.
//
// A block has one matrix and 64 of its columns (of its transpose's in the backward pass), and goes over the matrix's
// uses in tiles, so that the matrix is read once where they fit one. Every sum is in the order of its terms. Floor: 4
// bytes per number of each matrix forward and backward for the vectors, 4 for its own gradient.
#include "common.cuh"

namespace matrix {

/// Which uses a matrix has: group g is `members[offsets[g]..offsets[g + 1]]`, its matrix row `ids[g]`. Without ids, use g
/// alone has row g. The twin of `Groups` in src/backend/cuda/matrix.rs.
struct Groups {
    const u32 *ids, *offsets, *members;

    __device__ __forceinline__ u32 row(u32 g) const { return ids ? ids[g] : g; }
    __device__ __forceinline__ u32 first(u32 g) const { return ids ? offsets[g] : g; }
    __device__ __forceinline__ u32 end(u32 g) const { return ids ? offsets[g + 1] : g + 1; }
    __device__ __forceinline__ u32 use(u32 i) const { return ids ? members[i] : i; }
};

/// Vectors of the uses from `first` on: element (i, k) is number k of use i's.
struct Vectors {
    static constexpr bool ALONG_ROWS = true;
    Groups groups;
    /// Slots of the uses; without, use i is row i.
    const u32* inputs;
    Mat rows;
    u32 first;
    __device__ __forceinline__ const float* row(u32 i) const {
        u32 use = groups.use(first + i);
        return rows.row(inputs ? inputs[use] : use);
    }
    __device__ __forceinline__ float at(u32 i, u32 k) const { return row(i)[k]; }
};

/// d x d numbers, row by row.
struct Square {
    static constexpr bool ALONG_ROWS = true;
    const float* data;
    u32 d;
    __device__ __forceinline__ float at(u32 i, u32 k) const { return data[(i64)i * d + k]; }
};

template <class M> struct Transposed {
    static constexpr bool ALONG_ROWS = !M::ALONG_ROWS;
    M m;
    __device__ __forceinline__ float at(u32 i, u32 k) const { return m.at(k, i); }
};

/// `LINES` x 64 numbers of a product a b of rows x depth and depth x cols, 4 columns and LINES / 16 rows a thread of 256;
/// `out(i, j, sum)` takes them. All threads of the block must call it.
template <u32 LINES, class A, class B, class Out>
__device__ __forceinline__ void multiply(const A& a, const B& b, u32 rows, u32 cols, u32 depth, u32 first_row,
                                         u32 first_col, Out out) {
    constexpr u32 EACH = LINES / 16;
    __shared__ float left[16][LINES + 4];
    __shared__ float4 right[16][17];
    u32 x = threadIdx.x % 16, y = threadIdx.x / 16;
    float sums[EACH][4] = {};
    for (u32 step = 0; step < depth; step += 16) {
        // Neighbours in a warp are neighbours in memory.
#pragma unroll
        for (u32 n = 0; n < EACH; n++) {
            u32 e = n * 256 + threadIdx.x;
            u32 i = A::ALONG_ROWS ? e / 16 : e % LINES, k = A::ALONG_ROWS ? e % 16 : e / LINES;
            bool inside = first_row + i < rows && step + k < depth;
            left[k][i] = inside ? a.at(first_row + i, step + k) : 0.0f;
        }
#pragma unroll
        for (u32 n = 0; n < 4; n++) {
            u32 e = n * 256 + threadIdx.x;
            u32 k = B::ALONG_ROWS ? e / 64 : e % 16, j = B::ALONG_ROWS ? e % 64 : e / 16;
            bool inside = step + k < depth && first_col + j < cols;
            ((float*)right[k])[j] = inside ? b.at(step + k, first_col + j) : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (u32 k = 0; k < 16; k++) {
            float4 v = right[k][x];
            float vs[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
            for (u32 i = 0; i < EACH; i++)
#pragma unroll
                for (u32 j = 0; j < 4; j++) sums[i][j] = fmaf(left[k][y * EACH + i], vs[j], sums[i][j]);
        }
        __syncthreads();
    }
#pragma unroll
    for (u32 i = 0; i < EACH; i++)
#pragma unroll
        for (u32 j = 0; j < 4; j++) {
            u32 row = first_row + y * EACH + i, col = first_col + 4 * x + j;
            if (row < rows && col < cols) out(row, col, sums[i][j]);
        }
}

/// The vectors of group blockIdx.x times its matrix (or its transpose), 64 columns of them a block: the vectors of use i
/// are row `from[i]` (without: i) of `x`, and the products go to row `to[i]` of `out`.
template <bool TRANSPOSED>
__device__ __forceinline__ void vectors(const Groups& groups, const u32* from, const Mat& x, const Mat& matrices,
                                        const u32* to, const MatMut& out) {
    u32 g = blockIdx.x, d = x.cols, first = groups.first(g), count = groups.end(g) - first;
    Vectors a = {groups, from, x, first};
    Square square = {matrices.row(groups.row(g)), d};
    auto put = [&](u32 i, u32 k, float sum) {
        u32 use = groups.use(first + i);
        out.row(to ? to[use] : use)[k] = sum;
    };
    for (u32 i = 0; i < count; i += 16) {
        if (TRANSPOSED) multiply<16>(a, Transposed<Square>{square}, count, d, d, i, blockIdx.y * 64, put);
        else multiply<16>(a, square, count, d, d, i, blockIdx.y * 64, put);
    }
}

} // namespace matrix

/// outs[i] = slots[inputs[i]] R.
KERNEL(256, project_matrix, (matrix::Groups groups, const u32* inputs, Mat matrices, Mat slots, MatMut outs)) {
    matrix::vectors<false>(groups, inputs, slots, matrices, nullptr, outs);
}

/// grads[inputs[i]] = R douts[i].
KERNEL(256, project_matrix_backward,
       (matrix::Groups groups, const u32* inputs, Mat matrices, Mat douts, MatMut grads)) {
    matrix::vectors<true>(groups, nullptr, douts, matrices, inputs, grads);
}

/// The gradient of a matrix: the sum over its uses of the outer products of their vectors. A block has 64 x 64 numbers.
KERNEL(256, project_matrix_gradient,
       (matrix::Groups groups, const u32* inputs, Mat slots, Mat douts, MatMut gradients)) {
    using namespace matrix;
    u32 g = blockIdx.x, d = slots.cols, first = groups.first(g), count = groups.end(g) - first;
    Vectors q = {groups, inputs, slots, first}, dout = {groups, nullptr, douts, first};
    float* to = gradients.row(groups.row(g));
    multiply<64>(Transposed<Vectors>{q}, dout, d, d, count, blockIdx.y * 64, blockIdx.z * 64,
                 [&](u32 i, u32 k, float sum) { to[(i64)i * d + k] = sum; });
}
