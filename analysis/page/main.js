// What is on show, and what happens when it changes.

const byId = (id) => document.getElementById(id);
const summary = parsed("summary");
const { runs, settings } = summary;
runs.forEach((run, number) => (run.number = number));
settings.forEach((setting, number) => (setting.number = number));
const methods = [...new Set(runs.map((run) => run.method))].sort();
const columns = columnsFor(runs);
const state = { task: "", setting: "", change: "", hidden: new Set(), view: 0, column: 0, rising: true };

const look = {
  open(run) {
    hideTip();
    openAnswers(byId("answers"), run, settings[run.setting], summary, state.change);
  },
  /** What is said about a point, line by line. */
  lines(run, view, point) {
    const coordinates = ["x", "y"].map((name) => {
      const axis = view[name];
      const between = run ? limits(run[`${axis.field}_lo`], run[`${axis.field}_hi`], axis.form) : "";
      return `${axis.title} ${said(point[name], axis.form)}${between ? ` (${between})` : ""}`;
    });
    if (!run) return ["full model", ...coordinates];
    const others = [
      ["quality", "quality", "plain"],
      ["decode speedup", "speedup", "times"],
      ["realised skip", "realised_skip_weighted", "percent"],
      ["asked skip", "target_skip", "percent"],
      ["new hallucinations", "new_hallucination_rate", "percent"],
      ["collapsed", "collapse_rate", "percent"],
    ].filter(([, field]) => field !== view.x.field && field !== view.y.field && known(run[field]));
    return [
      run.name,
      ...coordinates,
      ...others.map(([title, field, form]) => `${title} ${said(run[field], form)}`),
    ];
  },
  attach(group, run, view, point) {
    const show = () => showTip(group, look.lines(run, view, point));
    group.addEventListener("pointerenter", show);
    group.addEventListener("focus", show);
    group.addEventListener("pointerleave", hideTip);
    group.addEventListener("blur", hideTip);
    group.addEventListener("keydown", (event) => {
      if (event.key === "Escape") hideTip();
      if (event.key in STEPS) {
        event.preventDefault();
        goTo(group, STEPS[event.key]);
      }
      if (run && (event.key === "Enter" || event.key === " ")) {
        event.preventDefault();
        look.open(run);
      }
    });
    if (run) group.addEventListener("click", () => look.open(run));
  },
};

const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

/** From a point to the next of its plot, which is then where Tab comes back to: a plot is one stop of Tab. */
function goTo(group, step) {
  const points = [...group.closest("svg").querySelectorAll(".point")];
  const next = points[(points.indexOf(group) + step + points.length) % points.length];
  for (const point of points) point.setAttribute("tabindex", point === next ? 0 : -1);
  next.focus();
}

let tipOf = null;

function showTip(group, [name, ...lines]) {
  tipOf = group;
  byId("tip").replaceChildren(make("b", {}, name), ...lines.map((line) => make("span", {}, line)));
  byId("tip").hidden = false;
  placeTip();
}

/** Above the point, or below where there is no room; never beyond the window. */
function placeTip() {
  if (!tipOf) return;
  const tip = byId("tip"),
    at = tipOf.querySelector(".ring").getBoundingClientRect();
  const left = Math.min(
    Math.max(8, at.left + at.width / 2 - tip.offsetWidth / 2),
    innerWidth - tip.offsetWidth - 8,
  );
  const above = at.top - tip.offsetHeight - 8;
  tip.style.left = `${left}px`;
  tip.style.top = `${above > 0 ? above : at.bottom + 8}px`;
}

function hideTip() {
  tipOf = null;
  byId("tip").hidden = true;
}

function shown() {
  const places = settings.filter(
    (setting) =>
      (!state.task || setting.task === state.task) &&
      (state.setting === "" || setting.number === state.setting),
  );
  const allowed = new Set(places.map((setting) => setting.number));
  const own = runs.filter(
    (run) =>
      allowed.has(run.setting) &&
      !state.hidden.has(run.method) &&
      (!state.change || run.counts[state.change]),
  );
  return [places.filter((setting) => own.some((run) => run.setting === setting.number)), own];
}

function render() {
  hideTip();
  const [places, own] = shown();
  renderPlots(places, own);
  byId("runs").replaceChildren(
    tableHead(columns, state, sortBy),
    ...tableBodies(places, own, columns, state, look),
  );
  byId("notice").hidden = own.length > 0;
  byId("notice").textContent = runs.length
    ? "No run fits these filters."
    : "There are no finished runs in this folder.";
}

function renderPlots(places, own) {
  const view = VIEWS[state.view];
  const figures = places.map((setting) => make("figure", {}, make("figcaption", {}, setting.title)));
  byId("plots").replaceChildren(...figures);
  places.forEach((setting, place) => {
    const here = own.filter((run) => run.setting === setting.number);
    const width = Math.floor(figures[place].clientWidth);
    const notes = remarks(setting, here, view);
    figures[place].append(
      plot(setting, here, view, width, look) ?? make("p", { class: "none" }, "Nothing to draw."),
      notes.length ? make("p", { class: "hint" }, notes.join(" ")) : "",
    );
  });
}

/** What a reader of a plot must know that its points do not say. */
function remarks(setting, here, view) {
  const drawn = here.filter((run) => known(run[view.x.field]) && known(run[view.y.field]));
  const found = [];
  if (drawn.length < here.length) {
    const missing = `${view.x.title} or ${view.y.title} is unknown`;
    found.push(`${here.length - drawn.length} of ${here.length} runs are not drawn: their ${missing}.`);
  }
  if (view.y.field === "quality" && drawn.length && known(setting.detectable)) {
    const least = said(setting.detectable, "plain");
    found.push(`Differences in quality below ${least} can go unseen with this many examples.`);
  }
  const looping = drawn.filter((run) => run.collapse_rate >= 0.5).length;
  if (view.y.field === "new_hallucination_rate" && looping) {
    found.push(
      "A collapsed answer is no hallucination, so a run that only loops has few. " +
        `Half of the answers or more collapsed in ${looping} of the ${drawn.length} runs drawn.`,
    );
  }
  return found;
}

function sortBy(place) {
  if (state.column === place) state.rising = !state.rising;
  else Object.assign(state, { column: place, rising: !columns[place].falling });
  render();
  byId("runs").querySelectorAll("thead button")[place].focus();
}

function options(select, entries, choose) {
  select.replaceChildren(...entries.map(([value, title]) => make("option", { value }, title)));
  select.addEventListener("change", () => {
    choose(select.value);
    render();
  });
}

function start() {
  for (const [term, values] of Object.entries(summary.about)) {
    if (values.length)
      byId("about").append(
        make(
          "div",
          {},
          make("dt", {}, term),
          make(
            "dd",
            {},
            values.map((value, place) => [place ? ", " : "", make("bdi", {}, value)]),
          ),
        ),
      );
  }
  byId("notes").hidden = !summary.notes.length;
  byId("notes").append(...summary.notes.map((note) => make("li", {}, note)));
  for (const id of ["filters", "trade-offs", "table"]) byId(id).hidden = !runs.length;
  if (runs.length) {
    startFilters();
    startLegend();
  }
  render();
  addEventListener("resize", fit);
  byId("answers").addEventListener("close", fit);
  addEventListener("scroll", placeTip, { passive: true });
}

let width = innerWidth;

/** Draw anew for another width; not below an open dialog, which gives the focus back to what it came from. */
function fit() {
  if (innerWidth === width || byId("answers").open) return;
  width = innerWidth;
  const here = document.activeElement.closest("[data-run]");
  render();
  if (!here) return;
  const kind = here.matches(".point") ? [".point", ""] : ["tr", " button"];
  document.querySelector(`${kind[0]}[data-run="${here.dataset.run}"]${kind[1]}`)?.focus();
}

function startFilters() {
  const tasks = [...new Set(settings.map((setting) => setting.task))].filter(Boolean);
  options(byId("task"), [["", "all"], ...tasks.map((task) => [task, task])], (value) => (state.task = value));
  options(
    byId("setting"),
    [["", "all"], ...settings.map((setting) => [setting.number, setting.title])],
    (value) => (state.setting = value === "" ? "" : Number(value)),
  );
  byId("setting-label").hidden = settings.length < 2;
  const count = (change) => runs.reduce((sum, run) => sum + run.counts[change], 0);
  const changes = summary.changes.filter(count).map((change) => [change, `${change} (${count(change)})`]);
  options(byId("change"), [["", "anything"], ...changes], (value) => (state.change = value));
  options(
    byId("view"),
    VIEWS.map((view, place) => [place, view.title]),
    (value) => (state.view = Number(value)),
  );
  for (const method of methods) {
    const box = make("input", { type: "checkbox", checked: true });
    box.addEventListener("change", () => {
      if (box.checked) state.hidden.delete(method);
      else state.hidden.add(method);
      render();
    });
    const key = keyOf(runs.find((run) => run.method === method));
    byId("methods").append(make("label", {}, box, key, make("bdi", {}, method)));
  }
}

function startLegend() {
  const marks = new Set(runs.map((run) => run.difference).filter(Boolean));
  const lines = Object.entries(TITLES)
    .filter(([name]) => marks.has(name))
    .map(([, [sign, meaning]]) => `${sign} ${meaning}`);
  if (runs.some((run) => run.untrained_ablation))
    lines.push("* untrained ablation: the method’s paper trains the model for it, and this one was not");
  lines.push("Small figures are 95 % limits. – is unknown or without meaning here.");
  byId("legend").append(...lines.map((line) => make("li", {}, line)));
}

start();
