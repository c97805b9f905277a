//! Holds every backend operation to its contract.
//!
//! - One generic check per operation runs it on [`Reference`] (plain loops in float64) and on the backend
//!   under test, on the same inputs, and compares: [`rows`], [`elementwise`], [`project`], [`linear`],
//!   [`segment`], [`score`], [`beta`], [`loss`], [`label_loss`], [`penalty`], [`clip`], [`optimizer`], [`rank`].
//! - [`gradients`] holds the backward operations of the reference to finite differences.
//! - [`determinism`] holds the CPU and the CUDA kernels to the same bits whatever the order of threads, and a GPU to the
//!   same bits in every run.
//! - [`full_size`] compares at the sizes of training.
//! - [`require_gpu`] holds this binary to what `SMORE_REQUIRE_GPU` promises.
//!
//! - [`fake_driver`] runs all of it once more on the real driver code, with a driver that is not real.
//!
//! A new backend is one line of `parity!`. CUDA comes twice: on a GPU where there is one (else its tests say that they
//! are skipped), and the same launchers and kernels on the CPU (see `tests/common/emulator.rs`).

mod array;
mod beta;
mod clip;
#[path = "../common/mod.rs"]
mod common;
mod convolution;
mod determinism;
mod elementwise;
#[cfg(feature = "cuda")]
mod fake_driver;
mod full_size;
mod gradients;
mod label_loss;
mod linear;
mod loss;
mod normalise;
mod optimizer;
mod penalty;
mod project;
mod rank;
#[cfg(feature = "cuda")]
mod require_gpu;
mod rows;
mod score;
mod segment;

use common::{emulator, gpu};
use smore::engine::backend::{Cpu, Reference};

/// The table of operations, once per backend.
macro_rules! parity {
    ($($module:ident: $backend:expr;)*) => {$(
        mod $module {
            use super::*;

            #[test]
            fn memory_is_zeroed_and_returns_what_was_stored() {
                if let Some(backend) = $backend {
                    rows::check_memory(&backend);
                }
            }
            #[test]
            fn gather_copies_rows_exactly() {
                if let Some(backend) = $backend {
                    rows::check_gather(&backend);
                }
            }
            #[test]
            fn scatter_copies_rows_exactly_and_leaves_the_others() {
                if let Some(backend) = $backend {
                    rows::check_scatter(&backend);
                }
            }
            #[test]
            fn copy_and_fill_write_their_view_and_nothing_else() {
                if let Some(backend) = $backend {
                    rows::check_copy_and_fill(&backend);
                }
            }
            #[test]
            fn add_accumulates() {
                if let Some(backend) = $backend {
                    rows::check_add(&backend);
                }
            }
            #[test]
            fn every_cell_of_a_large_matrix_is_worked_on_once() {
                if let Some(backend) = $backend {
                    rows::check_large(&backend);
                }
            }
            #[test]
            fn groups_of_rows_are_added_in_order() {
                if let Some(backend) = $backend {
                    rows::check_add_groups(&backend);
                }
            }
            #[test]
            fn dropout_drops_the_same_numbers_everywhere() {
                if let Some(backend) = $backend {
                    rows::check_dropout(&backend);
                }
            }
            #[test]
            fn penalties_of_rows_and_their_gradients_agree() {
                if let Some(backend) = $backend {
                    penalty::check_regularise(&backend);
                }
            }
            #[test]
            fn project_moves_queries() {
                if let Some(backend) = $backend {
                    project::check_project(&backend);
                }
            }
            #[test]
            fn project_backward_writes_the_gradients_of_inputs_and_relations() {
                if let Some(backend) = $backend {
                    project::check_project_backward(&backend);
                }
            }
            #[test]
            fn linear_layers_agree() {
                if let Some(backend) = $backend {
                    linear::check_linear(&backend);
                }
            }
            #[test]
            fn linear_backward_adds_to_parameters_and_writes_inputs() {
                if let Some(backend) = $backend {
                    linear::check_linear_backward(&backend);
                }
            }
            #[test]
            fn windows_of_images_agree() {
                if let Some(backend) = $backend {
                    convolution::check_unfold(&backend);
                }
            }
            #[test]
            fn a_number_of_an_image_gets_the_sum_of_its_windows() {
                if let Some(backend) = $backend {
                    convolution::check_fold(&backend);
                }
            }
            #[test]
            fn moments_of_columns_agree() {
                if let Some(backend) = $backend {
                    normalise::check_mean_variance(&backend);
                }
            }
            #[test]
            fn columns_are_normalised_by_their_mean_and_variance() {
                if let Some(backend) = $backend {
                    normalise::check_normalise(&backend);
                }
            }
            #[test]
            fn normalise_backward_turns_the_gradient_of_the_output_into_that_of_the_input() {
                if let Some(backend) = $backend {
                    normalise::check_normalise_backward(&backend);
                }
            }
            #[test]
            fn blending_moves_by_a_share_of_the_difference() {
                if let Some(backend) = $backend {
                    normalise::check_blend(&backend);
                }
            }
            #[test]
            fn nonlinearities_do_not_hide_nan() {
                if let Some(backend) = $backend {
                    linear::check_nan(&backend);
                }
            }
            #[test]
            fn attention_is_a_softmax_per_segment_and_column() {
                if let Some(backend) = $backend {
                    segment::check_attend(&backend);
                }
            }
            #[test]
            fn attend_backward_agrees() {
                if let Some(backend) = $backend {
                    segment::check_attend_backward(&backend);
                }
            }
            #[test]
            fn segment_means_and_their_gradients_agree() {
                if let Some(backend) = $backend {
                    segment::check_mean(&backend);
                }
            }
            #[test]
            fn gated_minima_agree() {
                if let Some(backend) = $backend {
                    segment::check_gated_min(&backend);
                }
            }
            #[test]
            fn gradients_of_minima_go_to_the_first_of_equals() {
                if let Some(backend) = $backend {
                    segment::check_gated_min_backward(&backend);
                }
            }
            #[test]
            fn set_operations_do_not_hide_nan() {
                if let Some(backend) = $backend {
                    segment::check_nan(&backend);
                }
            }
            #[test]
            fn scores_agree() {
                if let Some(backend) = $backend {
                    score::check_scores(&backend);
                }
            }
            #[test]
            fn score_gradients_agree() {
                if let Some(backend) = $backend {
                    score::check_scores_backward(&backend);
                }
            }
            #[test]
            fn scores_of_own_candidates_agree() {
                if let Some(backend) = $backend {
                    score::check_per_query_scores(&backend);
                }
            }
            #[test]
            fn gradients_of_own_candidates_agree() {
                if let Some(backend) = $backend {
                    score::check_per_query_scores_backward(&backend);
                }
            }
            #[test]
            fn a_nan_in_an_embedding_surfaces_in_its_scores_only() {
                if let Some(backend) = $backend {
                    score::check_nan(&backend);
                }
            }
            #[test]
            fn a_score_has_the_same_bits_alone_and_among_others() {
                if let Some(backend) = $backend {
                    score::check_bits(&backend);
                }
            }
            #[test]
            fn divergences_of_beta_distributions_are_exact_to_float32() {
                if let Some(backend) = $backend {
                    beta::check_scores(&backend);
                }
            }
            #[test]
            fn gradients_of_divergences_agree() {
                if let Some(backend) = $backend {
                    beta::check_scores_backward(&backend);
                }
            }
            #[test]
            fn divergences_from_own_candidates_have_the_same_bits_and_gradients() {
                if let Some(backend) = $backend {
                    beta::check_own(&backend);
                }
            }
            #[test]
            fn ranks_by_divergence_are_those_of_its_scores() {
                if let Some(backend) = $backend {
                    beta::check_rank(&backend);
                }
            }
            #[test]
            fn a_nan_in_a_beta_distribution_surfaces_in_its_scores_only() {
                if let Some(backend) = $backend {
                    beta::check_nan(&backend);
                }
            }
            #[test]
            fn elementwise_functions_agree() {
                if let Some(backend) = $backend {
                    elementwise::check_elementwise(&backend);
                }
            }
            #[test]
            fn gradients_of_elementwise_functions_agree() {
                if let Some(backend) = $backend {
                    elementwise::check_elementwise_backward(&backend);
                }
            }
            #[test]
            fn losses_and_their_weights_agree() {
                if let Some(backend) = $backend {
                    loss::check_loss(&backend);
                }
            }
            #[test]
            fn a_nan_score_surfaces_as_a_nan_loss_unless_masked() {
                if let Some(backend) = $backend {
                    loss::check_nan(&backend);
                }
            }
            #[test]
            fn losses_of_rows_with_labels_and_their_derivatives_agree() {
                if let Some(backend) = $backend {
                    label_loss::check_label_loss(&backend);
                }
            }
            #[test]
            fn a_nan_score_surfaces_in_the_loss_of_its_row_only() {
                if let Some(backend) = $backend {
                    label_loss::check_nan(&backend);
                }
            }
            #[test]
            fn norms_are_those_of_sums_of_rows_and_bound_what_they_scale() {
                if let Some(backend) = $backend {
                    clip::check_clip(&backend);
                }
            }
            #[test]
            fn clipping_neither_hides_nor_spreads_a_nan() {
                if let Some(backend) = $backend {
                    clip::check_nan(&backend);
                }
            }
            #[test]
            fn optimizers_on_rows_agree_and_leave_other_rows_alone() {
                if let Some(backend) = $backend {
                    optimizer::check_rows(&backend);
                }
            }
            #[test]
            fn optimizers_on_tables_agree() {
                if let Some(backend) = $backend {
                    optimizer::check_tables(&backend);
                }
            }
            #[test]
            fn ranks_are_exact_with_ties_filters_roots_and_nan() {
                if let Some(backend) = $backend {
                    rank::check_rank(&backend);
                }
            }
        }
    )*};
}

parity! {
    cpu: Some(Cpu);
    reference: Some(Reference);
    cuda: gpu::cuda();
    cuda_emulated: emulator::cuda();
}
