//! The kernels' source, as it is built into the program.

/// Every file of `kernels/` that is part of a GPU's program: name and text.
pub const FILES: [(&str, &str); 4] = [
    ("common.cuh", include_str!("../../../kernels/common.cuh")),
    ("rows.cu", include_str!("../../../kernels/rows.cu")),
    ("project.cu", include_str!("../../../kernels/project.cu")),
    ("segment.cu", include_str!("../../../kernels/segment.cu")),
];

/// The one file that is compiled: it includes all kernel files.
pub fn root() -> String {
    let kernels = FILES.iter().filter(|(name, _)| name.ends_with(".cu"));
    kernels.map(|(name, _)| format!("#include \"{name}\"\n")).collect()
}
