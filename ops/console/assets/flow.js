// The four services and the pipes between them.
import { html } from "/dashboard/vendor/lit-html.js";
import { STREAMS, count, rate, span } from "/dashboard/format.js";

/** A share of the busiest a pipe is drawn for, from 0 to 1: each tenfold shows. */
export const busyness = (perSecond) => Math.min(1, Math.log10(1 + (perSecond ?? 0)) / 4);

const stageOf = (fleet, stream, index) => fleet.streams.find((s) => s.name === stream)?.stages[index];

/** The whole picture: service, pipe, service, … */
export function flow(fleet) {
  return fleet.services.map((service, index) => html`
    ${index ? pipe(fleet, index - 1) : ""}
    ${node(fleet, service, index - 1)}`);
}

function node(fleet, service, stage) {
  return html`
    <article class="node" data-state=${service.state} data-service=${service.name}>
      <h3>${service.name} <span class="state" data-state=${service.state}>${service.state}</span></h3>
      ${Object.keys(STREAMS).map((stream) => (stage < 0 ? source(fleet, stream) : gauge(fleet, stream, stage)))}
      ${service.detail ? html`<p class="trouble">${service.detail}</p>` : ""}
    </article>`;
}

/** data-source: what it has sent in all. */
function source(fleet, stream) {
  const first = stageOf(fleet, stream, 0);
  return html`
    <div class="gauge" data-stream=${stream}>
      <span class="name">${STREAMS[stream]} sent</span>
      <span class="big" data-figure="sent">${count(first?.end)}</span>
    </div>`;
}

/** A stage: how late it is in a stream, and by how much. */
function gauge(fleet, stream, index) {
  const stage = stageOf(fleet, stream, index);
  const late = stage?.lag > 0;
  const current = stage?.lag === 0;
  return html`
    <div class="gauge" data-stream=${stream}>
      <span class="name">${STREAMS[stream]} behind</span>
      <span class="big" data-figure="lag" data-late=${late}>${current ? "0 s" : span(late ? stage.lag_seconds : null)}</span>
      ${late ? html`<span class="more">${count(stage.lag)} to do</span>` : ""}
    </div>`;
}

/** What flows out of a service into stage `index`. */
function pipe(fleet, index) {
  return html`
    <div class="pipe">
      ${Object.keys(STREAMS).map((stream) => {
        const stage = stageOf(fleet, stream, index);
        const arriving = stage?.arrived_per_second;
        return html`
          <div class="lane" data-stream=${stream} data-lane=${`${stream}/${stage?.stage}`} data-off=${stage?.end == null}
            .flowing=${arriving ?? 0}>
            <span class="rate">${rate(arriving)} <small>/s</small></span>
            <span class="track"></span>
            <span class="topic" title=${stage?.topic ?? ""}>${stage?.topic}</span>
          </div>`;
      })}
    </div>`;
}

/** Gives each pipe the colour of its rate; styles set by script are what the page's policy lets through. */
export function tint(root) {
  for (const lane of root.querySelectorAll(".lane")) {
    lane.style.setProperty("--flow", busyness(lane.flowing).toFixed(2));
  }
}
