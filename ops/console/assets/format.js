// Numbers for people. What is not known is a dash, never a zero.

const UNKNOWN = "–";

/** A whole number with its thousands set apart. */
export function count(number) {
  if (number === null || number === undefined) return UNKNOWN;
  return Math.round(number).toString().replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

/** Records a second. */
export function rate(perSecond) {
  if (perSecond === null || perSecond === undefined) return UNKNOWN;
  return perSecond > 0 && perSecond < 10 ? perSecond.toFixed(1) : count(perSecond);
}

/** A span given in seconds, as short as it is readable. */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return UNKNOWN;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

/** Milliseconds, with their unit. */
export function millis(ms) {
  if (ms === null || ms === undefined) return UNKNOWN;
  return ms < 1000 ? `${Math.round(ms)} ms` : span(ms / 1000);
}

/** Euro cents. */
export function euros(cents) {
  return `${count(Math.trunc(cents / 100))}.${String(cents % 100).padStart(2, "0")} €`;
}

/** Colours that the page has for streams; they come again where there are more streams. */
const TONES = 4;

/** The colour of a stream, by its place among the streams. */
export const tone = (index) => index % TONES;
