// One functor per score: what a query and an entity row do to each other in one column.
// CPU twin: src/backend/cpu/geometry.rs; the kernels in score.cu hold the loops.
#pragma once
#include "common.cuh"

namespace geometry {

/// A score as a sum over columns. What a geometry does not say itself is as here; each also has
///   accumulate(sum, q, o, e, f)   adds a column to the sum; `o` is the query's second half, `f` the entity's
///   score(sum, constant)       the score of finished sums
///   backward(w, q, o, e, f, dq, d_o, de, d_f)   adds the gradients of `w * score`. A kernel that does not want
///                              all reads some of them, and the compiler leaves out the others.
/// A pair's score is the same bits in every kernel: sums go over columns in ascending order, in operations
/// that the compiler does not contract.
struct Geometry {
    float gamma, inside;

    /// Whether query rows have a second half (box offsets, imaginary parts).
    static constexpr bool OFFSETS = false;
    /// Whether entity rows have one (imaginary parts); only where query rows do.
    static constexpr bool PAIRS = false;
    /// Whether `weight` reads the score.
    static constexpr bool SCORES = false;
    /// Whether `finish_query` and `finish_entity` read the sum of the weights.
    static constexpr bool TOTALS = false;

    /// Adds a column to what a query adds to all its sums.
    __device__ __forceinline__ float constant(float sum, float) const { return sum; }
    /// The factor for `backward` from d loss / d score.
    __device__ __forceinline__ float weight(float w, float) const { return w; }
    /// Gradients from what `backward` added up and the sum of the weights.
    __device__ __forceinline__ float finish_query(float sum, float) const { return sum; }
    __device__ __forceinline__ float finish_offset(float, float) const { return 0.0f; }
    __device__ __forceinline__ float finish_entity(float sum, float) const { return sum; }
};

/// gamma - sum |q - e|. Two additions a column; the absolute value is part of the second.
struct L1 : Geometry {
    static constexpr bool TOTALS = true;

    __device__ __forceinline__ float accumulate(float sum, float q, float, float e, float) const {
        return __fadd_rn(sum, fabsf(__fsub_rn(q, e)));
    }
    __device__ __forceinline__ float score(float sum, float) const { return __fsub_rn(gamma, sum); }

    // With sign(q - e) = 1 - 2 [q < e] only the weights where q < e are added up: a comparison and an addition.
    __device__ __forceinline__ void backward(float w, float q, float, float e, float, float& dq, float&, float& de,
                                             float&) const {
        bool below = q < e;
        if (below) dq += w;
        if (below) de += w;
    }
    __device__ __forceinline__ float finish_query(float sum, float weights) const { return 2.0f * sum - weights; }
    __device__ __forceinline__ float finish_entity(float sum, float weights) const { return weights - 2.0f * sum; }
};

/// gamma - sqrt(sum (q - e)^2); its derivative at distance 0 is 0.
struct L2 : Geometry {
    static constexpr bool SCORES = true;

    __device__ __forceinline__ float accumulate(float sum, float q, float, float e, float) const {
        float t = __fsub_rn(q, e);
        return __fmaf_rn(t, t, sum);
    }
    __device__ __forceinline__ float score(float sum, float) const { return __fsub_rn(gamma, __fsqrt_rn(sum)); }

    __device__ __forceinline__ float weight(float w, float score) const {
        float distance = gamma - score;
        return distance > 0.0f ? __fdividef(w, distance) : 0.0f;
    }
    __device__ __forceinline__ void backward(float w, float q, float, float e, float, float& dq, float&, float& de,
                                             float&) const {
        dq = fmaf(w, e - q, dq);
        de = fmaf(w, q - e, de);
    }
};

/// gamma - sum relu(a - o) - inside * sum |min(a, o)|, a = |q - e|.
///
/// With m = min(a, o) a column's part is a - m + inside |m| = a + (inside - 1) m + inside (|o| - o): the last
/// term is the query's constant, and carries a NaN of an offset, which the minimum hides.
struct Box : Geometry {
    static constexpr bool OFFSETS = true;

    __device__ __forceinline__ float accumulate(float sum, float q, float o, float e, float) const {
        float a = fabsf(__fsub_rn(q, e));
        return __fmaf_rn(fminf(a, o), __fsub_rn(inside, 1.0f), __fadd_rn(sum, a));
    }
    __device__ __forceinline__ float constant(float sum, float o) const {
        return __fadd_rn(sum, __fsub_rn(fabsf(o), o));
    }
    __device__ __forceinline__ float score(float sum, float constant) const {
        return __fsub_rn(gamma, __fmaf_rn(inside, constant, sum));
    }

    // The slope is 1 outside of the box, `inside` in it, with the sign of q - e.
    __device__ __forceinline__ void backward(float w, float q, float o, float e, float, float& dq, float& d_o,
                                             float& de, float&) const {
        float t = q - e;
        float signed_w = __uint_as_float(__float_as_uint(w) ^ (__float_as_uint(t) & 0x80000000u));
        dq = fmaf(signed_w, -inside, dq);
        de = fmaf(signed_w, inside, de);
        if (fabsf(t) > o) {
            dq = fmaf(signed_w, inside - 1.0f, dq);
            de = fmaf(signed_w, 1.0f - inside, de);
            d_o += w;
        }
    }
    // Per weight outside: 1 - inside * sign(o).
    __device__ __forceinline__ float finish_offset(float sum, float o) const {
        return sum * (o < 0.0f ? 1.0f + inside : 1.0f - inside);
    }
};

/// sum q e.
struct Dot : Geometry {
    __device__ __forceinline__ float accumulate(float sum, float q, float, float e, float) const {
        return __fmaf_rn(q, e, sum);
    }
    __device__ __forceinline__ float score(float sum, float) const { return sum; }

    __device__ __forceinline__ void backward(float w, float q, float, float e, float, float& dq, float&, float& de,
                                             float&) const {
        dq = fmaf(w, e, dq);
        de = fmaf(w, q, de);
    }
};

/// gamma - sum sqrt((q - e)^2 + (o - f)^2); where both are equal the derivative is 0.
struct Rotation : Geometry {
    static constexpr bool OFFSETS = true;
    static constexpr bool PAIRS = true;
    /// Below any squared modulus that matters, and far enough from 0 to be divided by.
    static constexpr float LEAST = 1e-30f;

    // A root is the square times its inverse root, which the special function unit has.
    __device__ __forceinline__ float accumulate(float sum, float q, float o, float e, float f) const {
        float t = __fsub_rn(q, e), u = __fsub_rn(o, f), square = __fmaf_rn(t, t, __fmul_rn(u, u));
        return __fmaf_rn(square, inverse_root(__fadd_rn(square, LEAST)), sum);
    }
    __device__ __forceinline__ float score(float sum, float) const { return __fsub_rn(gamma, sum); }

    __device__ __forceinline__ void backward(float w, float q, float o, float e, float f, float& dq, float& d_o,
                                             float& de, float& d_f) const {
        float t = q - e, u = o - f;
        w *= inverse_root(fmaf(t, t, fmaf(u, u, LEAST)));
        dq = fmaf(w, -t, dq);
        d_o = fmaf(w, -u, d_o);
        de = fmaf(w, t, de);
        d_f = fmaf(w, u, d_f);
    }
    __device__ __forceinline__ float finish_offset(float sum, float) const { return sum; }
};

/// Four columns of a sum, in their order.
template <class G>
__device__ __forceinline__ float accumulate(const G& g, float sum, float4 q, float4 o, float4 e, float4 f) {
    sum = g.accumulate(sum, q.x, o.x, e.x, f.x);
    sum = g.accumulate(sum, q.y, o.y, e.y, f.y);
    sum = g.accumulate(sum, q.z, o.z, e.z, f.z);
    return g.accumulate(sum, q.w, o.w, e.w, f.w);
}
template <class G> __device__ __forceinline__ float constant(const G& g, float sum, float4 o) {
    return g.constant(g.constant(g.constant(g.constant(sum, o.x), o.y), o.z), o.w);
}

} // namespace geometry
