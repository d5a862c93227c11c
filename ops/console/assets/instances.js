// Who sends events, and who reads them: instances, their partitions and their lag.
import { html } from "/dashboard/vendor/lit-html.js";
import { count, rate } from "/dashboard/format.js";
import { bands } from "/dashboard/tables.js";

/** Partitions as ranges: 0–2, 5. */
export function ranges(partitions) {
  const found = [];
  for (const number of partitions) {
    const last = found.at(-1);
    if (last && last[1] === number - 1) last[1] = number;
    else found.push([number, number]);
  }
  return found.map(([from, to]) => (from === to ? `${from}` : `${from}–${to}`)).join(", ");
}

/** The instances of data-source, with what each sends a second. */
function producers(fleet) {
  const word = (name) => fleet.streams.find((stream) => stream.name === name)?.many ?? name;
  const row = ({ instance, streams }) => {
    const sent = Object.entries(streams);
    if (!sent.length) return [{ name: instance, note: "has sent nothing", number: rate(0), share: 0 }];
    return sent.map(([name, { records, per_second }]) => (
      { name: instance, note: `${word(name)}, ${count(records)} since its start`, number: rate(per_second), share: Number(per_second > 0) }));
  };
  return bands({ title: "data-source sends", total: "a second", rows: fleet.producers?.flatMap(row), empty: "no instance runs" });
}

/** The instances of a stage, with what each reads and how far behind it is. */
function readers(fleet, name) {
  const stages = fleet.streams.flatMap((stream) => stream.stages.filter((stage) => stage.stage === name).map((stage) => ({ stream, stage })));
  const known = stages.every(({ stage }) => stage.readers);
  const rows = stages.flatMap(({ stream, stage }) => (stage.readers ?? []).map(({ instance, partitions, lag }) => (
    { name: instance, note: `${stream.many} ${partitions.length ? ranges(partitions) : "none: more instances than partitions"}`, number: count(lag),
      share: partitions.length / Math.max(1, stage.partitions.length) })));
  return bands({ title: `${name} reads`, total: "partitions, records to do", rows: known || rows.length ? rows : null, empty: "no instance reads" });
}

/** A list for data-source, and one for each stage. */
export function instances(fleet) {
  return html`${producers(fleet)}${fleet.services.slice(1).map(({ name }) => readers(fleet, name))}`;
}
