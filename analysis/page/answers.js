// The answers of a run beside the full model's, in a dialog.

const PAGE = 20;
const CHANGE_TITLES = {
  "new wrong": "wrong where the full model is right",
  collapsed: "a loop, or nothing",
  abstained: "no answer attempted",
  wrong: "wrong as well as, or without, the full model",
  repaired: "right where the full model is not",
  right: "right",
  "not scored": "nothing says whether it is right",
};

function parsed(id) {
  const element = document.getElementById(id);
  return element ? JSON.parse(element.textContent) : [];
}

// Parsed when the first run is opened: most of the page's weight is here.
let allTexts = null;

/** A run's answers as objects. */
function answersOf(run, columns) {
  allTexts ??= parsed("texts");
  const text = (number) => allTexts[number] ?? null;
  return parsed(`answers-${run.number}`).map((cells) => {
    const answer = Object.fromEntries(columns.map((name, place) => [name, cells[place]]));
    for (const name of ["question", "prompt", "output_text", "full_output_text"])
      answer[name] = text(answer[name]);
    answer.reference = answer.reference.map(text);
    return answer;
  });
}

/** Fill and open the dialog; closing it gives the focus back to where it was. */
function openAnswers(dialog, run, setting, summary, change) {
  const answers = answersOf(run, summary.columns);
  const list = make("div", { class: "list" });
  const close = make("button", { type: "button", class: "close" }, "Close");
  close.addEventListener("click", () => dialog.close());
  const total = countOf(run, "");
  const chips = ["", ...summary.changes]
    .filter((name) => !name || run.counts[name])
    .map((name) => {
      const chip = make(
        "button",
        { type: "button", title: CHANGE_TITLES[name] ?? null, "data-change": name },
        `${name || "all"} `,
        make("span", {}, String(countOf(run, name))),
      );
      chip.addEventListener("click", () => choose(name));
      return chip;
    });
  function choose(name) {
    for (const chip of chips) chip.setAttribute("aria-pressed", String(chip.dataset.change === name));
    list.replaceChildren();
    more(
      list,
      answers.filter((answer) => !name || answer.change === name),
      0,
    );
  }
  dialog.replaceChildren(
    make(
      "header",
      {},
      make("div", {}, make("h2", { id: "answers-title" }, run.name), make("p", {}, setting.title)),
      close,
    ),
    make("p", { class: "parameters" }, run.parameters || "no parameters"),
    facts(run, setting),
    run.speed_note ? make("p", {}, run.speed_note) : "",
    make("div", { class: "chips", role: "group", "aria-label": "Which answers" }, chips),
    answers.length < total
      ? make(
          "p",
          { class: "notice" },
          `The page holds ${answers.length} of ${total} answers, some of every kind: new wrong ones first, then by how much was lost. The rest is in samples.parquet.`,
        )
      : "",
    total ? "" : make("p", { class: "notice" }, "This run has no stored answers."),
    list,
  );
  choose(change && run.counts[change] ? change : "");
  dialog.showModal();
  dialog.scrollTop = 0;
  close.focus();
}

/** Append a page of answers and, where some are left, a button for the next. */
function more(list, answers, from) {
  list.append(...answers.slice(from, from + PAGE).map(answerCard));
  const left = answers.length - from - PAGE;
  if (left <= 0) return;
  const button = make(
    "button",
    { type: "button", class: "more" },
    `Show ${Math.min(PAGE, left)} more of ${left}`,
  );
  button.addEventListener("click", () => {
    button.remove();
    const before = list.children.length;
    more(list, answers, from + PAGE);
    list.children[before].focus();
  });
  list.append(button);
}

function facts(run, setting) {
  const pairs = [
    [
      `Quality${setting.quality_metric ? ` (${setting.quality_metric})` : ""}`,
      `${said(run.quality, "plain")}, full model ${said(run.full_quality, "plain")}`,
    ],
    [
      "Difference",
      [
        said(run.quality_delta, "signed"),
        limits(run.quality_delta_lo, run.quality_delta_hi, "signed"),
        known(run.p_holm) ? `p ${said(run.p_holm, "p")}` : "",
      ]
        .filter(Boolean)
        .join(", "),
    ],
    [
      "Speedup",
      [said(run.speedup, "times"), limits(run.speedup_lo, run.speedup_hi, "times")]
        .filter(Boolean)
        .join(", "),
    ],
    ["Ideal", said(run.ideal_speedup, "times")],
    [
      "Collapsed",
      `${said(run.collapse_rate, "percent")}, full model ${said(run.full_collapse_rate, "percent")}`,
    ],
  ];
  return make(
    "dl",
    { class: "facts" },
    pairs.map(([term, value]) => make("div", {}, make("dt", {}, term), make("dd", {}, value))),
  );
}

function answerCard(answer) {
  const turn = answer.turn ? `, turn ${answer.turn + 1}` : "";
  const [full, own] =
    answer.full_output_text === null || answer.output_text === null
      ? [[[answer.full_output_text ?? "", false]], [[answer.output_text ?? "", false]]]
      : wordDiff(answer.full_output_text, answer.output_text);
  const question = (answer.question ?? answer.prompt ?? "").trim();
  const references = answer.reference.filter((text) => text !== null);
  return make(
    "article",
    { tabindex: -1 },
    make(
      "header",
      {},
      make(
        "span",
        { class: `change ${answer.change.replace(" ", "-")}`, title: CHANGE_TITLES[answer.change] },
        answer.change,
      ),
      make("span", { class: "example" }, `${answer.example_id ?? "unnamed example"}${turn}`),
    ),
    question.length > 400
      ? make("h3", { dir: "auto" }, `${question.slice(0, 400)}…`)
      : make("h3", { dir: "auto" }, question || "no question stored"),
    references.length
      ? make(
          "p",
          { class: "reference" },
          make("b", {}, "Reference "),
          references.map((text, place) => [place ? " · " : "", make("bdi", {}, text)]).flat(),
        )
      : "",
    make(
      "div",
      { class: "pair" },
      side("Full model", answer.full_output_text, full, "del", answer, "full_"),
      side("Method", answer.output_text, own, "ins", answer, ""),
    ),
    answer.prompt === null
      ? ""
      : make("details", {}, make("summary", {}, "Prompt"), make("pre", { dir: "auto" }, answer.prompt)),
  );
}

/** A mark around words, without the space after them. */
function marked(tag, part) {
  const words = part.trimEnd();
  return [words ? make(tag, {}, words) : null, part.slice(words.length)];
}

function side(title, text, parts, tag, answer, prefix) {
  const field = (name) => answer[prefix + name];
  const end = { eos: "ended", stop: "stopped", length: "cut off by the length limit" }[
    field("finish_reason")
  ];
  const seconds = (value, what) => (known(value) ? `${what} ${value.toFixed(2)} s` : null);
  const notes = [
    field("outcome"),
    field("collapsed") && field("outcome") !== "collapsed" ? "loops" : null,
    known(field("quality")) ? `quality ${said(field("quality"), "plain")}` : null,
    known(field("output_tokens")) ? `${field("output_tokens")} tokens` : null,
    end,
    seconds(field("prefill_s"), "prefill"),
    seconds(field("decode_s"), "decode"),
  ].filter(Boolean);
  const body =
    text === null
      ? make("p", { class: "none" }, "not run")
      : text === ""
        ? make("p", { class: "none" }, "empty")
        : make(
            "p",
            { class: "text", dir: "auto" },
            parts.map(([part, differs]) => (differs ? marked(tag, part) : part)),
          );
  return make("section", {}, make("h4", {}, title), body, make("p", { class: "notes" }, notes.join(" · ")));
}
