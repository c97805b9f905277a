// Windows of images, and the sums of their gradients: with a product between them, a convolution. CPU twin:
// src/backend/cpu/convolution.rs; launchers: src/backend/cuda/convolution.rs.
//
// Floor: 4 bytes per number of an image and of a window.
#include "common.cuh"

/// Squares inside images. The twin of `RawSize` in src/backend/cuda/convolution.rs.
struct ConvolutionSize {
    u32 height, width, side;
    __device__ __forceinline__ u32 down() const { return height - side + 1; }
    __device__ __forceinline__ u32 across() const { return width - side + 1; }
};

/// Row i * positions + p of `out` is the window at position p of image i; a thread has one number.
KERNEL(256, unfold, (ConvolutionSize w, Mat images, MatMut out)) {
    Cell c = cell(out.rows, out.cols);
    if (!c.inside) return;
    u32 positions = w.down() * w.across(), image = c.row / positions, p = c.row % positions;
    u32 y = p / w.across() + c.col / w.side, x = p % w.across() + c.col % w.side;
    out.row(c.row)[c.col] = images.row(image)[y * w.width + x];
}

/// Every number of an image is the sum of those that stand for it in windows, in the order of the positions.
KERNEL(256, fold, (ConvolutionSize w, Mat windows, MatMut out)) {
    Cell c = cell(out.rows, out.cols);
    if (!c.inside) return;
    u32 y = c.col / w.width, x = c.col % w.width, across = w.across();
    i64 first = (i64)c.row * (w.down() * across);
    float sum = 0.0f;
    // Positions ascend where the place in the window falls.
    for (u32 v = min(y + 1, w.side); v-- > 0;) {
        if (y - v >= w.down()) continue;
        for (u32 u = min(x + 1, w.side); u-- > 0;) {
            if (x - u >= across) continue;
            sum += windows.row(first + (y - v) * across + (x - u))[v * w.side + u];
        }
    }
    out.row(c.row)[c.col] = sum;
}
