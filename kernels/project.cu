// Projections: a relation moves a query embedding. CPU twin: src/backend/cpu/project.rs; launchers:
// src/backend/cuda/project.rs.
//
// A kind is a functor on one column `k` of a row, and on column `d + k` of a kind whose rows have two parts
// of `d` columns. V is float, or float4 for four columns at once: `k` and `d` then count groups of four, and
// every part of every row must start at a multiple of 16 bytes. All loads stand before the first store, so
// that none waits for another. Floor: 12 bytes per number forward, 12 to 20 backward.
#include "common.cuh"

/// f'(x).
__device__ __forceinline__ float derivative(u32 f, float x) {
    return f == ACTIVATION_RELU ? (x > 0.0f ? 1.0f : 0.0f) : f == ACTIVATION_SOFTPLUS ? sigmoid(x) : 1.0f;
}
__device__ __forceinline__ float4 derivative(u32 f, float4 x) {
    return make_float4(derivative(f, x.x), derivative(f, x.y), derivative(f, x.z), derivative(f, x.w));
}

/// q + r.
struct Translate {
    static constexpr u32 PARTS = 1;
    template <class V>
    static __device__ __forceinline__ void forward(u32 f, u32 k, u32 d, const V* q, const V* r, V* out) {
        out[k] = q[k] + r[k];
    }
    template <class V>
    static __device__ __forceinline__ void backward(u32 f, u32 k, u32 d, const V* q, const V* r,
                                                    const V* dout, V* dq, V* dr) {
        dq[k] = dr[k] = dout[k];
    }
};

/// q * r.
struct Product {
    static constexpr u32 PARTS = 1;
    template <class V>
    static __device__ __forceinline__ void forward(u32 f, u32 k, u32 d, const V* q, const V* r, V* out) {
        out[k] = q[k] * r[k];
    }
    template <class V>
    static __device__ __forceinline__ void backward(u32 f, u32 k, u32 d, const V* q, const V* r,
                                                    const V* dout, V* dq, V* dr) {
        V a = q[k], b = r[k], x = dout[k];
        dq[k] = x * b;
        dr[k] = x * a;
    }
};

/// [center + r_center, offset + f(r_offset)].
struct TranslateBox {
    static constexpr u32 PARTS = 2;
    template <class V>
    static __device__ __forceinline__ void forward(u32 f, u32 k, u32 d, const V* q, const V* r, V* out) {
        V center = q[k] + r[k], offset = q[d + k] + activate(f, r[d + k]);
        out[k] = center;
        out[d + k] = offset;
    }
    template <class V>
    static __device__ __forceinline__ void backward(u32 f, u32 k, u32 d, const V* q, const V* r,
                                                    const V* dout, V* dq, V* dr) {
        V center = dout[k], offset = dout[d + k], slope = derivative(f, r[d + k]);
        dq[k] = dr[k] = center;
        dq[d + k] = offset;
        dr[d + k] = offset * slope;
    }
};

/// (a + ib)(c + ie); the gradient of a factor is that of the product, times the other's conjugate.
struct ComplexProduct {
    static constexpr u32 PARTS = 2;
    template <class V>
    static __device__ __forceinline__ void forward(u32 f, u32 k, u32 d, const V* q, const V* r, V* out) {
        V a = q[k], b = q[d + k], c = r[k], e = r[d + k];
        out[k] = a * c - b * e;
        out[d + k] = a * e + b * c;
    }
    template <class V>
    static __device__ __forceinline__ void backward(u32 f, u32 k, u32 d, const V* q, const V* r,
                                                    const V* dout, V* dq, V* dr) {
        V a = q[k], b = q[d + k], c = r[k], e = r[d + k], x = dout[k], y = dout[d + k];
        dq[k] = x * c + y * e;
        dq[d + k] = y * c - x * e;
        dr[k] = x * a + y * b;
        dr[d + k] = y * a - x * b;
    }
};

/// Sine and cosine of `scale * r`.
__device__ __forceinline__ void turn(float scale, float r, float& sine, float& cosine) {
    sincosf(scale * r, &sine, &cosine);
}
__device__ __forceinline__ void turn(float scale, float4 r, float4& sine, float4& cosine) {
    turn(scale, r.x, sine.x, cosine.x);
    turn(scale, r.y, sine.y, cosine.y);
    turn(scale, r.z, sine.z, cosine.z);
    turn(scale, r.w, sine.w, cosine.w);
}
__device__ __forceinline__ float spread(float x, float) { return x; }
__device__ __forceinline__ float4 spread(float x, float4) { return make_float4(x, x, x, x); }

/// (a + ib) e^(i scale r), where the bits of `scale` are `f`; a relation's row has one part.
struct Rotate {
    static constexpr u32 PARTS = 2;
    template <class V>
    static __device__ __forceinline__ void forward(u32 f, u32 k, u32 d, const V* q, const V* r, V* out) {
        V a = q[k], b = q[d + k], sine, cosine;
        turn(__uint_as_float(f), r[k], sine, cosine);
        out[k] = a * cosine - b * sine;
        out[d + k] = a * sine + b * cosine;
    }
    template <class V>
    static __device__ __forceinline__ void backward(u32 f, u32 k, u32 d, const V* q, const V* r,
                                                    const V* dout, V* dq, V* dr) {
        V a = q[k], b = q[d + k], x = dout[k], y = dout[d + k], sine, cosine;
        turn(__uint_as_float(f), r[k], sine, cosine);
        // The gradient turned back: the part of it across the query is what a turn changes.
        V da = x * cosine + y * sine, db = y * cosine - x * sine;
        dq[k] = da;
        dq[d + k] = db;
        dr[k] = spread(__uint_as_float(f), a) * (a * db - b * da);
    }
};

/// outs[i] = project(slots[inputs[i]], relations[i]).
template <class Kind, class V>
__device__ __forceinline__ void project(u32 f, const u32* inputs, Mat relations, Mat slots, MatMut outs) {
    u32 d = outs.cols / Kind::PARTS / width<V>();
    Cell c = cell(outs.rows, d);
    if (!c.inside) return;
    const V *q = (const V*)slots.row(inputs[c.row]), *r = (const V*)relations.row(c.row);
    Kind::forward(f, c.col, d, q, r, (V*)outs.row(c.row));
}

/// grads[inputs[i]] and relation_grads[i] from douts[i].
template <class Kind, class V>
__device__ __forceinline__ void project_backward(u32 f, const u32* inputs, Mat relations, Mat slots,
                                                 Mat douts, MatMut grads, MatMut relation_grads) {
    u32 d = douts.cols / Kind::PARTS / width<V>();
    Cell c = cell(douts.rows, d);
    if (!c.inside) return;
    u32 input = inputs[c.row];
    const V *q = (const V*)slots.row(input), *r = (const V*)relations.row(c.row);
    Kind::backward(f, c.col, d, q, r, (const V*)douts.row(c.row), (V*)grads.row(input),
                   (V*)relation_grads.row(c.row));
}

#define PROJECTION(name, Kind, V)                                                                    \
    KERNEL(256, project_##name, (u32 f, const u32* inputs, Mat relations, Mat slots, MatMut outs)) { \
        project<Kind, V>(f, inputs, relations, slots, outs);                                         \
    }                                                                                                \
    KERNEL(256, project_##name##_backward,                                                           \
           (u32 f, const u32* inputs, Mat relations, Mat slots, Mat douts, MatMut grads,             \
            MatMut relation_grads)) {                                                                \
        project_backward<Kind, V>(f, inputs, relations, slots, douts, grads, relation_grads);        \
    }
PROJECTION(translate, Translate, float)
PROJECTION(translate4, Translate, float4)
PROJECTION(box, TranslateBox, float)
PROJECTION(box4, TranslateBox, float4)
PROJECTION(product, Product, float)
PROJECTION(product4, Product, float4)
PROJECTION(rotate, Rotate, float)
PROJECTION(rotate4, Rotate, float4)
PROJECTION(complex, ComplexProduct, float)
PROJECTION(complex4, ComplexProduct, float4)
#undef PROJECTION
