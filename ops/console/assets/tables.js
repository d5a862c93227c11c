// Lists of names and numbers, each number with a band behind it.
import { html, nothing, svg } from "/dashboard/vendor/lit-html.js";
import { count, euros, millis, span } from "/dashboard/format.js";

const behind = (share) => svg`<svg aria-hidden="true" preserveAspectRatio="none" viewBox="0 0 100 1">
  <rect width=${Math.max(0, Math.min(100, share * 100)).toFixed(1)} height="1"></rect></svg>`;

/** A list under a heading; a row has name, number and share, and may have a note and something to do. */
export function bands({ title, total, rows, tone, columns = "", empty = "nothing yet" }) {
  return html`
    <div class="bands ${columns}" data-tone=${tone ?? nothing}>
      <h3><span>${title}</span><span>${total ?? ""}</span></h3>
      ${rows?.length ? rows.map(band) : html`<p class="empty">${rows ? empty : "not known: its store does not answer"}</p>`}
    </div>`;
}

function band({ name, label, number, share, delta, note, act }) {
  const inside = html`${behind(share)}
    <span class="name" title=${name}>${label ?? name}${note ? html`<small>${note}</small>` : ""}</span>
    <span class="number">${delta ? html`<span class="delta">+${count(delta)}</span>` : ""}${number}</span>`;
  return act
    ? html`<button type="button" class="band" @click=${act}>${inside}</button>`
    : html`<div class="band" data-name=${name}>${inside}</div>`;
}

/** The tables of the warehouse, layer by layer; `before` has the rows of a look before. */
export function layers(fleet, before) {
  const tables = fleet.tables;
  const most = Math.log10(1 + Math.max(1, ...(tables ?? []).map((table) => table.rows)));
  const of = (layer, prefix, strip) => tables?.filter((t) => t.layer === layer && t.name.startsWith(prefix)).map((table) => {
    const name = `${layer}.${table.name}`;
    return { name, label: strip ? table.name.slice(prefix.length) : table.name, number: count(table.rows),
      share: Math.log10(1 + table.rows) / most, delta: Math.max(0, table.rows - (before.get(name) ?? table.rows)) };
  });
  const metrics = fleet.metrics && Object.entries(fleet.metrics).map(([name, rows]) => (
    { name: `metrics: ${name}`, label: name, number: count(rows), share: Math.log10(1 + rows) / most }));
  const letters = fleet.dead_letters?.map(({ stage, reason, open }) => (
    { name: `${stage}: ${reason.replaceAll("_", " ")}`, number: count(open), share: open / fleet.dead_letters[0].open }));
  return html`
    <div>
      ${bands({ title: "stg", total: "raw", rows: of("stg", ""), tone: 0 })}
      ${letters?.length ? bands({ title: "Dead letters", total: "open", rows: letters, tone: "bad" }) : ""}
    </div>
    ${bands({ title: "dds", total: "hubs", rows: of("dds", "h_", true) })}
    ${bands({ title: "dds", total: "links", rows: of("dds", "l_", true) })}
    ${bands({ title: "dds", total: "satellites", rows: of("dds", "s_", true) })}
    <div>
      ${bands({ title: "cdm", total: "counters", rows: of("cdm", ""), tone: 1 })}
      ${bands({ title: "cdm", total: "metrics in Redis", rows: metrics, tone: 1 })}
    </div>`;
}

/** The key figures above the flow. */
export function figures(fleet, latency) {
  const stages = fleet.streams.flatMap((stream) => stream.stages);
  const sum = (of) => stages.reduce((all, stage) => all + (of(stage) ?? 0), 0);
  const ages = stages.map((stage) => stage.lag_seconds);
  const oldest = ages.every((age) => age === null) ? null : Math.max(...ages.filter((age) => age !== null));
  const letters = fleet.dead_letters?.reduce((all, kind) => all + kind.open, 0) ?? null;
  const entering = fleet.streams.reduce((all, stream) => all + (stream.stages[0]?.arrived_per_second ?? 0), 0);
  return html`
    ${figure("Events entering", html`${count(entering)} <small>a second</small>`, `${count(sum((s) => s.applied_per_second))} applied a second in all stages`)}
    ${figure("Oldest not applied", oldest === 0 ? "0 s" : span(oldest), `${count(sum((s) => s.lag))} records to do`, oldest > 60)}
    ${figure("End to end, last minute", html`${millis(latency.p50)} <small>p50</small>`, latency.p99 === null ? "no events" : `99 % within ${millis(latency.p99)}, worst second`)}
    ${figure("Dead letters open", count(letters), worst(fleet.dead_letters))}
    ${reconcile(fleet.reconcile, fleet.at)}`;
}

function figure(label, value, note, bad = false) {
  return html`<div data-figure=${label}><div class="label">${label}</div>
    <div class="value" data-state=${bad ? "bad" : "ok"}>${value}</div><div class="note">${note}</div></div>`;
}

function worst(kinds) {
  if (!kinds) return "Postgres does not answer";
  const [first] = kinds;
  return first ? `${first.stage}: ${first.reason.replaceAll("_", " ")} ${count(first.open)}` : "nothing was refused";
}

function reconcile(run, at) {
  if (!run) return figure("Last reconcile", "–", html`<code>strata reconcile</code> compares all layers`);
  const ago = span((Date.parse(at) - Date.parse(run.finished_at)) / 1000);
  const value = run.differences ? html`${count(run.differences)} <small>differences</small>` : html`0 <small>differences</small>`;
  return figure("Last reconcile", value, `${run.checks} checks in ${millis(run.duration_ms)}, ${ago} ago`, run.differences > 0);
}

const ranked = (list) => list?.top.map(({ name, searches }) => ({ name, number: count(searches), share: searches / list.top[0].searches }));

/** The rankings of the hotel metrics that tell of nobody. */
export const rankings = {
  hotels: (searches, show) => bands({
    title: "Hotels, most searched", total: searches ? `${count(searches.hotels.count)} in all` : "", tone: 1,
    rows: ranked(searches?.hotels)?.map((row, index) => {
      const { cheapest } = searches.hotels.top[index];
      return { ...row, label: row.name, note: cheapest && `from ${euros(cheapest.eurocents)}, ${cheapest.advertiser}`, act: () => show(row.name) };
    }),
  }),
  advertisers: (searches) => bands({ title: "Advertisers", total: searches ? `${count(searches.advertisers.count)} in all` : "", rows: ranked(searches?.advertisers) }),
};

/** The users who search most. */
export const searchers = (list) => bands({ title: "Users", total: list ? `${count(list.count)} in all` : "", rows: ranked(list) });
