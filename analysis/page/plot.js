// A setting's runs as a scatter plot.

// The markers of the figures, by matplotlib's letters.
const path = (corners) => `M${corners.map(([x, y]) => `${x.toFixed(2)},${y.toFixed(2)}`).join("L")}z`;
const scaled = (r, ...corners) => path(corners.map(([x, y]) => [x * r, y * r]));
/** Corners around the centre, the first one on top, at these distances in turn. */
const around = (count, ...distances) =>
  path(
    Array.from({ length: count }, (_, k) => {
      const angle = (2 * Math.PI * k) / count - Math.PI / 2;
      const r = distances[k % distances.length];
      return [r * Math.cos(angle), r * Math.sin(angle)];
    }),
  );
const CROSS = [
  ...[[-0.4, -1.15], [0.4, -1.15], [0.4, -0.4], [1.15, -0.4], [1.15, 0.4], [0.4, 0.4]],
  ...[[0.4, 1.15], [-0.4, 1.15], [-0.4, 0.4], [-1.15, 0.4], [-1.15, -0.4], [-0.4, -0.4]],
];
const SHAPES = {
  o: (r) => `M${-r},0a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0z`,
  s: (r) => scaled(0.88 * r, [-1, -1], [1, -1], [1, 1], [-1, 1]),
  "^": (r) => scaled(r, [0, -1.2], [1.12, 0.8], [-1.12, 0.8]),
  v: (r) => scaled(r, [0, 1.2], [1.12, -0.8], [-1.12, -0.8]),
  "<": (r) => scaled(r, [-1.2, 0], [0.8, 1.12], [0.8, -1.12]),
  ">": (r) => scaled(r, [1.2, 0], [-0.8, 1.12], [-0.8, -1.12]),
  D: (r) => around(4, 1.25 * r),
  d: (r) => scaled(r, [0, -1.3], [0.8, 0], [0, 1.3], [-0.8, 0]),
  P: (r) => scaled(r, ...CROSS),
  X: (r) => scaled(r / Math.SQRT2, ...CROSS.map(([x, y]) => [1.15 * (x - y), 1.15 * (x + y)])),
  p: (r) => around(5, 1.15 * r),
  h: (r) => around(6, 1.15 * r),
  "*": (r) => around(10, 1.4 * r, 0.6 * r),
};

/** The mark of a run; of the full model if there is none. */
function markOf(run, radius) {
  if (!run) return draw("path", { d: SHAPES["*"](radius), class: "mark full" });
  const [colour, marker] = run.look;
  return run.method === "full"
    ? draw("path", { d: SHAPES[marker](radius), class: "mark full" })
    : draw("path", { d: SHAPES[marker](radius), class: "mark", fill: colour });
}

/** The mark as a picture of its own, for a line of text. */
function keyOf(run) {
  return draw(
    "svg",
    { class: "key", viewBox: "-8 -8 16 16", width: 16, height: 16, "aria-hidden": "true" },
    markOf(run, 5),
  );
}

/** Draw a setting into a box of the given width; `look` says what a run is and what happens on it. */
function plot(setting, runs, view, width, look) {
  const points = markFront(pointsOf(setting, runs, view), view);
  if (!points.some((point) => point.run)) return null;
  const height = Math.round(Math.min(440, Math.max(290, 0.56 * width)));
  const box = { left: 46, right: width - 14, top: 30, bottom: height - 44 };
  const [x, y] = ["x", "y"].map((name) => {
    const [lo, hi] = range(
      view[name],
      points.map((point) => point[name]),
    );
    const [from, to] = name === "x" ? [box.left, box.right] : [box.bottom, box.top];
    return Object.assign((value) => from + ((value - lo) / (hi - lo)) * (to - from), { lo, hi });
  });
  // "quality" is whatever the task's metric is.
  const yTitle =
    view.y.field === "quality" && setting.quality_metric
      ? `quality (${setting.quality_metric})`
      : view.y.title;
  const svg = draw("svg", {
    width,
    height,
    viewBox: `0 0 ${width} ${height}`,
    role: "group",
    "aria-label": `${yTitle} by ${view.x.title}: ${readable(setting.title)}`,
  });
  svg.append(axes(view, box, x, y, yTitle), frontLine(points, view, box, x, y));
  // Those on the front come last, on top; the arrow keys go from left to right within both.
  const order = [...points].sort((p, q) => p.front - q.front || p.x - q.x);
  svg.append(...order.flatMap((point) => mark(point, view, box, x, y, look)));
  svg.querySelector(".point").setAttribute("tabindex", 0);
  svg.append(labels(points, view, x, y, box));
  return svg;
}

function axes(view, box, x, y, yTitle) {
  const group = draw("g", { class: "axes", "aria-hidden": "true" });
  for (const [value, text] of labelled(ticks(x.lo, x.hi, (box.right - box.left) / 75), view.x.form)) {
    group.append(draw("line", { x1: x(value), x2: x(value), y1: box.top, y2: box.bottom }));
    group.append(draw("text", { x: x(value), y: box.bottom + 17, "text-anchor": "middle" }, text));
  }
  for (const [value, text] of labelled(ticks(y.lo, y.hi, (box.bottom - box.top) / 60), view.y.form)) {
    group.append(draw("line", { x1: box.left, x2: box.right, y1: y(value), y2: y(value) }));
    group.append(draw("text", { x: box.left - 7, y: y(value) + 4, "text-anchor": "end" }, text));
  }
  const arrow = (axis) => (axis.better > 0 ? "more is better" : "less is better");
  group.append(
    draw(
      "text",
      { class: "title", x: box.right, y: box.bottom + 36, "text-anchor": "end" },
      `${view.x.title} (${arrow(view.x)}) →`,
    ),
    draw("text", { class: "title", x: 12, y: 18 }, `↑ ${yTitle} (${arrow(view.y)})`),
  );
  return group;
}

/** The stairs that separate what some run reaches from what none does. */
function frontLine(points, view, box, x, y) {
  const stairs = points.filter((point) => point.front).sort((p, q) => q.x - p.x);
  const worst = view.y.better > 0 ? box.bottom : box.top;
  let path = `M${x(stairs[0].x)},${worst}`;
  stairs.forEach((point, place) => {
    path += `V${y(point.y)}H${place + 1 < stairs.length ? x(stairs[place + 1].x) : box.left}`;
  });
  return draw("path", { d: path, class: "front", "aria-hidden": "true" });
}

function mark(point, view, box, x, y, look) {
  const { run } = point;
  const at = `translate(${x(point.x)},${y(point.y)})`;
  const group = draw("g", {
    class: `point${point.front ? " on-front" : ""}`,
    tabindex: -1,
    role: run ? "button" : "img",
    "aria-label": readable(look.lines(run, view, point).join("; ")),
    "data-run": run ? run.number : null,
  });
  group.append(
    draw(
      "g",
      { transform: at },
      draw("circle", { r: 14, class: "target" }),
      draw("circle", { r: 9.5, class: "ring" }),
      markOf(run, run ? 5.2 : 7),
    ),
  );
  look.attach(group, run, view, point);
  return run ? [group, whiskers(run, view, box, x, y)] : [group];
}

/** The 95 % limits. */
function whiskers(run, view, box, x, y) {
  const group = draw("g", { class: "whiskers", stroke: run.look[0] });
  const limit = (axis, end) => run[`${axis.field}_${end}`];
  const within = (value, one, other) => Math.min(Math.max(value, Math.min(one, other)), Math.max(one, other));
  const cx = x(run[view.x.field]),
    cy = y(run[view.y.field]);
  const [left, right] = ["lo", "hi"].map((end) => limit(view.x, end));
  if (known(left) && known(right)) {
    group.append(
      draw("line", {
        x1: within(x(left), box.left, box.right),
        x2: within(x(right), box.left, box.right),
        y1: cy,
        y2: cy,
      }),
    );
  }
  const [low, high] = ["lo", "hi"].map((end) => limit(view.y, end));
  if (known(low) && known(high)) {
    group.append(
      draw("line", {
        x1: cx,
        x2: cx,
        y1: within(y(low), box.top, box.bottom),
        y2: within(y(high), box.top, box.bottom),
      }),
    );
  }
  return group;
}

/** Names of the full model and of the points on the front, with the realised skip, each where it covers
 * nothing, and none where there is no room. */
function labels(points, view, x, y, box) {
  const group = draw("g", { class: "labels", "aria-hidden": "true" });
  const taken = points.map((point) => ({
    left: x(point.x) - 8,
    right: x(point.x) + 8,
    top: y(point.y) - 8,
    bottom: y(point.y) + 8,
  }));
  for (const point of points.filter((one) => one.front || !one.run)) {
    const skip = view.x.field === SKIP || !point.run ? null : point.run[SKIP];
    const name = point.run ? point.run.method : "full model";
    const text = readable(known(skip) ? `${name} (${said(skip, "plain")})` : name);
    const size = 6.6 * text.length,
      cx = x(point.x),
      cy = y(point.y);
    const places = [
      [cx + 12, cy + 4],
      [cx - 12 - size, cy + 4],
      [cx - size / 2, cy - 14],
      [cx - size / 2, cy + 22],
      [cx + 9, cy - 10],
      [cx + 9, cy + 17],
    ];
    for (const [left, base] of places) {
      const area = { left, right: left + size, top: base - 11, bottom: base + 3 };
      const inside =
        left > box.left + 2 && area.right < box.right && area.top > box.top && area.bottom < box.bottom;
      const free = taken.every(
        (one) =>
          area.right < one.left || area.left > one.right || area.bottom < one.top || area.top > one.bottom,
      );
      if (inside && free) {
        group.append(draw("text", { x: left, y: base }, text));
        taken.push(area);
        break;
      }
    }
  }
  return group;
}
