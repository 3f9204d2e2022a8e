// Text and numbers on their way into the page. Model output is only ever text: nothing here reads markup.

const UNKNOWN = "–";

// Characters that hide or reorder text are shown as escapes. New lines and tabs stay, and so do the two
// joiners that scripts and emoji need.
const HIDDEN = /((?![\n\t\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}])/u;

function escapeOf(character) {
  return "\\u" + character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
}

/** Text with its hidden characters as escapes, for places that hold nothing but text. */
function readable(text) {
  return String(text)
    .split(HIDDEN)
    .map((part, place) => (place % 2 ? escapeOf(part) : part))
    .join("");
}

/** Append text to a node, its hidden characters as marked escapes. */
function write(node, text) {
  String(text)
    .split(HIDDEN)
    .forEach((part, place) => {
      if (place % 2) {
        const mark = document.createElement("span");
        mark.className = "escape";
        mark.textContent = escapeOf(part);
        node.append(mark);
      } else if (part) {
        node.append(part);
      }
    });
  return node;
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child instanceof Node) node.append(child);
    else if (child !== null && child !== undefined) write(node, child);
  }
  return node;
}

/** An HTML element; children are nodes or text. */
function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element; children are nodes or text. */
function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function known(value) {
  return typeof value === "number";
}

function fixed(value, digits, signed = false) {
  const text = Math.abs(value).toFixed(digits);
  const zero = Number(text) === 0;
  return (value < 0 && !zero ? "−" : signed && !zero ? "+" : "") + text;
}

const DIGITS = { plain: 2, percent: 0, times: 2 };
const FORMS = {
  plain: (value, digits = DIGITS.plain) => fixed(value, digits),
  signed: (value) => fixed(value, 2, true),
  percent: (value, digits = DIGITS.percent) => `${fixed(100 * value, digits)} %`,
  times: (value, digits = DIGITS.times) => `${fixed(value, digits)}×`,
  p: (value) => (value < 0.001 ? "< 0.001" : fixed(value, 3)),
  count: (value) => String(value),
};

/** A number in one of the forms above, or a dash. */
function said(value, form) {
  return known(value) ? FORMS[form](value) : UNKNOWN;
}

/** "lo to hi", or nothing where the limits are unknown. */
function limits(lo, hi, form) {
  return known(lo) && known(hi) ? `${FORMS[form](lo)} to ${FORMS[form](hi)}` : "";
}
