// Functions of numbers and their gradients. CPU twin: src/backend/cpu/elementwise.rs; launchers:
// src/backend/cuda/elementwise.rs; the functions: formulas.cuh.
//
// A thread has a column of each part of a row, or four. Floor: 4 bytes per number that is read or written.
#include "formulas.cuh"

namespace elementwise {

using formulas::spread;
__device__ __forceinline__ void spread(float v, float (&to)[1]) { to[0] = v; }
__device__ __forceinline__ void join(const float (&from)[1], float& to) { to = from[0]; }
__device__ __forceinline__ void join(const float (&from)[4], float4& to) {
    to = make_float4(from[0], from[1], from[2], from[3]);
}

/// The thread's columns of each part of a row, `d` wide.
template <class V, u32 N>
__device__ __forceinline__ void load(const Mat& from, const Cell& c, u32 d, float (&to)[N][width<V>()]) {
#pragma unroll
    for (u32 part = 0; part < N; part++) spread(((const V*)(from.row(c.row) + part * d))[c.col], to[part]);
}
template <class V, u32 N>
__device__ __forceinline__ void store(const float (&from)[N][width<V>()], const MatMut& to, const Cell& c, u32 d) {
#pragma unroll
    for (u32 part = 0; part < N; part++) join(from[part], ((V*)(to.row(c.row) + part * d))[c.col]);
}

/// Column `k` of each part.
template <u32 N, u32 W> __device__ __forceinline__ void take(const float (&from)[N][W], u32 k, float (&to)[N]) {
#pragma unroll
    for (u32 part = 0; part < N; part++) to[part] = from[part][k];
}
template <u32 N, u32 W> __device__ __forceinline__ void put(const float (&from)[N], u32 k, float (&to)[N][W]) {
#pragma unroll
    for (u32 part = 0; part < N; part++) to[part][k] = from[part];
}

/// out = f(x).
template <class V, class F> __device__ __forceinline__ void forward(const F& f, const Mat& x, const MatMut& out) {
    const u32 d = out.cols / F::OUT;
    Cell c = cell(out.rows, d / width<V>());
    if (!c.inside) return;
    float from[F::IN][width<V>()], to[F::OUT][width<V>()];
    load<V>(x, c, d, from);
#pragma unroll
    for (u32 k = 0; k < width<V>(); k++) {
        float in[F::IN], values[F::OUT];
        take(from, k, in);
        f.value(in, values);
        put(values, k, to);
    }
    store<V>(to, out, c, d);
}

/// dx from the gradient by f's values, at its inputs or values.
template <class V, class F>
__device__ __forceinline__ void gradient(const F& f, const Mat& at, const Mat& dout, const MatMut& dx) {
    const u32 d = dx.cols / F::IN;
    Cell c = cell(dx.rows, d / width<V>());
    if (!c.inside) return;
    float from[F::AT][width<V>()], dy[F::OUT][width<V>()], to[F::IN][width<V>()];
    load<V>(at, c, d, from);
    load<V>(dout, c, d, dy);
#pragma unroll
    for (u32 k = 0; k < width<V>(); k++) {
        float here[F::AT], by_values[F::OUT], by_inputs[F::IN];
        take(from, k, here);
        take(dy, k, by_values);
        f.backward(here, by_values, by_inputs);
        put(by_inputs, k, to);
    }
    store<V>(to, dx, c, d);
}

} // namespace elementwise

#define ELEMENTWISE(name, F, V)                                                                   \
    KERNEL(256, apply_##name, (formulas::F f, Mat x, MatMut out)) {                               \
        elementwise::forward<V>(f, x, out);                                                       \
    }                                                                                             \
    KERNEL(256, apply_backward_##name, (formulas::F f, Mat at, Mat dout, MatMut dx)) {            \
        elementwise::gradient<V>(f, at, dout, dx);                                                \
    }
#define ELEMENTWISE_WIDTHS(name, F) ELEMENTWISE(name, F, float) ELEMENTWISE(name##4, F, float4)
EACH_FUNCTION(ELEMENTWISE_WIDTHS)
#undef ELEMENTWISE_WIDTHS
#undef ELEMENTWISE
