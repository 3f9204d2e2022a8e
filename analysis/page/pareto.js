// What a plot shows, and which runs no other run beats.

const SKIP = "realised_skip_weighted";

/** The ways to look at a setting; `better` is +1 where more is better, `zero` where it begins at 0. */
const VIEWS = [
  {
    title: "quality and speed",
    x: { field: "speedup", title: "decode speedup", form: "times", better: 1, full: () => 1 },
    y: {
      field: "quality",
      title: "quality",
      form: "plain",
      better: 1,
      full: (s) => s.full_quality,
      zero: true,
    },
  },
  {
    title: "new hallucinations and speed",
    x: { field: "speedup", title: "decode speedup", form: "times", better: 1, full: () => 1 },
    y: {
      field: "new_hallucination_rate",
      title: "new hallucinations",
      form: "percent",
      better: -1,
      full: () => 0,
      zero: true,
    },
  },
  {
    title: "quality and skipped work",
    x: {
      field: SKIP,
      title: "realised skip",
      form: "percent",
      better: 1,
      full: () => 0,
      zero: true,
    },
    y: {
      field: "quality",
      title: "quality",
      form: "plain",
      better: 1,
      full: (s) => s.full_quality,
      zero: true,
    },
  },
];

/** Points of a view, the full model first; runs of which a coordinate is unknown are left out. */
function pointsOf(setting, runs, view) {
  const points = [];
  const full = { x: view.x.full(setting), y: view.y.full(setting), run: null };
  if (known(full.x) && known(full.y)) points.push(full);
  for (const run of runs) {
    const point = { x: run[view.x.field], y: run[view.y.field], run };
    if (known(point.x) && known(point.y)) points.push(point);
  }
  return points;
}

/** Mark each point's `front`: no other point is as good in both respects and better in one. */
function markFront(points, view) {
  const gain = (axis, p, q) => view[axis].better * (q[axis] - p[axis]);
  for (const p of points) {
    p.front = !points.some((q) => {
      const x = gain("x", p, q),
        y = gain("y", p, q);
      return x >= 0 && y >= 0 && (x > 0 || y > 0);
    });
  }
  return points;
}

/** Round numbers that cover a range: [first, step, last]. */
function ticks(lo, hi, count) {
  const rough = (hi - lo) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999) || 10);
  const places = [];
  for (let k = Math.ceil(lo / step - 1e-9); k * step <= hi + 1e-9 * step; k++) places.push(k * step);
  return places;
}

/** Ticks with what stands beside them: with as many digits as it takes to tell them apart. */
function labelled(values, form) {
  for (const more of [0, 1, 2, 3, 4]) {
    const texts = values.map((value) => FORMS[form](value, DIGITS[form] + more));
    if (new Set(texts).size === texts.length || more === 4) return values.map((one, k) => [one, texts[k]]);
  }
}

/** The range of an axis: all points with some room, from 0 where the axis starts there, and a rate to 1 at
 * most; a quality that is a grade is none. */
function range(axis, values) {
  const lo = Math.min(...values),
    hi = Math.max(...values);
  const room = 0.08 * (hi - lo || Math.abs(hi) || 1);
  const top = axis.zero && hi <= 1 ? Math.min(hi + room, 1) : hi + room;
  return axis.zero && lo >= 0 ? [0, top] : [lo - room, top];
}
