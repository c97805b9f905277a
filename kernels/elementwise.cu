// Elementwise functions and their gradients. CPU twin: src/backend/cpu/elementwise.rs; launchers:
// src/backend/cuda/elementwise.rs.
//
// A function knows its derivative from its value. In two widths, as the kernels of rows.cu. Floor: 8 bytes per
// number forward, 12 backward.
#include "common.cuh"

namespace elementwise {

/// clamp(x + 1, least, greatest); NaN stays NaN.
struct BetaParameter {
    float least, greatest;
    __device__ __forceinline__ float value(float x) const {
        float y = x + 1.0f;
        return y < least ? least : y > greatest ? greatest : y;
    }
    __device__ __forceinline__ float backward(float y, float dy) const {
        return y > least && y < greatest ? dy : 0.0f;
    }
};

/// 1 / x.
struct Reciprocal {
    float unused[2];
    __device__ __forceinline__ float value(float x) const { return __fdiv_rn(1.0f, x); }
    __device__ __forceinline__ float backward(float y, float dy) const { return -y * y * dy; }
};

template <class F> __device__ __forceinline__ float value(const F& f, float x) { return f.value(x); }
template <class F> __device__ __forceinline__ float4 value(const F& f, float4 x) {
    return make_float4(f.value(x.x), f.value(x.y), f.value(x.z), f.value(x.w));
}
template <class F> __device__ __forceinline__ float backward(const F& f, float y, float dy) {
    return f.backward(y, dy);
}
template <class F> __device__ __forceinline__ float4 backward(const F& f, float4 y, float4 dy) {
    return make_float4(f.backward(y.x, dy.x), f.backward(y.y, dy.y), f.backward(y.z, dy.z), f.backward(y.w, dy.w));
}

/// out = f(x).
template <class V, class F> __device__ __forceinline__ void forward(const F& f, const Mat& x, const MatMut& out) {
    Cell c = cell(out.rows, out.cols / width<V>());
    if (c.inside) ((V*)out.row(c.row))[c.col] = value(f, ((const V*)x.row(c.row))[c.col]);
}

/// dx = dout * f', from f's value.
template <class V, class F>
__device__ __forceinline__ void gradient(const F& f, const Mat& out, const Mat& dout, const MatMut& dx) {
    Cell c = cell(dx.rows, dx.cols / width<V>());
    if (!c.inside) return;
    V y = ((const V*)out.row(c.row))[c.col], dy = ((const V*)dout.row(c.row))[c.col];
    ((V*)dx.row(c.row))[c.col] = backward(f, y, dy);
}

} // namespace elementwise

#define ELEMENTWISE(name, F, V)                                                                   \
    KERNEL(256, name, (elementwise::F f, Mat x, MatMut out)) {                                    \
        elementwise::forward<V>(f, x, out);                                                       \
    }                                                                                             \
    KERNEL(256, name##_backward, (elementwise::F f, Mat out, Mat dout, MatMut dx)) {              \
        elementwise::gradient<V>(f, out, dout, dx);                                               \
    }
ELEMENTWISE(beta_parameter, BetaParameter, float)
ELEMENTWISE(beta_parameter4, BetaParameter, float4)
ELEMENTWISE(reciprocal, Reciprocal, float)
ELEMENTWISE(reciprocal4, Reciprocal, float4)
#undef ELEMENTWISE
