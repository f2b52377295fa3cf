"""A pytest plugin that runs each fault test without its protection, and passes where the test fails: `make mutations`.

    PYTHONPATH=tests python -m pytest -p fault_harness.mutations tests/faults

It ends with a table of what was taken away and how the test failed. A test that passes all the same is an error: it
shows nothing. `TABLE` names what each test is tried without, functions of the package `without`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fault_harness.without.patching import mutation

_OWN = "arithmetic."  # what is tested in pytest's own process
_RAW = "inputs.refusal_of_labels"
_COUNTS = "test_what_cannot_be_counted_is_refused"
_LABELS = "test_r17_label_files_are_refused_with_their_line"

TABLE: dict[str, tuple[str, ...]] = {
    "test_r1_every_good_file_has_its_mask": ("photos.guard_of_a_photo",),
    "test_r1_every_bad_file_has_its_reason": ("photos.reason_of_a_photo",),
    "test_r1_bad_files_change_nothing_in_the_good_ones": ("photos.place_of_a_photo",),
    "test_r2_cut_photos_on_request_only": ("photos.refusal_of_cut_photos",),
    "test_r3_orientations": ("photos.exif",),
    "test_r4_sixteen_bit_grey": ("photos.scaled_grey",),
    "test_r6_bombs_cost_neither_time_nor_memory": ("photos.limit_of_pixels",),
    "test_r6_the_limit_is_a_flag": ("photos.limit_of_pixels",),
    "test_r6_a_photo_of_60_megapixels": ("photos.limit_of_the_side",),
    "test_r7_names_round_trip": ("photos.names_as_escapes",),
    "test_r8_collisions_are_found_before_any_work": ("photos.folders_apart", "photos.one_owner_a_mask"),
    "test_r8_refine_and_evaluate_keep_their_inputs": ("photos.folders_apart",),
    "test_r9_extract_killed_at_random_moments": ("files.atomic_files", "files.line_at_once", "files.sweeping"),
    "test_r9_refine_killed_at_random_moments": ("files.atomic_files", "files.line_at_once", "files.sweeping"),
    "test_a_killed_run_that_refines_ends_with_the_bytes_of_an_undisturbed_one": ("files.sweeping",),
    "test_r9_export_killed_at_random_moments": ("files.folder_as_a_whole",),
    "test_r11_export_on_a_full_disk": ("files.folder_as_a_whole",),
    "test_r9_training_killed_at_random_moments": ("files.momenta",),
    "test_r9_the_other_trainings_killed": ("files.momenta",),
    "test_r10_a_signal_finishes_the_batch": ("files.graceful_stop",),
    "test_r10_the_second_signal_ends_at_once": ("files.second_signal",),
    "test_r10_training_stops_and_goes_on": ("files.graceful_stop",),
    "test_r11_extract_on_a_full_disk": ("files.removal_of_partial_files", "files.words_for_a_full_disk"),
    "test_r11_refine_on_a_full_disk": ("files.removal_of_partial_files",),
    "test_r11_training_on_a_full_disk": ("files.removal_of_partial_files", "files.previous_checkpoint"),
    "test_r11_a_file_size_limit": ("files.removal_of_partial_files",),
    "test_r11_a_folder_that_cannot_be_written": ("files.words_for_a_full_disk",),
    "test_r12_extract_with_other_inputs_is_refused": (
        "files.comparison",
        "files.comparison_of_weights",
        "files.comparison_of_tags",
    ),
    "test_r12_refine_with_other_inputs_is_refused": ("files.comparison",),
    "test_r12_training_with_other_settings_is_refused": ("files.comparison",),
    "test_r13_two_processes_in_one_folder": ("files.one_line_a_photo",),
    "test_r14_three_runs_and_any_number_of_workers": ("files.dateless_scores", "files.workers_alike"),
    "test_r14_other_batches": ("files.scale_of_a_photo",),
    "test_r14_refine_in_any_number_of_batches_and_runs": ("files.dateless_scores",),
    "test_r15_masks_agree": ("photos.maps_in_float32",),
    "test_photos_that_nvjpeg_decodes": ("photos.maps_in_float32",),
    "test_r16_pickles_are_never_opened": ("inputs.sealed_weights", "inputs.sealed_labels", "inputs.sealed_scores"),
    "test_r16_nothing_in_the_package_unpickles": ("arithmetic.rule_against_pickles",),
    "test_r16_a_checkpoint_that_is_a_pickle": ("inputs.sealed_weights",),
    **{
        f"{_LABELS}[{name}]": (_RAW,) for name in ("header_only.csv", "empty.csv", "utf16.csv", "quote.csv", "zero.csv")
    },
    **{f"{_LABELS}[{name}.json]": (_RAW,) for name in ("nan", "number", "strange")},
    f"{_LABELS}[climbs.csv]": ("inputs.rows_within_the_folder",),
    f"{_LABELS}[negative.csv]": ("inputs.cells_of_0_and_1",),
    f"{_LABELS}[nan.csv]": ("inputs.cells_of_0_and_1",),
    f"{_LABELS}[twice.csv]": ("inputs.one_row_a_photo",),
    f"{_LABELS}[columns.csv]": ("inputs.columns_of_the_header",),
    f"{_LABELS}[unknown.csv]": ("inputs.classes_of_the_weights",),
    f"{_LABELS}[deep.json]": ("inputs.depth_of_json",),
    "test_r17_xml_entities_are_refused": ("inputs.entities",),
    "test_r17_harmless_oddities_pass": ("inputs.byte_order_mark", "inputs.one_walk_a_folder"),
    "test_r17_three_hundred_classes": ("inputs.classes_of_the_weights",),
    "test_r17_a_million_lines": ("inputs.rows_let_go",),
    "test_a_million_lines": ("arithmetic.names_looked_up",),
    "test_r18_every_kind_of_tag": ("inputs.empty_rows", "inputs.photos_without_classes"),
    "test_r20_a_hundred_thousand_photos_are_listed": ("inputs.listing_without_reading",),
    "test_r20_memory_is_flat": ("inputs.forgetting_photos",),
    "test_r21_memory_that_runs_out_halves_the_batch": ("arithmetic.smaller_batches",),
    "test_r22_a_killed_decoder_loses_one_photo": ("files.new_workers",),
    "test_r22_a_killed_worker_loses_one_photo": ("arithmetic.new_refiners",),
    "test_r23_measures_equal_torchmetrics": ("arithmetic.ignored_truth", "arithmetic.absent_classes"),
    "test_counts_go_beyond_32_bits": ("arithmetic.wide_counts",),
    **{f"{_COUNTS}[{told}]": ("arithmetic.equal_sizes",) for told in ("size", "integer", "integer map")},
    **{f"{_COUNTS}[{told}]": ("arithmetic.labels_of_the_list",) for told in ("value -1", "value 3")},
    f"{_COUNTS}[prediction contains the value 3]": ("arithmetic.labels_of_the_list",),
    f"{_COUNTS}[truth contains the value 3]": ("arithmetic.labels_of_the_list",),
    "test_r26_streams": ("streams.plain_text", "streams.closed_stdout"),
    "test_r26_a_reader_that_goes_away": ("streams.reader_that_left",),
    "test_r26_weights_that_cannot_be_fetched": ("streams.stdout_for_data", "streams.words_for_no_network"),
    "test_r27_a_few_seconds": ("photos.reason_of_a_photo",),
    "test_r27_ten_thousand_files_of_each_kind": ("photos.reason_of_a_photo",),
    "test_r27_what_was_found_stays_mended": ("streams.kinds_of_a_record",),
    "test_r27_a_folder_of_damaged_photos": ("photos.guard_of_a_photo",),
    "test_r27_damaged_folders[manifest.jsonl]": ("streams.lines_of_a_manifest",),
    "test_r27_damaged_folders[run.json]": ("streams.reading_of_a_record",),
    "test_r27_damaged_folders[scores/p01.npz]": ("streams.reading_of_scores",),
    "test_r27_damaged_folders[p01.png]": ("streams.reading_of_masks",),
}


def tried(function: str) -> list[str]:
    """All that a test is tried without, whatever its parameters."""
    found = (names for key, names in TABLE.items() if key.partition("[")[0] == function)
    return list(dict.fromkeys(name for names in found for name in names))


@pytest.fixture
def without(request: pytest.FixtureRequest) -> str:
    """The protection that is taken away in this test."""
    return str(request.param)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = tried(metafunc.function.__name__)
    if names:
        metafunc.fixturenames.append("without")
        metafunc.parametrize("without", names, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kept = [item for item in items if _belongs(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def _belongs(item: Any) -> bool:
    params = dict(getattr(getattr(item, "callspec", None), "params", {}))
    name = params.pop("without", None)
    keys = [item.originalname, *(f"{item.originalname}[{value}]" for value in params.values())]
    return any(name in TABLE.get(key, ()) for key in keys)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: Any) -> Iterator[None]:
    """Fixtures are made with all protections; the test itself runs without one."""
    from fault_harness.machinery import Server

    name = item.callspec.params["without"]
    with pytest.MonkeyPatch.context() as patch:
        if name.startswith(_OWN):
            mutation(name)(patch.setattr)
        else:
            patch.setattr(Server, "without", name)
        return (yield)


_told: list[tuple[str, str, str]] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: Any = yield
    if report.when != "call" or report.skipped:
        return report
    name = item.callspec.params["without"]
    if report.failed:
        assert call.excinfo is not None
        how = (str(call.excinfo.value).strip() or call.excinfo.typename).splitlines()[0]
        _told.append((item.name, str(mutation(name).__doc__), f"line {call.excinfo.traceback[-1].lineno + 1}: {how}"))
        report.outcome, report.longrepr = "passed", None
    else:
        report.outcome = "failed"
        report.longrepr = f"{item.name} passes although this is taken away: {mutation(name).__doc__}"
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.write_line("\n| test | taken away | how it failed |\n| --- | --- | --- |")
    for row in _told:
        terminalreporter.write_line("| " + " | ".join(cell.replace("|", "\\|")[:160] for cell in row) + " |")
