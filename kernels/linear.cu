// Linear layers: products where the device has no library for them, biases, activations. CPU twin:
// src/backend/cpu/linear.rs; launchers: src/backend/cuda/linear.rs.
#include "common.cuh"

/// A factor of a product. A line is a row of the first factor or a column of the second; the sums run over
/// `depth` steps. Rows of memory, `stride` apart, are lines or steps. The twin of `Factor` in
/// src/backend/cuda/linear.rs.
struct Factor {
    const float* data;
    i64 stride;
    u32 lines, depth;
};

/// Groups of four numbers that a step has in a tile: its 64 lines, and four more so that the next step begins
/// in other banks of shared memory.
enum { PITCH = 17 };

/// What a block multiplies at once of a factor, 64 lines by 16 steps, on its way from memory: four numbers a
/// thread. Neighbours in a warp are neighbours in memory. LINES: whether rows of memory are lines.
template <bool LINES> struct Tile {
    static constexpr u32 HOP_LINE = LINES ? 16 : 0, HOP_STEP = LINES ? 0 : 4;
    const float* from;
    u32 first_line, line, step;
    float numbers[4];

    __device__ __forceinline__ Tile(const Factor& f, u32 first_line) : first_line(first_line) {
        line = LINES ? threadIdx.x / 16 : threadIdx.x % 64;
        step = LINES ? threadIdx.x % 16 : threadIdx.x / 64;
        i64 row = LINES ? first_line + line : step, col = LINES ? step : first_line + line;
        from = f.data + row * f.stride + col;
    }
    /// The tiles of a factor come one after the other; beyond its end there are zeros.
    __device__ __forceinline__ void load(const Factor& f, u32 first_step) {
#pragma unroll
        for (u32 n = 0; n < 4; n++) {
            u32 i = first_line + line + n * HOP_LINE, k = first_step + step + n * HOP_STEP;
            numbers[n] = i < f.lines && k < f.depth ? from[n * (HOP_LINE + HOP_STEP) * f.stride] : 0.0f;
        }
        from += LINES ? 16 : 16 * f.stride;
    }
    __device__ __forceinline__ void store(float4 (*to)[PITCH]) const {
        float* at = (float*)to[step] + line;
#pragma unroll
        for (u32 n = 0; n < 4; n++) at[n * (HOP_STEP * 4 * PITCH + HOP_LINE)] = numbers[n];
    }
};

/// c = a b, or c += a b: 64 x 64 numbers a block, 4 x 4 a thread, each added up in the order of the steps.
///
/// The next pair of tiles is under way while one is multiplied. A step of a thread is 16 multiplications and
/// 2 loads of four numbers; with what fetches the tiles, 256 of 361 to 382 instructions are multiplications.
template <bool A_LINES, bool B_LINES>
__device__ __forceinline__ void matmul(const Factor& a, const Factor& b, u32 accumulate, MatMut c) {
    __shared__ float4 tiles[2][2][16][PITCH];
    // All tiles in gridDim.x: a table of entities has more rows than 64 times the other dimensions of a grid.
    const u32 tiles_down = ceil_div(c.rows, 64);
    u32 first_row = blockIdx.x % tiles_down * 64, first_col = blockIdx.x / tiles_down * 64;
    u32 x = threadIdx.x % 16, y = threadIdx.x / 16;
    float sums[4][4] = {};
    Tile<A_LINES> of_a(a, first_row);
    Tile<B_LINES> of_b(b, first_col);
    of_a.load(a, 0);
    of_b.load(b, 0);
    for (u32 step = 0, turn = 0; step < a.depth; step += 16, turn ^= 1) {
        of_a.store(tiles[turn][0]);
        of_b.store(tiles[turn][1]);
        // After this nobody reads the other pair of tiles, which the next turn overwrites.
        __syncthreads();
        of_a.load(a, step + 16);
        of_b.load(b, step + 16);
#pragma unroll
        for (u32 k = 0; k < 16; k++) {
            float4 u = tiles[turn][0][k][y], v = tiles[turn][1][k][x];
            float us[4] = {u.x, u.y, u.z, u.w}, vs[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
            for (u32 i = 0; i < 4; i++)
#pragma unroll
                for (u32 j = 0; j < 4; j++) sums[i][j] = fmaf(us[i], vs[j], sums[i][j]);
        }
    }
#pragma unroll
    for (u32 i = 0; i < 4; i++) {
        u32 row = first_row + 4 * y + i, col = first_col + 4 * x;
        if (row >= c.rows) return;
        float* to = c.row(row) + col;
#pragma unroll
        for (u32 j = 0; j < 4; j++)
            if (col + j < c.cols) to[j] = accumulate ? to[j] + sums[i][j] : sums[i][j];
    }
}
// n: a factor as it lies in memory, t: its transpose.
#define MATMUL(name, A_LINES, B_LINES)                                         \
    KERNEL(256, name, (Factor a, Factor b, u32 accumulate, MatMut c)) {        \
        matmul<A_LINES, B_LINES>(a, b, accumulate, c);                         \
    }
MATMUL(matmul_nn, true, false)
MATMUL(matmul_nt, true, true)
MATMUL(matmul_tn, false, false)
MATMUL(matmul_tt, false, true)
#undef MATMUL

/// out = f(out + b).
template <class V> __device__ __forceinline__ void bias_activate(u32 f, Mat b, MatMut out) {
    Cell c = cell(out.rows, out.cols / width<V>());
    if (!c.inside) return;
    V* y = (V*)out.row(c.row) + c.col;
    *y = activate(f, *y + ((const V*)b.row(0))[c.col]);
}
KERNEL(256, bias_activate1, (u32 f, Mat b, MatMut out)) { bias_activate<float>(f, b, out); }
KERNEL(256, bias_activate4, (u32 f, Mat b, MatMut out)) { bias_activate<float4>(f, b, out); }

/// dout = 0 where the output of a Relu is 0; NaN lets the gradient through.
__device__ __forceinline__ float relu_gradient(float y, float d) { return y <= 0.0f ? 0.0f : d; }
__device__ __forceinline__ float4 relu_gradient(float4 y, float4 d) {
    return make_float4(relu_gradient(y.x, d.x), relu_gradient(y.y, d.y), relu_gradient(y.z, d.z),
                       relu_gradient(y.w, d.w));
}
template <class V> __device__ __forceinline__ void relu_backward(Mat out, MatMut dout) {
    Cell c = cell(dout.rows, dout.cols / width<V>());
    if (!c.inside) return;
    V* d = (V*)dout.row(c.row) + c.col;
    *d = relu_gradient(((const V*)out.row(c.row))[c.col], *d);
}
KERNEL(256, relu_backward1, (Mat out, MatMut dout)) { relu_backward<float>(out, dout); }
KERNEL(256, relu_backward4, (Mat out, MatMut dout)) { relu_backward<float4>(out, dout); }

/// sums[0] += the sum of the rows of x. A block has 8 columns, the 32 bytes that memory gives at once, and 64
/// partial sums of each, which a tree adds up.
KERNEL(512, add_rows, (Mat x, MatMut sums)) {
    __shared__ float partial[64][8];
    u32 place = threadIdx.x / 8, k = threadIdx.x % 8, col = blockIdx.x * 8 + k;
    float sum = 0.0f;
    if (col < x.cols) {
#pragma unroll 8
        for (i64 i = place; i < x.rows; i += 64) sum += x.row(i)[col];
    }
    partial[place][k] = sum;
    for (u32 half = 32; half > 0; half /= 2) {
        __syncthreads();
        if (place < half) partial[place][k] += partial[place + half][k];
    }
    if (place == 0 && col < x.cols) sums.row(0)[col] += partial[0][k];
}
