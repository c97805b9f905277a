// Set operations on segments of rows: segment `s` is rows `offsets[s]..offsets[s + 1]`. CPU twin:
// src/backend/cpu/segment.rs; launchers: src/backend/cuda/segment.rs.
//
// A thread has one column of one segment: a segment has the few rows of an intersection.
#include "common.cuh"

/// weights = softmax(weights) in place, out[s] = sum weights * x.
KERNEL(256, attend, (Mat x, const u32* offsets, MatMut weights, MatMut out)) {
    Cell c = cell(out.rows, out.cols);
    if (!c.inside) return;
    u32 begin = offsets[c.row], end = offsets[c.row + 1];
    float max = -INFINITY_F, sum = 0.0f, y = 0.0f;
    for (u32 i = begin; i < end; i++) max = fmaxf(max, weights.row(i)[c.col]);
    // A NaN is no maximum, but reaches the sum.
    for (u32 i = begin; i < end; i++) sum += expf(weights.row(i)[c.col] - max);
    for (u32 i = begin; i < end; i++) {
        float w = expf(weights.row(i)[c.col] - max) / sum;
        weights.row(i)[c.col] = w;
        y += w * x.row(i)[c.col];
    }
    out.row(c.row)[c.col] = y;
}

/// dx = weights * dout; weights becomes the gradient of the logits, weights * dout * (x - sum weights * x).
KERNEL(256, attend_backward, (Mat x, const u32* offsets, Mat dout, MatMut weights, MatMut dx)) {
    Cell c = cell(dout.rows, dout.cols);
    if (!c.inside) return;
    u32 begin = offsets[c.row], end = offsets[c.row + 1];
    float d = dout.row(c.row)[c.col], mean = 0.0f;
    for (u32 i = begin; i < end; i++) mean += weights.row(i)[c.col] * x.row(i)[c.col];
    for (u32 i = begin; i < end; i++) {
        float wd = weights.row(i)[c.col] * d;
        weights.row(i)[c.col] = wd * (x.row(i)[c.col] - mean);
        dx.row(i)[c.col] = wd;
    }
}

/// out[s] = mean of the segment's rows.
KERNEL(256, segment_mean, (Mat x, const u32* offsets, MatMut out)) {
    Cell c = cell(out.rows, out.cols);
    if (!c.inside) return;
    u32 begin = offsets[c.row], end = offsets[c.row + 1];
    float sum = 0.0f;
    for (u32 i = begin; i < end; i++) sum += x.row(i)[c.col];
    out.row(c.row)[c.col] = sum * (1.0f / (end - begin));
}

/// dx = dout[s] / rows of the segment.
KERNEL(256, segment_mean_backward, (Mat dout, const u32* offsets, MatMut dx)) {
    Cell c = cell(dout.rows, dout.cols);
    if (!c.inside) return;
    u32 begin = offsets[c.row], end = offsets[c.row + 1];
    float d = dout.row(c.row)[c.col] * (1.0f / (end - begin));
    for (u32 i = begin; i < end; i++) dx.row(i)[c.col] = d;
}

/// The first of a segment's least numbers in a column: NaN replaces any number, and nothing replaces it.
struct Least {
    u32 row;
    float value;
};
__device__ __forceinline__ Least least(Mat x, u32 begin, u32 end, u32 col) {
    Least min = {begin, x.row(begin)[col]};
    for (u32 i = begin + 1; i < end; i++) {
        float value = x.row(i)[col];
        if (value < min.value || value != value) min = {i, value};
    }
    return min;
}

/// out[s] = min(segment) * sigmoid(gate[s]).
KERNEL(256, gated_min, (Mat x, const u32* offsets, Mat gate, MatMut out)) {
    Cell c = cell(out.rows, out.cols);
    if (!c.inside) return;
    Least min = least(x, offsets[c.row], offsets[c.row + 1], c.col);
    out.row(c.row)[c.col] = min.value * sigmoid(gate.row(c.row)[c.col]);
}

/// dx goes to the first minimum; gate becomes its gradient.
KERNEL(256, gated_min_backward, (Mat x, const u32* offsets, Mat dout, MatMut gate, MatMut dx)) {
    Cell c = cell(dout.rows, dout.cols);
    if (!c.inside) return;
    u32 begin = offsets[c.row], end = offsets[c.row + 1];
    Least min = least(x, begin, end, c.col);
    float d = dout.row(c.row)[c.col], g = sigmoid(gate.row(c.row)[c.col]);
    for (u32 i = begin; i < end; i++) dx.row(i)[c.col] = i == min.row ? d * g : 0.0f;
    gate.row(c.row)[c.col] = d * min.value * g * (1.0f - g);
}
