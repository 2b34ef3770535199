// Numbers as text.

/**
 * A time as m:ss or h:mm:ss, rounded down.
 *
 * @param {number} seconds
 * @returns {string}
 */
export function formatTime(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const rest = `${Math.floor((whole % 3600) / 60)}:${String(whole % 60).padStart(2, "0")}`;
  return whole >= 3600 ? `${Math.floor(whole / 3600)}:${rest.padStart(5, "0")}` : rest;
}

/**
 * A time with tenths of a second, so that the start and end of a short region differ.
 *
 * @param {number} seconds
 * @returns {string}
 */
export function formatPreciseTime(seconds) {
  const tenths = Math.round(Math.max(0, seconds) * 10);
  return `${formatTime(tenths / 10)}.${tenths % 10}`;
}

/**
 * A probability as a whole percentage; only exactly 0 and 1 are shown as 0% and 100%.
 *
 * @param {number} probability In [0, 1].
 * @returns {string}
 */
export function formatPercent(probability) {
  if (probability > 0 && probability < 0.005) return "<1%";
  if (probability < 1 && probability > 0.995) return ">99%";
  return `${Math.round(probability * 100)}%`;
}

/**
 * A file size in megabytes with three significant digits.
 *
 * @param {number} bytes
 * @returns {string}
 */
export const formatMegabytes = (bytes) => `${Number((bytes / 1e6).toPrecision(3))} MB`;

/**
 * A count with its noun.
 *
 * @param {number} count
 * @param {string} singular
 * @param {string} [plural]
 * @returns {string}
 */
export function formatCount(count, singular, plural = `${singular}s`) {
  return `${count} ${count === 1 ? singular : plural}`;
}
