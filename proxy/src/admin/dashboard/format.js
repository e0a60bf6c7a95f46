// Numbers as people read them. Units are decimal, as on the command line.

const STEPS = ["", "k", "M", "G", "T", "P"];

function scaled(value, unit) {
  let step = 0;
  let left = value;
  while (left >= 999.5 && step < STEPS.length - 1) {
    left /= 1000;
    step += 1;
  }
  const digits = step === 0 ? 0 : left < 9.995 ? 2 : left < 99.95 ? 1 : 0;
  return `${left.toFixed(digits)} ${STEPS[step]}${unit}`;
}

export const bytes = (value) => scaled(value, "B");
export const rate = (value) => (value === null || value === undefined ? "–" : scaled(value, "B/s"));
export const percent = (share) => `${Math.round(share * 100)} %`;
export const count = (value) => value.toLocaleString("en");

export function duration(seconds) {
  const whole = Math.floor(seconds);
  const [days, hours, minutes] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60];
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  if (minutes > 0) return `${minutes} min ${whole % 60} s`;
  return seconds < 10 ? `${seconds.toFixed(1)} s` : `${whole} s`;
}

export function time(text) {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? text : at.toLocaleString("en-GB", { dateStyle: "short", timeStyle: "medium" });
}

/** The number and the unit that a rate in bytes per second is best written with. */
export function split(value) {
  const unit = [1000000, 1000, 1].find((size) => value >= size) ?? 1;
  return { number: String(value / unit), unit: String(unit) };
}
