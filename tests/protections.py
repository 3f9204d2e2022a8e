"""What protects results, machine and keys: words of the project, and the test that fails without them."""

from protection import Protection
from protections_of_input import INPUT, MEANING, STRANGERS

CRASHES = [
    Protection(
        "runners/execute.py",
        "        run.tidy()\n",
        "",
        "runners/test_kills.py::test_killed_between_done_and_the_end_of_the_journal",
    ),
    Protection(
        "runners/execute.py",
        "self._answer(before.done)",
        "self._answer(set())",
        "runners/test_kills.py::test_killed_at_points_of_writing",
    ),
    Protection(
        "runners/progress.py",
        'found.setdefault((row["example_id"], row["turn"]), row | scored(task, row))',
        'found[row["example_id"], row["turn"], len(found)] = row | scored(task, row)',
        "runners/test_execute_results.py::test_a_journal_that_has_an_example_twice",
    ),
    Protection(
        "runners/files.py",
        'temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}{TEMPORARY_SUFFIX}")',
        "temporary = path",
        "runners/test_run_storage.py::test_a_failed_write_keeps_the_old_file_and_no_temporary",
    ),
    Protection(
        "runners/files.py",
        "                file.flush()\n                os.fsync(file.fileno())\n",
        "",
        "runners/test_run_storage.py::test_what_is_told_to_be_safe_is_on_disk",
    ),
    Protection(
        "runners/files.py",
        "            raise\n        sync_folder(path.parent)\n",
        "            raise\n",
        "runners/test_run_storage.py::test_what_is_told_to_be_safe_is_on_disk",
    ),
    Protection(
        "runners/files.py",
        "content = content[file.write(content) :]\n    os.fsync(file.fileno())\n",
        "content = content[file.write(content) :]\n",
        "runners/test_run_storage.py::test_what_is_told_to_be_safe_is_on_disk",
    ),
    Protection(
        "runners/journal.py",
        "            if end == 0:\n                sync_folder(self.path.parent)\n",
        "",
        "runners/test_run_storage.py::test_what_is_told_to_be_safe_is_on_disk",
    ),
    Protection(
        "runners/journal.py",
        "end = _cut_torn_line(self.path, file)",
        "end = file.seek(0, os.SEEK_END)",
        "runners/test_run_storage.py::test_appending_after_a_torn_line_without_reading_first",
    ),
    Protection(
        "runners/journal.py",
        "                    file.truncate(end)\n                raise\n",
        "                    pass\n                raise\n",
        "runners/test_run_storage.py::test_a_full_disk_keeps_the_records_before",
    ),
    Protection(
        "runners/storage.py",
        "                remove_temporaries(self.path)\n",
        "                pass\n",
        "runners/test_run_storage.py::test_the_lock_is_let_go_and_cleans_what_a_killed_process_left",
    ),
    Protection(
        "runners/storage.py",
        "            (self.path / DONE).unlink(missing_ok=True)\n            if not",
        "            if not",
        "runners/test_run_storage.py::test_a_reset_cut_short_does_not_look_finished",
    ),
    Protection(
        "runners/storage.py",
        '        self.write_text(RESCORING, "")\n',
        "",
        "runners/test_execute_rescore.py",
    ),
    Protection(
        "runners/finished.py",
        "    if not is_told(run.path, to) and os",
        "    if False and os",
        "runners/test_execute_results.py::test_a_run_of_which_nobody_was_told_is_told_when_it_is_asked_for_again",
    ),
    Protection(
        "runners/storage.py",
        '            self.write_parquet(f"judgements-{name}.parquet", table)\n',
        "            pass\n        self.journal.remove()\n",
        "runners/test_run_storage_killed.py::test_a_run_killed_before_done_is_not_done",
    ),
    Protection(
        "runners/storage.py",
        "        samples, record = samples_table(rows)",
        '        self.write_text(DONE, "")\n        samples, record = samples_table(rows)',
        "runners/test_run_storage.py::test_a_finished_run_is_whole_and_done_comes_last",
    ),
    Protection(
        "runners/verdict_store.py",
        'f"\\n{json.dumps(record)}\\n"',
        'f"{json.dumps(record)}\\n"',
        "runners/test_judging.py::test_a_verdict_cut_short_is_asked_again",
    ),
    Protection(
        "runners/execute.py",
        "        promise(self.run.path, to)\n",
        "",
        "runners/test_execute_results.py::test_a_run_of_which_nobody_was_told_is_told_when_it_is_asked_for_again",
    ),
    Protection(
        "runners/rescore.py",
        "            forget(run.path)\n",
        "",
        "runners/test_execute_results.py::test_a_run_of_which_nobody_was_told_is_told_when_it_is_asked_for_again",
    ),
]

PROCESSES = [
    Protection(
        "runners/files.py",
        "            lock.acquire(timeout=0)\n",
        "            pass\n",
        "runners/test_run_storage_killed.py::test_a_second_process_is_told_and_a_dead_holder_holds_nothing",
    ),
    Protection(
        "runners/execute.py",
        "done = run.is_done() and not force\n        fresh",
        "done = False\n        fresh",
        "runners/test_concurrent.py::test_a_run_that_another_process_finishes_while_the_model_is_loading",
    ),
    Protection(
        "runners/bars.py",
        "    _lock: ClassVar[Any] = RLock()\n",
        "",
        "runners/test_concurrent.py::test_a_process_killed_while_it_draws_holds_up_nobody",
    ),
    Protection(
        "models/gguf.py",
        'with FileLock(f"{folder}.lock", fallback_to_soft=False):',
        "if True:",
        "runners/test_concurrent.py::test_one_model_converted_by_eight_processes",
    ),
    Protection(
        "runners/files.py",
        "if now is None or leftover.stat().st_mtime < now.stat().st_mtime - _HOUR_S:",
        "if True:",
        "runners/test_study.py::test_what_killed_processes_left_in_a_study_goes_and_what_others_are_writing_stays",
    ),
]

PROTECTIONS = [*CRASHES, *PROCESSES, *INPUT, *STRANGERS, *MEANING]
