// Which words of two answers differ.

// Above this many comparisons everything between the common beginning and end counts as different.
const MOST_COMPARISONS = 4e6;

/** Words, each with the space after it. */
function words(text) {
  return text.match(/^\s+|\S+\s*/g) || [];
}

/**
 * The runs of equal and differing words of two texts, by their longest common subsequence.
 * Returns two lists of [text, differs].
 */
function wordDiff(first, second) {
  const a = words(first),
    b = words(second);
  // Words as numbers: they are compared millions of times.
  const numbers = new Map();
  const numbered = (list) =>
    Int32Array.from(list, (word) => {
      const bare = word.trim();
      if (!numbers.has(bare)) numbers.set(bare, numbers.size);
      return numbers.get(bare);
    });
  const ofA = numbered(a),
    ofB = numbered(b);
  const same = (i, j) => ofA[i] === ofB[j];
  let start = 0,
    endA = a.length,
    endB = b.length;
  while (start < endA && start < endB && same(start, start)) start++;
  while (endA > start && endB > start && same(endA - 1, endB - 1)) (endA--, endB--);
  const inA = new Uint8Array(a.length).fill(1, start, endA);
  const inB = new Uint8Array(b.length).fill(1, start, endB);
  const n = endA - start,
    m = endB - start;
  if (n * m && n * m <= MOST_COMPARISONS) {
    // longest[i * (m + 1) + j]: of what is left from word i and word j on.
    const longest = new Uint16Array((n + 1) * (m + 1));
    const at = (i, j) => longest[i * (m + 1) + j];
    for (let i = n - 1; i >= 0; i--) {
      for (let j = m - 1; j >= 0; j--) {
        longest[i * (m + 1) + j] = same(start + i, start + j)
          ? at(i + 1, j + 1) + 1
          : Math.max(at(i + 1, j), at(i, j + 1));
      }
    }
    for (let i = 0, j = 0; i < n && j < m;) {
      if (same(start + i, start + j)) inA[start + i++] = inB[start + j++] = 0;
      else if (at(i + 1, j) >= at(i, j + 1)) i++;
      else j++;
    }
  }
  return [joined(a, inA), joined(b, inB)];
}

function joined(list, differs) {
  const runs = [];
  list.forEach((word, place) => {
    const last = runs[runs.length - 1];
    if (last && last[1] === Boolean(differs[place])) last[0] += word;
    else runs.push([word, Boolean(differs[place])]);
  });
  return runs;
}
