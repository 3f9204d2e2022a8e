"""What a judge is asked, what its words mean, and endpoints that behave and that do not."""

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from loopback import answer
from tasks.errors import DataError
from tasks.judges.config import JudgeConfig
from tasks.judges.endpoint import JudgeUnreachableError, endpoint
from tasks.judges.prompts import PromptBook, Turn
from tasks.judges.verdicts import ratings, winner
from tasks.mtbench import TEMPERATURES

KEY = "sk-planted-secret-1234567890"
TURNS = [Turn("Q one?", "own one", "full one"), Turn("Q two?", "own two", "full two")]


@pytest.mark.parametrize("category", TEMPERATURES)
@pytest.mark.parametrize("turns", [1, 2])
def test_every_prompt_says_all_and_nothing_else(category: str, turns: int) -> None:
    book, said, references = PromptBook(), TURNS[:turns], ["ref one", "ref two"]
    grade = book.single("mtbench", category, said, references)
    assert grade.ratings == 1 and [m["role"] for m in grade.messages] == ["system", "user"]
    text = grade.messages[-1]["content"]
    for number, turn in enumerate(said):
        assert turn.question in text and turn.answer in text and str(turn.full_answer) not in text
        # A reference only where there is a right answer.
        beside = category in ("math", "reasoning", "coding")
        assert (references[number] in text) is beside
    assert "{" not in text
    for full_first in (False, True):
        pair = book.pairwise("mtbench", category, said, references, full_first)
        assert pair.ratings == 0
        text = pair.messages[-1]["content"]
        first, second = ("full", "own") if full_first else ("own", "full")
        word = "one" if turns == 1 else "two"
        assert 0 < text.index(f"{first} {word}") < text.index(f"{second} {word}")
        assert "{" not in text


def test_without_a_reference_the_general_prompt_is_taken() -> None:
    assert PromptBook().single("mtbench", "math", TURNS[:1], []).prompt_name == "single-v1"
    for references in (["only one"], ["", "two"], ["one", ""]):
        asked = PromptBook().single("mtbench", "math", TURNS, references)
        assert asked.prompt_name == "single-v1-multi-turn"


def test_answers_with_braces_are_left_as_they_are() -> None:
    turn = Turn("What does {answer} print?", "{question} and {unknown} {0}", "x")
    text = PromptBook().single("mtbench", "stem", [turn], []).messages[-1]["content"]
    assert "What does {answer} print?" in text and "{question} and {unknown} {0}" in text


def test_summaries_have_four_ratings() -> None:
    asked = PromptBook().single("summarization", "short", TURNS[:1], ["ref"])
    assert (asked.prompt_name, asked.ratings) == ("summary-v1", 4)
    assert PromptBook().pairwise("summarization", "short", TURNS[:1], ["r"], True).ratings == 0


def test_prompts_of_ones_own(write_jsonl: Callable[..., str]) -> None:
    """FastChat's layout; what is missing or asks for something unknown is one line."""
    good = {"name": "single-v1", "type": "single", "system_prompt": "Sys.", "output_format": "[[rating]]"}
    path = write_jsonl({**good, "prompt_template": "[Question]\n{question}\n{answer}"})
    book = PromptBook(path)
    assert book.sha256 != PromptBook().sha256
    assert (
        book.single("mtbench", "stem", TURNS[:1], []).messages[-1]["content"] == "[Question]\nQ one?\nown one"
    )
    with pytest.raises(DataError, match="there is no prompt 'pair-v2'; it has: single-v1"):
        book.pairwise("mtbench", "stem", TURNS[:1], [], False)
    unrated = {**good, "output_format": "[rating]", "prompt_template": "{question}"}
    with pytest.raises(DataError, match=r"asks for no \[\[rating\]\]"):
        PromptBook(write_jsonl(unrated, name="unrated.jsonl")).single("mtbench", "stem", TURNS[:1], [])
    bad = PromptBook(
        write_jsonl({**good, "prompt_template": "{question.__class__} {mood}"}, name="bad.jsonl")
    )
    with pytest.raises(DataError, match=r"asks for \{mood\}, which is not known here"):
        bad.single("mtbench", "stem", TURNS[:1], [])
    with pytest.raises(DataError, match="there is no such file"):
        PromptBook("/nowhere/prompts.jsonl")


@pytest.mark.parametrize(
    ("text", "count", "found"),
    [
        ("Rating: [[7]]", 1, [7.0]),
        ("Rating: [[7.5]]", 1, [7.5]),
        ("like [[5]] says the example. Rating: [[ 8 ]]", 1, [8.0]),
        ("Rating: [[9/10]]", 1, [9.0]),
        ("Rating: 7", 1, None),
        ("Rating: [[11]]", 1, None),
        ("Rating: [[0]]", 1, None),
        ("", 1, None),
        ("[[1]] [[2]] [[3]] [[4]]", 4, [1.0, 2.0, 3.0, 4.0]),
        ("[[1]] [[2]] [[3]]", 4, None),
    ],
)
def test_ratings(text: str, count: int, found: list[float] | None) -> None:
    assert ratings(text, count) == found


@pytest.mark.parametrize(
    ("text", "who"), [("so [[A]]", "A"), ("not [[A]] but [[C]]", "C"), ("A is better", None), ("[[D]]", None)]
)
def test_winner(text: str, who: str | None) -> None:
    assert winner(text) == who


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "oracle"}, "judge.name=oracle is unknown"),
        ({"name": "openai"}, "judge=openai needs judge.model"),
        ({"mode": "triple"}, "judge.mode=triple is unknown"),
        ({"concurrency": 0}, "judge.concurrency=0 is out of range"),
        ({"timeout_s": float("nan")}, "judge.timeout_s=nan is out of range"),
        ({"temperature": -1.0}, "judge.temperature=-1.0 is out of range"),
        ({"price_in": -1.0}, "judge.price_in=-1.0 is out of range"),
        ({"base_url": "ftp://x"}, "is no address"),
        ({"base_url": "http://"}, "is no address"),
        ({"base_url": "http://[x"}, "is no address"),
        ({"base_url": "http://judge.example.org/v1"}, "would send the key over plain HTTP"),
        ({"base_url": "http://localhost.example.org/v1"}, "would send the key over plain HTTP"),
    ],
)
def test_options_are_checked(options: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError) as error:
        JudgeConfig(**options)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_plain_http_stays_at_home_unless_told() -> None:
    for url in ("http://127.0.0.1:8000/v1", "http://localhost:1/v1", "https://judge.example.org/v1"):
        JudgeConfig(base_url=url)
    JudgeConfig(base_url="http://judge.example.org/v1", insecure=True)


class Server:
    """An endpoint that answers one request after the other as it is told; the last instruction stays."""

    def __init__(self) -> None:
        self.plan: list[Any] = ["good"]
        self.seen: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.seen.append(body)
                server.keys.append(self.headers.get("Authorization"))
                what = server.plan.pop(0) if len(server.plan) > 1 else server.plan[0]
                if what == "cut":
                    self.send_response(200)
                    self.send_header("Content-Length", "1000")
                    self.end_headers()
                    self.wfile.write(b'{"id": "x", "cho')
                    self.close_connection = True
                    return
                if what == "drip":
                    self.send_response(200)
                    self.send_header("Content-Length", "1000")
                    self.end_headers()
                    while not server.released.wait(0.02):
                        try:
                            self.wfile.write(b" ")
                        except OSError:
                            break
                    self.close_connection = True
                    return
                if what == "packed":
                    body = gzip.compress(b" " * 200_000)
                    self.send_response(200)
                    for name, value in (("Content-Encoding", "gzip"), ("Content-Length", str(len(body)))):
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(body)
                    return
                if what == "hang":
                    server.released.wait(10)
                    self.close_connection = True
                    return
                status, content = what if isinstance(what, tuple) else (200, what)
                if content == "good":
                    content = {
                        "id": "x",
                        "object": "chat.completion",
                        "created": 0,
                        "model": body["model"],
                        "choices": [
                            {
                                "index": 0,
                                "finish_reason": "stop",
                                "message": {"role": "assistant", "content": "Fine. Rating: [[7]]"},
                            }
                        ],
                        "usage": {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16},
                    }
                data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
                answer(self, data, status)

            def log_message(self, *_: Any) -> None:
                pass

        self.released = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"

    def stop(self) -> None:
        self.released.set()
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    openai = pytest.importorskip("openai")
    # The client's waiting grows from half a second; here it need not.
    monkeypatch.setattr(openai._base_client, "INITIAL_RETRY_DELAY", 0.0)
    monkeypatch.setattr(openai._base_client, "MAX_RETRY_DELAY", 0.01)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    one = Server()
    yield one
    one.stop()


def config(server: Server, **options: Any) -> JudgeConfig:
    return JudgeConfig(
        **{
            **{"name": "openai", "model": "judge-1", "base_url": server.url, "retries": 3},
            **{"key_env": "OPENAI_API_KEY", **options},
        }
    )


ASKED = [{"role": "user", "content": "Grade."}]


def test_a_good_endpoint(server: Server) -> None:
    reply = endpoint(config(server))(ASKED)
    assert (reply.text, reply.prompt_tokens, reply.completion_tokens) == ("Fine. Rating: [[7]]", 11, 5)
    (body,) = server.seen
    assert (body["model"], body["messages"], body["temperature"]) == ("judge-1", ASKED, 0.0)
    assert server.keys == [f"Bearer {KEY}"]


@pytest.mark.parametrize("trouble", [(429, {"error": "slow down"}), (500, "oops"), (503, ""), "cut"])
def test_it_tries_again(server: Server, trouble: Any) -> None:
    server.plan = [trouble, trouble, "good"]
    assert endpoint(config(server))(ASKED).text.endswith("[[7]]")
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    "trouble",
    [
        (429, "x"),
        (500, "x"),
        "cut",
        (200, "garbage"),
        (200, "[]"),
        (200, {"choices": []}),
        (200, {"choices": {}}),
        (200, "[" * 100_000),
        (400, {"error": KEY}),
    ],
)
def test_it_gives_up_in_one_line_without_the_key(server: Server, trouble: Any) -> None:
    server.plan = [trouble]
    with pytest.raises(JudgeUnreachableError) as error:
        endpoint(config(server, retries=1))(ASKED)
    assert "\n" not in str(error.value) and KEY not in str(error.value)


@pytest.mark.parametrize(
    "body", [{"detail": "too long"}, {"error": "too long"}, {"error": {"message": "too long"}}]
)
def test_the_reason_is_told_wherever_a_server_puts_it(server: Server, body: dict[str, Any]) -> None:
    server.plan = [(400, body)]
    with pytest.raises(JudgeUnreachableError, match=r"400 - too long$"):
        endpoint(config(server, retries=0))(ASKED)


@pytest.mark.parametrize("how", ["hang", "drip"])
def test_a_server_that_hangs_or_sends_byte_after_byte(server: Server, how: str) -> None:
    server.plan = [how]
    with pytest.raises(JudgeUnreachableError, match=r"timed out|not whole after 0.2 s"):
        endpoint(config(server, retries=0, timeout_s=0.2))(ASKED)


def test_an_answer_without_end(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.judges.endpoint._MOST_BYTES", 100_000)
    # Little on the wire may be much in memory.
    for plan in (answering("x" * 200_000), "packed"):
        server.plan = [plan]
        with pytest.raises(JudgeUnreachableError, match="more than 100000 bytes"):
            endpoint(config(server, retries=0))(ASKED)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_is_not_tried_again(server: Server, status: int) -> None:
    server.plan = [(status, {"error": {"message": f"no {KEY}"}})]
    with pytest.raises(DataError, match="the judge refuses") as error:
        endpoint(config(server))(ASKED)
    assert len(server.seen) == 1 and KEY not in str(error.value)


def test_a_key_goes_to_its_owner_alone(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenAI's key is not sent to another endpoint unless that is said, whatever the environment suggests."""
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    endpoint(config(server, key_env=None))(ASKED)
    assert server.keys == ["Bearer none"]
    assert JudgeConfig(name="openai", model="x").url == "https://api.openai.com/v1"


def test_no_part_of_a_key_is_shown(server: Server) -> None:
    for before in range(150, 215, 7):
        server.plan = [(400, {"error": {"message": f"{'x' * before}{KEY}"}})]
        with pytest.raises(JudgeUnreachableError) as error:
            endpoint(config(server, retries=0))(ASKED)
        assert "sk-p" not in str(error.value)


def answering(content: Any) -> dict[str, Any]:
    """The body of a completion that says something."""
    choices = [{"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": content}}]
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": choices}


def test_an_empty_reply_is_none(server: Server) -> None:
    for content in ("", "  ", None):
        server.plan = [answering(content)]
        with pytest.raises(JudgeUnreachableError, match="the judge said nothing"):
            endpoint(config(server))(ASKED)


@pytest.mark.parametrize(
    "change",
    [
        {"usage": "n/a"},
        {"usage": {"prompt_tokens": "12", "completion_tokens": 3.5, "total_tokens": None}},
        {"usage": {"prompt_tokens": -1, "completion_tokens": -5, "total_tokens": 0}},
    ],
)
def test_counts_that_are_no_numbers_are_unknown(server: Server, change: dict[str, Any]) -> None:
    server.plan = [answering("Rating: [[3]]") | change]
    reply = endpoint(config(server))(ASKED)
    assert (reply.text, reply.prompt_tokens, reply.completion_tokens) == ("Rating: [[3]]", None, None)


@pytest.mark.parametrize("content", [["x"], {"text": "x"}, 7])
def test_an_answer_that_is_no_text(server: Server, content: Any) -> None:
    server.plan = [answering(content)]
    with pytest.raises(JudgeUnreachableError):
        endpoint(config(server, retries=0))(ASKED)


def test_nobody_there() -> None:
    pytest.importorskip("openai")
    nobody = JudgeConfig(name="openai", model="x", base_url="http://127.0.0.1:9/v1", retries=0)
    with pytest.raises(JudgeUnreachableError):
        endpoint(nobody)(ASKED)


def test_openai_itself_wants_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openai")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(DataError, match="needs a key in the environment variable OPENAI_API_KEY"):
        endpoint(JudgeConfig(name="openai", model="x"))
