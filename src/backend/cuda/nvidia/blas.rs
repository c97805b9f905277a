//! Matrix products by cuBLAS.

use super::library::{CUBLAS, functions};
use crate::backend::Math;
use crate::backend::cuda::driver::{Operand, Product};
use crate::error::{Error, Result};
use std::ffi::{c_int, c_void};

type Handle = *mut c_void;

functions! {
    /// What is used of cuBLAS (cublas_api.h).
    Cublas {
        cublasCreate_v2: fn(*mut Handle);
        cublasDestroy_v2: fn(Handle);
        cublasGetProperty: fn(c_int, *mut c_int);
        cublasSetStream_v2: fn(Handle, *mut c_void);
        cublasSetWorkspace_v2: fn(Handle, *mut c_void, usize);
        cublasSetMathMode: fn(Handle, c_int);
        cublasSgemm_v2: fn(
            Handle, c_int, c_int, c_int, c_int, c_int, *const f32, *const f32, c_int, *const f32, c_int, *const f32,
            *mut f32, c_int
        );
    }
}

/// Bytes of workspace. A workspace of our own makes results repeat bit for bit (cuBLAS documentation,
/// "Results reproducibility"); this is what it asks for itself on the newest GPUs.
pub const WORKSPACE: usize = 32 << 20;

/// The variable by which the library is not used: its kernels are not ours to check for races.
pub const NONE_VARIABLE: &str = "SMORE_CUDA_NO_CUBLAS";

/// The library and its version, for a driver that runs CUDA `major`.
fn bind(major: u32) -> Result<(Cublas, (i32, i32)), String> {
    if std::env::var_os(NONE_VARIABLE).is_some() {
        return Err(format!("{NONE_VARIABLE} is set"));
    }
    let library = CUBLAS.open(major)?;
    // SAFETY: the parameters are those of cublas_api.h since CUDA 11.
    let cublas = unsafe { Cublas::bind(library) }?;
    let mut version = (0, 0);
    // SAFETY: the pointers are to locals. 0 asks for the major, 1 for the minor version, which cannot fail.
    unsafe {
        (cublas.cublasGetProperty)(0, &mut version.0);
        (cublas.cublasGetProperty)(1, &mut version.1);
    }
    Ok((cublas, version))
}

/// The version that [`Blas::new`] would load. Errors say how to get one.
pub fn version(major: u32) -> Result<(i32, i32), String> {
    bind(major).map(|(_, version)| version)
}

/// cuBLAS on one stream of one device.
pub struct Blas {
    cublas: Cublas,
    handle: Handle,
    /// Its version.
    pub version: (i32, i32),
}

impl Blas {
    /// Loads the library. The device's context must be current; `workspace` is [`WORKSPACE`] bytes of its memory.
    ///
    /// # Safety
    /// Stream and workspace are the current context's, and outlive this value.
    pub unsafe fn new(major: u32, stream: *mut c_void, workspace: u64, math: Math) -> Result<Self, String> {
        let (cublas, version) = bind(major)?;
        let mut blas = Blas { cublas, handle: std::ptr::null_mut(), version };
        let check = |status: c_int, what| match status {
            0 => Ok(()),
            status => Err(format!("cuBLAS does not start ({what}: status {status})")),
        };
        let mode = match math {
            Math::Fp32 => 0, // CUBLAS_DEFAULT_MATH
            Math::Tf32 => 3, // CUBLAS_TF32_TENSOR_OP_MATH
        };
        // SAFETY: pointers to live locals; the handle is used only after it was made; stream and workspace by this
        // function's contract. The workspace is set after the stream, which resets it.
        unsafe {
            let c = &blas.cublas;
            check((c.cublasCreate_v2)(&mut blas.handle), "cublasCreate")?;
            check((c.cublasSetStream_v2)(blas.handle, stream), "cublasSetStream")?;
            check(
                (c.cublasSetWorkspace_v2)(blas.handle, workspace as *mut c_void, WORKSPACE),
                "cublasSetWorkspace",
            )?;
            check((c.cublasSetMathMode)(blas.handle, mode), "cublasSetMathMode")?;
        }
        Ok(blas)
    }

    /// Starts a product. Row-major matrices are cuBLAS's transposed ones: c^T = b^T a^T.
    ///
    /// # Safety
    /// The operands are memory of the device, of the shapes that the product tells.
    pub unsafe fn multiply(&self, product: &Product) -> Result<()> {
        let Product { m, n, k, a, b, c, accumulate } = *product;
        let (one, beta) = (1f32, if accumulate { 1f32 } else { 0.0 });
        let int = |n: usize| {
            c_int::try_from(n).expect("matrices of networks have fewer than 2^31 rows and columns")
        };
        let op = |operand: Operand| c_int::from(operand.transposed);
        // SAFETY: by this function's contract; the scalars live beyond the call, which copies them.
        let status = unsafe {
            (self.cublas.cublasSgemm_v2)(
                self.handle,
                op(b),
                op(a),
                int(n),
                int(m),
                int(k),
                &one,
                b.address as *const f32,
                int(b.stride),
                a.address as *const f32,
                int(a.stride),
                &beta,
                c.address as *mut f32,
                int(c.stride),
            )
        };
        if status == 0 {
            return Ok(());
        }
        Err(Error::Device(format!("a matrix product of {m} x {k} x {n} failed: cuBLAS status {status}")))
    }
}

impl Drop for Blas {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: the handle was made by cublasCreate and is not used again.
            unsafe { (self.cublas.cublasDestroy_v2)(self.handle) };
        }
    }
}
