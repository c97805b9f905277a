// Digamma, trigamma and ln Gamma in float64. CPU twin: src/backend/cpu/special.rs, whose method it is: the argument
// is shifted by 10 with the recurrence, the rest are a few terms of the asymptotic series. For arguments from 1e-9 to 4e9.
#pragma once
#include "common.cuh"

namespace special {

constexpr u32 SHIFT = 10;

/// psi(x) and ln Gamma(x).
struct Gamma {
    double psi, ln;
};
__device__ __forceinline__ Gamma gamma(double x) {
    double sum = 0.0, product = 1.0;
#pragma unroll
    for (u32 k = 0; k < SHIFT; k++) {
        double term = x + (double)k;
        sum = fma(sum, term, product);
        product *= term;
    }
    double y = x + (double)SHIFT, ln_y = log(y), r = 1.0 / y, z = r * r;
    double p = -691.0 / 32760.0;
    p = p * z + 1.0 / 132.0;
    p = p * z - 1.0 / 240.0;
    p = p * z + 1.0 / 252.0;
    p = p * z - 1.0 / 120.0;
    p = p * z + 1.0 / 12.0;
    double l = -691.0 / 360360.0;
    l = l * z + 1.0 / 1188.0;
    l = l * z - 1.0 / 1680.0;
    l = l * z + 1.0 / 1260.0;
    l = l * z - 1.0 / 360.0;
    l = l * z + 1.0 / 12.0;
    const double half_ln_tau = 0.9189385332046727418;
    return {ln_y - 0.5 * r - p * z - sum / product, (y - 0.5) * ln_y - y + (half_ln_tau + l * r) - log(product)};
}

/// psi(x).
__device__ __forceinline__ double digamma(double x) { return gamma(x).psi; }

/// psi'(x).
__device__ __forceinline__ double trigamma(double x) {
    double sum = 0.0, product = 1.0;
#pragma unroll
    for (u32 k = 0; k < SHIFT; k++) {
        double term = x + (double)k, square = term * term;
        sum = fma(sum, square, product);
        product *= square;
    }
    double r = 1.0 / (x + (double)SHIFT), z = r * r, p = 5.0 / 66.0;
    p = p * z - 1.0 / 30.0;
    p = p * z + 1.0 / 42.0;
    p = p * z - 1.0 / 30.0;
    p = p * z + 1.0 / 6.0;
    return sum / product + r + z * (0.5 + r * p);
}

} // namespace special
