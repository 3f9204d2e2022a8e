"""A classifier of entailment through whole runs and rescoring: loaded when all answers are there."""

import json
import shutil

import pytest
import torch
from bench import rows_of, untimed
from safetensors.torch import load_file, save_file
from tiny_model import save_tokenizer
from transformers import BertConfig, BertForSequenceClassification

from runners.entailment import entailment
from runners.errors import RunError
from tasks.scoring.entailment import entailed

LABELS = ("contradiction", "ENTAILMENT", "neutral")


def save_classifier(folder, labels=LABELS, pad=True):
    """A random BERT of one layer, with one token a byte."""
    fast = save_tokenizer(folder, 64)
    if pad:
        fast.pad_token = fast.eos_token
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(fast),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=1.0,
        id2label=dict(enumerate(labels)),
        label2id={name: number for number, name in enumerate(labels)},
        pad_token_id=fast.eos_token_id,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return save_classifier(tmp_path_factory.mktemp("nli") / "tiny")


PAIRS = [(f"It rained on day {number}.", "It was wet. " * (number % 5)) for number in range(40)]


def test_probabilities_are_those_of_the_named_label(classifier):
    """Alone, in batches and beside longer ones; whichever place the label has."""
    from transformers import AutoTokenizer

    entails = entailment(classifier, "cpu")
    found = entails(PAIRS)
    assert len(found) == 40 and all(0 <= one <= 1 for one in found) and max(found) - min(found) > 0.01
    assert found == pytest.approx([entails([pair])[0] for pair in PAIRS], abs=1e-5)
    model = BertForSequenceClassification.from_pretrained(classifier).eval()
    tokenizer = AutoTokenizer.from_pretrained(classifier)
    for (premise, hypothesis), probability in list(zip(PAIRS, found, strict=True))[:6]:
        inputs = tokenizer(
            premise, hypothesis, return_tensors="pt", truncation="longest_first", max_length=64
        )
        with torch.inference_mode():
            expected = model(**inputs).logits.softmax(-1)[0, 1]
        assert probability == pytest.approx(float(expected), abs=1e-5)


def test_the_order_of_labels_is_the_models_own(classifier, tmp_path):
    turned = save_classifier(tmp_path / "turned", ("entailment", "neutral", "contradiction"))
    first, third = entailment(turned, "cpu")(PAIRS), entailment(classifier, "cpu")(PAIRS)
    assert first != pytest.approx(third, abs=1e-3)


@pytest.fixture
def articles(bench):
    rows = [
        {"id": f"{n}", "article": f"Bob Hall ran {n} miles. It rained. He won.", "highlights": "Bob ran."}
        for n in range(8)
    ]
    (bench.folder / "articles.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return [
        *("task=summarization", "task.source=file", f"task.path={bench.folder / 'articles.jsonl'}"),
        *("method=random_ffn", "method.share=0.5", "task.names=rules", "max_new_tokens=12", "limit=4"),
    ]


def test_through_a_run_and_rescoring(bench, articles, classifier, command):
    plain = bench.run(*articles)
    assert all("nli_entailed" not in row["scores"] for row in rows_of(plain))
    # Asked for on a finished run, it is scored again and not run again.
    scored = bench.run(*articles, f"task.nli={classifier}")
    assert scored.folder == plain.folder and not scored.fresh
    rows = rows_of(scored)
    entails = entailment(classifier, "cpu")
    known = [row for row in rows if row["output_text"].strip()]
    assert known
    for row in rows:
        for side in ("", "full_"):
            assert ("nli_entailed" in row[f"{side}scores"]) is bool(row[f"{side}output_text"].strip())
    for row in known:
        expected = entailed(row["output_text"], row["question"], entails)
        assert row["scores"]["nli_entailed"] == pytest.approx(expected, abs=1e-5)
    # A new run with it has the same rows; rescoring keeps them, and can do without again.
    anew = bench.run(*articles, f"task.nli={classifier}", f"results_dir={bench.folder / 'anew'}")
    assert [untimed(row) for row in rows_of(anew)] == [untimed(row) for row in rows]
    assert command("rescore", str(scored.folder))[0] == 0 and rows_of(scored) == rows
    assert command("rescore", str(scored.folder), "task.nli=null")[0] == 0
    assert rows_of(scored) == rows_of(plain) and "nli_entailed" not in rows_of(scored)[0]["scores"]


def test_it_is_loaded_when_all_answers_are_there(bench, articles, classifier, monkeypatch):
    """What is measured shares neither memory nor the clock with it."""
    from runners import entailment as module
    from runners.pair import Pair

    order = []
    rows, give = Pair.rows, module.give_entailment
    monkeypatch.setattr(Pair, "rows", lambda *given: order.append("answered") or rows(*given))
    monkeypatch.setattr("runners.execute.give_entailment", lambda task: order.append("loaded") or give(task))
    bench.run(*articles, f"task.nli={classifier}")
    assert order == ["answered"] * 4 + ["loaded"]


@pytest.mark.parametrize("case", ["no label", "nowhere", "a file", "no model", "no padding"])
def test_what_is_refused_before_anything_runs(bench, articles, command, tmp_path, monkeypatch, case):
    folder = tmp_path / "model"
    path = str(folder)
    if case == "no label":
        save_classifier(folder, ("LABEL_0", "not_entailment", "x"))
        said = "has no label 'entailment' (it has: label_0, not_entailment, x)"
    elif case == "nowhere":
        said = f"task.nli={path} is not there"
    elif case == "a file":
        folder.write_text("x")
        said = "is not there, or no folder"
    elif case == "no model":
        folder.mkdir()
        said = f"task.nli={path} cannot be loaded"
    else:
        save_classifier(folder, pad=False)
        with pytest.raises(RunError, match="has no padding token"):
            entailment(path, "cpu")
        return
    monkeypatch.setattr("runners.execute.load_model", None)
    status, _, err = command(*bench.overrides(*articles, f"task.nli={path}"))
    assert status == 2 and said in err and err.count("\n") == 1
    assert not bench.results.exists() or not bench.files()


def test_a_classifier_without_weights_is_one_line(classifier, tmp_path):
    shutil.copytree(classifier, tmp_path / "bare")
    (tmp_path / "bare" / "model.safetensors").unlink()
    with pytest.raises(RunError, match=r"task\.nli=.* cannot be loaded") as error:
        entailment(str(tmp_path / "bare"), "cpu")
    assert "\n" not in str(error.value)


def headless(folder):
    path = folder / "model.safetensors"
    weights = {name: weight for name, weight in load_file(path).items() if not name.startswith("classifier")}
    save_file(weights, path, metadata={"format": "pt"})


def with_config(folder, change):
    (folder / "config.json").write_text(json.dumps(change(json.loads((folder / "config.json").read_text()))))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        # transformers would make them up at random, and the scores with them.
        (headless, "lacks 2 of its weights, the first is classifier.bias"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\0" * 40), "cannot be loaded"),
        (lambda folder: with_config(folder, lambda _: []), "cannot be loaded"),
        (lambda folder: with_config(folder, lambda config: config | {"num_labels": 2**40}), "more than any"),
    ],
    ids=["no head", "damaged", "no object", "labels"],
)
def test_a_damaged_classifier_is_one_line(classifier, tmp_path, damage, said):
    folder = tmp_path / "damaged"
    shutil.copytree(classifier, folder)
    damage(folder)
    with pytest.raises(RunError, match=said) as error:
        entailment(str(folder), "cpu")
    assert "\n" not in str(error.value)
