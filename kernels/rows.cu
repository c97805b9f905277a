// Moving and adding rows. CPU twin: src/backend/cpu/rows.rs; launchers: src/backend/cuda/rows.rs.
//
// Each kernel comes in two widths: one float a thread, and four (`..4`), for which every row must start at a
// multiple of 16 bytes and have a multiple of four columns.
#include "common.cuh"

/// out[i] = table[rows[i]].
KERNEL(256, gather, (Mat table, const u32* rows, MatMut out)) {
    Cell c = cell(out.rows, out.cols);
    if (c.inside) out.row(c.row)[c.col] = table.row(rows[c.row])[c.col];
}
KERNEL(256, gather4, (Mat table, const u32* rows, MatMut out)) {
    Cell c = cell(out.rows, out.cols / 4);
    if (c.inside) *four(out.row(c.row), c.col) = *four(table.row(rows[c.row]), c.col);
}

/// out[rows[i]] = from[i]; the row numbers are distinct.
KERNEL(256, scatter, (Mat from, const u32* rows, MatMut out)) {
    Cell c = cell(from.rows, from.cols);
    if (c.inside) out.row(rows[c.row])[c.col] = from.row(c.row)[c.col];
}
KERNEL(256, scatter4, (Mat from, const u32* rows, MatMut out)) {
    Cell c = cell(from.rows, from.cols / 4);
    if (c.inside) *four(out.row(rows[c.row]), c.col) = *four(from.row(c.row), c.col);
}

/// out = from.
KERNEL(256, copy, (Mat from, MatMut out)) {
    Cell c = cell(out.rows, out.cols);
    if (c.inside) out.row(c.row)[c.col] = from.row(c.row)[c.col];
}
KERNEL(256, copy4, (Mat from, MatMut out)) {
    Cell c = cell(out.rows, out.cols / 4);
    if (c.inside) *four(out.row(c.row), c.col) = *four(from.row(c.row), c.col);
}

/// out = value.
KERNEL(256, fill, (float value, MatMut out)) {
    Cell c = cell(out.rows, out.cols);
    if (c.inside) out.row(c.row)[c.col] = value;
}
KERNEL(256, fill4, (float value, MatMut out)) {
    Cell c = cell(out.rows, out.cols / 4);
    if (c.inside) *four(out.row(c.row), c.col) = make_float4(value, value, value, value);
}

/// to += from.
KERNEL(256, add, (Mat from, MatMut to)) {
    Cell c = cell(to.rows, to.cols);
    if (c.inside) to.row(c.row)[c.col] += from.row(c.row)[c.col];
}
KERNEL(256, add4, (Mat from, MatMut to)) {
    Cell c = cell(to.rows, to.cols / 4);
    if (c.inside) *four(to.row(c.row), c.col) = *four(to.row(c.row), c.col) + *four(from.row(c.row), c.col);
}
