// Batch normalisation: mean and variance of columns, and what they do to rows. CPU twin: src/backend/cpu/normalise.rs; launchers:
// src/backend/cuda/normalise.rs.
//
// Sums over rows: a block has 8 columns, the 32 bytes that memory gives at once, and 64 partial sums of each, which a tree
// adds up, as `add_rows` in linear.cu. Floors: 8 bytes per number for mean and variance, 8 for a normalised number, 24 backward.
#include "common.cuh"

namespace normalise {

enum { PLACES = 64, COLUMNS = 8 };

/// The sum of `term(i)` over the rows, in every thread of a column. All threads of the block must call it.
template <class Term> __device__ __forceinline__ float over_rows(u32 rows, bool inside, Term term) {
    __shared__ float partial[PLACES][COLUMNS];
    u32 place = threadIdx.x / COLUMNS, k = threadIdx.x % COLUMNS;
    float sum = 0.0f;
    if (inside) {
#pragma unroll 8
        for (i64 i = place; i < rows; i += PLACES) sum += term(i);
    }
    // Not before everybody has read what an earlier call left.
    __syncthreads();
    partial[place][k] = sum;
    for (u32 half = PLACES / 2; half > 0; half /= 2) {
        __syncthreads();
        if (place < half) partial[place][k] += partial[place + half][k];
    }
    __syncthreads();
    return partial[0][k];
}

/// Whether the derivative of f lets a gradient through, by f's value; NaN does.
__device__ __forceinline__ bool open(u32 f, float y) { return f != ACTIVATION_RELU || !(y <= 0.0f); }

__device__ __forceinline__ float inverse_deviation(const Mat& mean_variance, u32 k, float epsilon) {
    return __fdiv_rn(1.0f, sqrtf(mean_variance.row(1)[k] + epsilon));
}

} // namespace normalise

/// out[0] = means of the columns, out[1] = means of the squared distances from them.
KERNEL(512, mean_variance, (Mat x, MatMut out)) {
    using namespace normalise;
    u32 place = threadIdx.x / COLUMNS, col = blockIdx.x * COLUMNS + threadIdx.x % COLUMNS;
    bool inside = col < x.cols;
    float mean = over_rows(x.rows, inside, [&](i64 i) { return x.row(i)[col]; }) / x.rows;
    float squares = over_rows(x.rows, inside, [&](i64 i) {
        float t = x.row(i)[col] - mean;
        return t * t;
    });
    if (place == 0 && inside) {
        out.row(0)[col] = mean;
        out.row(1)[col] = squares / x.rows;
    }
}

/// out = f((x - mean) / sqrt(variance + epsilon) * (1 + affine[0]) + affine[1]).
KERNEL(256, normalise_rows, (u32 f, float epsilon, Mat x, Mat mean_variance, Mat affine, MatMut out)) {
    Cell c = cell(out.rows, out.cols);
    if (!c.inside) return;
    u32 k = c.col;
    float slope = normalise::inverse_deviation(mean_variance, k, epsilon) * (1.0f + affine.row(0)[k]);
    out.row(c.row)[k] = activate(f, (x.row(c.row)[k] - mean_variance.row(0)[k]) * slope + affine.row(1)[k]);
}

/// Gradients of scales and shifts: sums[0] of gradient times normalised number, sums[1] of gradients.
KERNEL(512, normalise_sums, (u32 f, float epsilon, Mat x, Mat mean_variance, Mat out, Mat dout, MatMut sums)) {
    using namespace normalise;
    u32 place = threadIdx.x / COLUMNS, col = blockIdx.x * COLUMNS + threadIdx.x % COLUMNS;
    bool inside = col < x.cols;
    float mean = inside ? mean_variance.row(0)[col] : 0.0f;
    float inverse = inside ? inverse_deviation(mean_variance, col, epsilon) : 0.0f;
    auto gradient = [&](i64 i) { return open(f, out.row(i)[col]) ? dout.row(i)[col] : 0.0f; };
    float scale = over_rows(x.rows, inside, [&](i64 i) { return gradient(i) * (x.row(i)[col] - mean) * inverse; });
    float shift = over_rows(x.rows, inside, gradient);
    if (place == 0 && inside) {
        sums.row(0)[col] = scale;
        sums.row(1)[col] = shift;
    }
}

/// dx from dout, in its place, and the sums.
KERNEL(256, normalise_backward,
       (u32 f, float epsilon, Mat x, Mat mean_variance, Mat affine, Mat out, Mat sums, MatMut dx)) {
    Cell c = cell(dx.rows, dx.cols);
    if (!c.inside) return;
    u32 k = c.col;
    float* d = dx.row(c.row) + k;
    float through = normalise::open(f, out.row(c.row)[k]) ? *d : 0.0f;
    float inverse = normalise::inverse_deviation(mean_variance, k, epsilon);
    float normal = (x.row(c.row)[k] - mean_variance.row(0)[k]) * inverse;
    float mean = sums.row(1)[k] / x.rows, along = sums.row(0)[k] / x.rows;
    *d = inverse * (1.0f + affine.row(0)[k]) * (through - mean - normal * along);
}

/// to += rate (from - to).
KERNEL(256, blend, (float rate, Mat from, MatMut to)) {
    Cell c = cell(to.rows, to.cols);
    if (!c.inside) return;
    float* y = to.row(c.row) + c.col;
    *y += rate * (from.row(c.row)[c.col] - *y);
}
