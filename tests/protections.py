"""What protects results, machine and keys: words of the project, and the test that fails without them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Protection:
    """Words of a file, what remains of them, and the test that then fails, or never ends."""

    file: str
    old: str
    new: str
    test: str
    endless: bool = False


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
        "runners/execute.py",
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

INPUT = [
    Protection(
        "models/gguf.py",
        "    check_header(file)\n",
        "",
        "models/test_fuzz_weights.py::test_a_header_that_announces_more_than_there_is",
        endless=True,
    ),
    Protection(
        "models/gguf.py",
        "for name, number in special.items():",
        "for name, number in ():",
        "models/test_gguf.py::test_the_special_tokens_are_those_that_the_file_names",
    ),
    Protection(
        "models/description.py",
        "        if not isinstance(content, dict):\n",
        "        if False:\n",
        "models/test_fuzz_weights.py::test_json_that_is_no_object_is_named",
    ),
    Protection(
        "models/description.py",
        "    _refuse_quantised(config, called)\n",
        "",
        "models/test_fuzz_weights.py::test_quantised_weights_are_refused",
    ),
    Protection(
        "models/description.py",
        "        check_counts(source, called, revision=revision, **gguf)\n",
        "",
        "runners/test_fuzz_models.py::test_what_the_fuzzing_found",
        endless=True,
    ),
    Protection(
        "models/loading.py",
        "if max(ids, default=0) >= self.stack.vocabulary:",
        "if False:",
        "runners/test_fuzz_models.py::test_what_the_fuzzing_found",
    ),
    Protection(
        "models/errors.py",
        "StrictDataclassError, TemplateError)",
        "StrictDataclassError)",
        "runners/test_fuzz_models.py::test_what_the_fuzzing_found",
    ),
    Protection(
        "models/sampling.py",
        "if min(tokens, default=0) < 0:",
        "if False:",
        "runners/test_odd_models.py::test_no_token_is_chosen_from_what_is_no_number",
    ),
    Protection(
        "runners/halving.py",
        "    if rows == 1:\n",
        "    if rows:\n",
        "runners/test_odd_models.py::test_a_batch_that_does_not_fit_is_halved_once_and_told",
    ),
    Protection(
        "runners/halving.py",
        "    pair.method.load_state(state)\n",
        "",
        "runners/test_odd_models.py::test_a_method_that_learns_forgets_a_batch_that_did_not_fit",
    ),
    Protection(
        "runners/target_skip.py",
        "with told_if_too_large(len(prompts)):",
        "if True:",
        "runners/test_odd_models.py::test_memory_that_runs_out_while_solving",
    ),
    Protection(
        "tasks/judges/endpoint.py",
        "if time.monotonic() > end:",
        "if False:",
        "tasks/test_judges.py::test_a_server_that_hangs_or_sends_byte_after_byte",
        endless=True,
    ),
    Protection(
        "runners/pair.py",
        "if logprob is not None and math.isnan(logprob):",
        "if False:",
        "runners/test_odd_models.py::test_weights_that_are_broken_for_one_example_alone",
    ),
    Protection(
        "tasks/judges/endpoint.py",
        "if size > _MOST_BYTES:",
        "if False:",
        "tasks/test_judges.py::test_an_answer_without_end",
    ),
    Protection(
        "tasks/judges/endpoint.py",
        "LookupError, TypeError, RecursionError",
        "IndexError, TypeError",
        "tasks/test_judges.py::test_it_gives_up_in_one_line_without_the_key",
    ),
    Protection(
        "runners/execute.py",
        "keep_layout, content, torch",
        "keep_layout, None, torch",
        "runners/test_security.py::test_code_that_comes_with_a_model_does_not_run",
    ),
    Protection(
        "runners/warm_up.py",
        "        if if_it_fits(rows, partial(decode, rows)) is None:\n",
        "        if decode(rows) is None:\n",
        "runners/test_odd_models.py::test_memory_that_runs_out_while_warming_up",
    ),
]

STRANGERS = [
    Protection(
        "models/kernels.py",
        "        return path.stat().st_uid in (0, _USER)\n",
        "        return path.stat().st_uid >= 0\n",
        "models/test_kernels.py::test_a_library_that_another_user_has_put_there_is_not_loaded",
    ),
    Protection(
        "models/kernels.py",
        "        _check(library)\n",
        "",
        "models/test_kernels.py::test_kernels_that_compute_wrongly_are_not_used",
    ),
    Protection(
        "models/description.py",
        "revision=revision, trust_remote_code=trust_remote_code, **gguf",
        "revision=revision, trust_remote_code=True, **gguf",
        "runners/test_security.py::test_code_that_comes_with_a_model_does_not_run",
    ),
    Protection(
        "models/loading.py",
        '"trust_remote_code": config.trust_remote_code}',
        '"trust_remote_code": True}',
        "runners/test_security.py::test_code_that_comes_with_a_tokenizer_does_not_run",
    ),
    Protection(
        "runners/user_errors.py",
        "        if _TARGET.search(argument):\n",
        "        if False:\n",
        "runners/test_fuzz_command.py::test_what_the_attacks_found",
    ),
    Protection(
        "runners/user_errors.py",
        "    if not _OPTION.fullmatch(key):\n",
        "    if False:\n",
        "runners/test_fuzz_command.py::test_what_the_attacks_found",
    ),
    Protection(
        "runners/user_errors.py",
        "line = printable(_explained(error, conf))",
        "line = _explained(error, conf)",
        "runners/test_fuzz_command.py::test_random_values_of_real_keys",
    ),
    Protection(
        "runners/storage.py",
        "        if not _RUN_ID.fullmatch(run_id):\n",
        "        if False:\n",
        "runners/test_security.py::test_run_ids_stay_in_the_results_folder",
    ),
    Protection(
        "run.py",
        "    refuse_secrets(arguments)\n",
        "",
        "runners/test_security.py::test_a_key_in_any_command_is_written_nowhere[rescore]",
    ),
    Protection(
        "runners/configure.py",
        '    _refuse_secrets(values, "", _secrets())\n',
        "",
        "runners/test_security.py::test_a_key_in_a_setting_is_refused_and_not_repeated",
    ),
    Protection(
        "runners/configure.py",
        "KEY$|TOKEN$|SECRET|PASSWORD",
        "KEY$",
        "runners/test_security.py::test_the_environment_is_asked_for_every_kind_of_secret",
    ),
    Protection(
        "tasks/judges/config.py",
        "host not in _LOOPBACK",
        "not host.startswith(tuple(_LOOPBACK))",
        "runners/test_security.py::test_a_key_goes_to_no_other_machine_in_the_clear",
    ),
    Protection(
        "tasks/judges/endpoint.py",
        'line.replace(key, "***") if key else line',
        "line",
        "tasks/test_judges.py::test_it_gives_up_in_one_line_without_the_key",
    ),
    Protection(
        "tasks/judges/endpoint.py",
        '("OPENAI_API_KEY" if config.url == OPENAI else None)',
        '"OPENAI_API_KEY"',
        "tasks/test_judges.py::test_a_key_goes_to_its_owner_alone",
    ),
    Protection(
        "analysis/page/write.py",
        'return _UNSAFE.sub(lambda found: f"\\\\u{ord(found.group()):04x}", text)',
        "return text",
        "analysis/test_page.py::TestPage::test_hostile_text_stays_json",
    ),
    Protection(
        "models/loading.py",
        "            use_safetensors=True,\n",
        "",
        "models/test_loading.py::test_only_safetensors",
    ),
    Protection(
        "models/loading.py",
        "not file.is_relative_to(root.resolve())",
        "False",
        "models/test_loading.py::test_packages_that_carry_no_such_file",
    ),
    Protection(
        "runners/user_errors.py",
        "    if given.experimental_rerun:\n",
        "    if False:\n",
        "runners/test_fuzz_command.py::test_what_the_attacks_found",
    ),
    Protection(
        "runners/user_errors.py",
        'if given.config_path or given.config_dir or "hydra.searchpath" in "".join(arguments):',
        "if False:",
        "runners/test_fuzz_command.py::test_what_the_attacks_found",
    ),
    Protection(
        "tasks/judges/config.py",
        'if "@" in self.base_url or parts.query or parts.fragment:',
        "if False:",
        "runners/test_security.py::test_what_may_be_a_key_is_not_repeated",
    ),
    Protection(
        "tasks/judges/config.py",
        "if self.key_env is not None and not _VARIABLE.fullmatch(self.key_env):",
        "if False:",
        "runners/test_security.py::test_what_may_be_a_key_is_not_repeated",
    ),
]

PROTECTIONS = [*CRASHES, *PROCESSES, *INPUT, *STRANGERS]
