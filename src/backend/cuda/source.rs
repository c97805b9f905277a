//! The kernels' source, as it is built into the program.

/// Every file of `kernels/` that is part of a GPU's program: name and text.
pub const FILES: &[(&str, &str)] = &[
    ("common.cuh", include_str!("../../../kernels/common.cuh")),
    ("formulas.cuh", include_str!("../../../kernels/formulas.cuh")),
    ("special.cuh", include_str!("../../../kernels/special.cuh")),
    ("beta.cu", include_str!("../../../kernels/beta.cu")),
    ("ceilings.cu", include_str!("../../../kernels/ceilings.cu")),
    ("clip.cu", include_str!("../../../kernels/clip.cu")),
    ("convolution.cu", include_str!("../../../kernels/convolution.cu")),
    ("elementwise.cu", include_str!("../../../kernels/elementwise.cu")),
    ("label_loss.cu", include_str!("../../../kernels/label_loss.cu")),
    ("linear.cu", include_str!("../../../kernels/linear.cu")),
    ("loss.cu", include_str!("../../../kernels/loss.cu")),
    ("matrix.cu", include_str!("../../../kernels/matrix.cu")),
    ("normalise.cu", include_str!("../../../kernels/normalise.cu")),
    ("optimizer.cu", include_str!("../../../kernels/optimizer.cu")),
    ("penalty.cu", include_str!("../../../kernels/penalty.cu")),
    ("project.cu", include_str!("../../../kernels/project.cu")),
    ("rank.cu", include_str!("../../../kernels/rank.cu")),
    ("rows.cu", include_str!("../../../kernels/rows.cu")),
    ("score.cu", include_str!("../../../kernels/score.cu")),
    ("segment.cu", include_str!("../../../kernels/segment.cu")),
];

/// The one file that is compiled: it includes all kernel files.
pub fn root() -> String {
    let kernels = FILES.iter().filter(|(name, _)| name.ends_with(".cu"));
    kernels.map(|(name, _)| format!("#include \"{name}\"\n")).collect()
}
