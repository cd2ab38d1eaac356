"""How many cases of the longest sweeps run by default; the rest of each is `slow`.

So the default run stays short. It keeps of every sweep some cases that show that it works, and none
of those that say with seconds what others say; `pytest -m slow` runs them. The cases are counted in
the order in which they are collected.
"""

from __future__ import annotations

CASES = {
    "test_accumulation.py::test_composites_round_once_and_so_do_their_gradients": 3,
    "test_accumulation.py::test_means_of_many": 3,
    "test_bench_gpu.py::test_jax_multiplies_float32_as_float32": 0,
    "test_bench_gpu.py::test_ours_is_right_and_timed": 2,
    "test_bench_run.py::test_a_quick_run_of_staticnet_alone": 0,
    "test_bench_run.py::test_peers_agree_with_the_reference": 4,
    "test_bits.py::test_more_outputs_on_cuda": 0,
    "test_bits.py::test_passes_of_training_steps": 1,
    "test_bits.py::test_threads": 1,
    "test_compare.py::TestProcesses::test_any_name_and_any_module_will_do": 0,
    "test_compare_files.py::test_peers_train_alike": 1,
    "test_compare_files.py::test_the_example_trains_fails_and_compares": 0,
    "test_cpu.py::test_every_op_and_dtype": 6,
    "test_cpu.py::test_large_softmax_fetches_the_next_row_and_is_right": 1,
    "test_cuda_compile.py::test_every_op_and_dtype": 3,
    "test_cuda_launches.py::test_samples": 3,
    "test_cuda_shim.py::test_every_family_of_odd_sizes": 3,
    "test_cuda_shim.py::test_every_op_and_dtype": 4,
    "test_cuda_shim.py::test_golden_graphs": 12,
    "test_export.py::test_a_program_trains_as_the_step_does": 2,
    "test_export.py::test_every_op_is_exported": 0,
    "test_export.py::test_large_products_and_a_state_in_a_second_file": 0,
    "test_export.py::test_no_undefined_behaviour": 1,
    "test_names.py::test_source_files_of_any_name": 2,
    "test_plan_memory.py::test_the_order_of_three_thousand_groups_takes_few_calls": 0,
    "test_precision.py::test_training_reaches_the_loss_of_float32": 0,
    "test_probe.py::TestWhatIsFound::test_every_node_of_a_training_step": 1,
    "test_profile.py::test_state_stays_bit_for_bit": 1,
    "test_random_programs.py::test_programs": 1,
    "test_random_ranges.py::test_uniform_of_a_million": 8,
    "test_remat.py::test_a_limit_is_kept_and_the_bits_too": 3,
    "test_remat.py::test_what_is_cheap_comes_first": 0,
    "test_report_page.py::TestInTheBrowser::test_a_page_of_5000_nodes_opens": 0,
    "test_rounding.py::test_16_bit_reductions_equal_those_of_the_reference": 1,
    "test_rounding.py::test_sums_have_the_same_bits_in_every_kernel": 1,
    "test_rounding.py::test_sums_have_the_same_bits_in_every_kernel_of_a_gpu": 1,
    "test_special_points.py::test_casts_beyond_the_range_of_integers": 12,
    "test_state.py::test_steps_on_a_gpu": 3,
}
