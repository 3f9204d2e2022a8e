"""Guards against what comes from outside: files, options, strangers, inputs that mean something else."""

from protection import Protection

INPUT = [
    Protection(
        "models/gguf.py",
        "    check_header(file)\n",
        "",
        "models/test_fuzz_weights.py::test_a_header_that_announces_more_than_there_is",
        endless=True,
    ),
    Protection(
        "models/gguf_tokens.py",
        "for name, number in _special(metadata).items():",
        "for name, number in ():",
        "models/test_gguf.py::test_the_special_tokens_are_those_that_the_file_names",
    ),
    Protection(
        "models/description.py",
        "        if not isinstance(described, dict):\n",
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

MEANING = [
    Protection(
        "models/gguf_metadata.py",
        "    rotary_parameters(config, metadata)\n    return config",
        "    return config",
        "models/test_gguf_metadata.py::test_rotary_scaling",
    ),
    Protection(
        "models/gguf_tokens.py",
        'for name in ("eos", "eot", "eom")',
        'for name in ("eos",)',
        "models/test_gguf_metadata.py::test_the_end_of_a_turn_and_of_a_message_end_an_answer",
    ),
    Protection(
        "models/rotary.py",
        "torch.where(beyond, long[0][:, :-1], short[0])",
        "short[0]",
        "models/test_rotary.py::test_alone_and_in_a_batch_as_generate",
    ),
    Protection(
        "models/chat.py",
        "if text != self._rendered(source, messages):",
        "if False:",
        "runners/test_dated_prompts.py::test_a_template_that_is_random",
    ),
    Protection(
        "runners/execute.py",
        "if before.first_rows and (changed",
        "if False and (changed",
        "runners/test_dated_prompts.py::test_prompts_that_changed_since_the_run_began",
    ),
    Protection(
        "runners/scoring.py",
        "    if not is_cut_off(row, prefix):\n",
        "    if True:\n",
        "runners/test_thoughts.py::test_cut_off_is_no_attempt",
    ),
    Protection(
        "runners/judging.py",
        "said = answer_in(verdict.text)",
        "said = verdict.text",
        "runners/test_judging.py::test_a_judge_that_never_stops_thinking",
    ),
]
