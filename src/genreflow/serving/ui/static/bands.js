// The genre over time, from segments that overlap.

/**
 * Stretches of one genre that neither overlap nor leave a gap.
 *
 * Each moment has the genre of the segment whose centre is nearest; neighbours with the same genre become one stretch,
 * whose confidence is the mean of theirs.
 */
export function stretches(segments, duration) {
  const centre = ({ start, end }) => (start + end) / 2;
  const found = [];
  segments.forEach((segment, index) => {
    const next = segments[index + 1];
    const end = next ? (centre(segment) + centre(next)) / 2 : duration;
    const last = found.at(-1);
    if (last?.genre === segment.genre) {
      last.end = end;
      last.confidences.push(segment.confidence);
    } else {
      found.push({ start: last ? last.end : 0, end, genre: segment.genre, confidences: [segment.confidence] });
    }
  });
  return found.map(({ confidences, ...stretch }) => ({
    ...stretch,
    confidence: confidences.reduce((sum, value) => sum + value, 0) / confidences.length,
  }));
}

/** Index of the stretch that holds a moment. */
export function stretchAt(found, seconds) {
  let low = 0;
  let high = found.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (found[middle].start <= seconds) low = middle;
    else high = middle - 1;
  }
  return low;
}
