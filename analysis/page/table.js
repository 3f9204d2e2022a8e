// The runs as a table. Its columns sort within a setting, because runs of two settings must not be compared.

const TITLES = {
  lower: ["▼", "significantly lower than the full model (p < .05 after Holm's correction)"],
  higher: ["▲", "significantly higher than the full model (p < .05 after Holm's correction)"],
  "perhaps lower": [
    "▽",
    "lower: the limits exclude 0; there is no test",
  ],
  "perhaps higher": [
    "△",
    "higher: the limits exclude 0; there is no test",
  ],
};

function numberColumn(title, field, form, more = {}) {
  return {
    title,
    value: (run) => run[field],
    cell: (run) => [said(run[field], form), limits(run[`${field}_lo`], run[`${field}_hi`], form)],
    falling: true,
    number: true,
    ...more,
  };
}

/** The columns; `needed` says which are worth their place. */
const COLUMNS = [
  { title: "Method", value: (run) => run.method },
  { title: "Parameters", value: (run) => run.telling || run.parameters },
  {
    title: "Task",
    value: (run) => run.task,
    needed: (runs) => new Set(runs.map((run) => run.task)).size > 1,
  },
  numberColumn("Quality", "quality", "plain"),
  { ...numberColumn("Difference to full", "quality_delta", "signed"), marked: true },
  numberColumn("p (Holm)", "p_holm", "p", { falling: false, optional: true }),
  numberColumn("Judge’s grade", "judge_score", "plain", { optional: true }),
  numberColumn("New hallucinations", "new_hallucination_rate", "percent", { falling: false }),
  numberColumn("Collapsed", "collapse_rate", "percent", { falling: false }),
  numberColumn("Speedup", "speedup", "times"),
  numberColumn("Ideal", "ideal_speedup", "times"),
  numberColumn("Efficiency", "efficiency", "percent"),
  numberColumn("Realised skip", "realised_skip_weighted", "percent"),
  {
    ...numberColumn("Asked skip", "target_skip", "percent", { optional: true }),
    cell: (run) => [
      said(run.target_skip, "percent"),
      known(run.target_skip) && run.target_unit !== "weighted" ? (run.target_unit ?? "") : "",
    ],
  },
  {
    title: "Answers",
    value: (run, state) => countOf(run, state.change),
    cell: (run, state) => [String(countOf(run, state.change)), ""],
    falling: true,
    number: true,
  },
];

function countOf(run, change) {
  return change ? run.counts[change] : Object.values(run.counts).reduce((sum, count) => sum + count, 0);
}

/** The columns that say something about these runs. */
function columnsFor(runs) {
  return COLUMNS.filter((column) =>
    column.needed ? column.needed(runs) : !column.optional || runs.some((run) => known(column.value(run))),
  );
}

/** Unknown values come last in either direction. */
function compareRuns(column, rising, state) {
  return (a, b) => {
    const [p, q] = [column.value(a, state), column.value(b, state)];
    const missing = (value) => value === null || value === undefined;
    if (missing(p) || missing(q)) return missing(p) - missing(q);
    const order = column.number ? p - q : String(p).localeCompare(String(q), "en", { numeric: true });
    return rising ? order : -order;
  };
}

function tableHead(columns, state, sortBy) {
  const cells = columns.map((column, place) => {
    const button = make(
      "button",
      { type: "button" },
      column.title,
      make("span", { class: "arrow", "aria-hidden": "true" }),
    );
    button.addEventListener("click", () => sortBy(place));
    const sorted = state.column === place ? (state.rising ? "ascending" : "descending") : "none";
    return make("th", { scope: "col", class: column.number ? "number" : null, "aria-sort": sorted }, button);
  });
  return make("thead", {}, make("tr", {}, cells));
}

/** One tbody a setting; its title stands above it where there are several. */
function tableBodies(settings, runs, columns, state, look) {
  return settings.map((setting) => {
    const own = runs.filter((run) => run.setting === setting.number);
    own.sort(compareRuns(columns[state.column], state.rising, state));
    const body = make("tbody");
    if (settings.length > 1) {
      body.append(
        make(
          "tr",
          { class: "setting" },
          make("th", { colspan: columns.length, scope: "rowgroup" }, make("span", {}, setting.title)),
        ),
      );
    }
    body.append(...own.map((run) => row(run, columns, state, look)));
    return body;
  });
}

function row(run, columns, state, look) {
  const name = readable(`${[run.method, run.telling].filter(Boolean).join(" ")}, answers`);
  const button = make("button", { type: "button", "aria-haspopup": "dialog", "aria-label": name }, run.method);
  button.addEventListener("click", (event) => {
    event.stopPropagation();
    look.open(run);
  });
  const star = run.untrained_ablation ? make("span", { title: "untrained ablation" }, "*") : null;
  const cells = columns.map((column) => {
    if (column.title === "Method")
      return make(
        "th",
        { scope: "row" },
        make("span", { class: "name" }, keyOf(run), button, star),
      );
    if (!column.number) return make("td", {}, column.value(run) ?? UNKNOWN);
    const [value, aside] = column.cell(run, state);
    const sign = column.marked && run.difference ? TITLES[run.difference] : null;
    const mark = sign
      ? make(
          "span",
          {
            class: `significance ${run.difference.replace(" ", "-")}`,
            title: sign[1],
            role: "img",
            "aria-label": sign[1],
          },
          sign[0],
        )
      : null;
    return make("td", { class: "number" }, mark, value, aside ? make("small", {}, aside) : null);
  });
  const line = make("tr", { "data-run": run.number }, cells);
  line.addEventListener("click", () => {
    if (String(getSelection())) return; // a number is being copied
    button.focus();
    look.open(run);
  });
  return line;
}
