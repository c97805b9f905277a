// What large numbers of rows cost. CPU twin: src/backend/cpu/penalty.rs; launcher: src/backend/cuda/penalty.rs.
#include "common.cuh"

/// The value of a number, or of both parts of a complex one; turned into derivatives.
struct Squares {
    static const bool complex = false;
    static __device__ __forceinline__ float of(float& x, float&) {
        float value = x * x;
        x *= 2.0f;
        return value;
    }
};
struct Cubes {
    static const bool complex = false;
    static __device__ __forceinline__ float of(float& x, float&) {
        float modulus = fabsf(x), value = x * x * modulus;
        x *= 3.0f * modulus;
        return value;
    }
};
struct ComplexCubes {
    static const bool complex = true;
    static __device__ __forceinline__ float of(float& re, float& im) {
        float square = re * re + im * im, modulus = sqrtf(square);
        re *= 3.0f * modulus;
        im *= 3.0f * modulus;
        return square * modulus;
    }
};

/// grads[i] += weights[i] * penalty'(x[i]) and penalties[0, i] = weights[i] * penalty(x[i]), a warp a row. Complex rows
/// are [real, imaginary]. Floor: 12 bytes per number of a row whose weight is not 0.
template <class Penalty>
__device__ __forceinline__ void regularise(Mat weights, Mat x, MatMut grads, MatMut penalties) {
    u32 i = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (i >= x.rows) return;
    const bool complex = Penalty::complex;
    u32 d = complex ? x.cols / 2 : x.cols;
    const float* z = x.row(i);
    float *dz = grads.row(i), weight = weights.row(0)[i], sum = 0.0f;
    for (u32 k = lane; k < d && weight != 0.0f; k += 32) {
        float re = z[k], im = complex ? z[d + k] : 0.0f;
        // Asked for before anything waits.
        float dre = dz[k], dim = complex ? dz[d + k] : 0.0f;
        sum += Penalty::of(re, im);
        dz[k] = dre + weight * re;
        if (complex) dz[d + k] = dim + weight * im;
    }
    sum = warp_sum(sum);
    if (lane == 0) penalties.row(0)[i] = weight * sum;
}
KERNEL(256, regularise_squares, (Mat weights, Mat x, MatMut grads, MatMut penalties)) {
    regularise<Squares>(weights, x, grads, penalties);
}
KERNEL(256, regularise_cubes, (Mat weights, Mat x, MatMut grads, MatMut penalties)) {
    regularise<Cubes>(weights, x, grads, penalties);
}
KERNEL(256, regularise_complex_cubes, (Mat weights, Mat x, MatMut grads, MatMut penalties)) {
    regularise<ComplexCubes>(weights, x, grads, penalties);
}
